/* SPDX-License-Identifier: Apache-2.0
 * Squares of differences, row after row. */
#include "edgeq/ops.h"
#include "kernels/kernels.h"
#include "ops/binary.h"

eq_status eq_check_squared_difference(const eq_step_check *s, const eq_squared_difference_params *p) {
  if (!eq_binary_legal(s, p->sizes, p->strides_a, p->strides_b, 1) || !eq_mode_legal(p->mode, false)) return EQ_ERR_STEP;
  if (!eq_multiplier_legal(p->multiplier_a, p->shift_a, 0) || !eq_multiplier_legal(p->multiplier_b, p->shift_b, 0) ||
      !eq_multiplier_legal(p->multiplier, p->shift, 30)) {
    return EQ_ERR_STEP;
  }
  if (!eq_zero_legal(p->zero_a, 1) || !eq_zero_legal(p->zero_b, 1) || !eq_zero_legal(p->zero, 1)) return EQ_ERR_STEP;
  return EQ_OK;
}

void eq_op_squared_difference(const eq_step_io *io, const eq_squared_difference_params *p) {
  const int32_t n = p->sizes[EQ_ND_OUTER], a_step = p->strides_a[EQ_ND_OUTER], b_step = p->strides_b[EQ_ND_OUTER];
  const int8_t *a = eq_in(io, 0), *b = eq_in(io, 1);
  int8_t *out = eq_out(io, 0);
  EQ_FOR_ROWS(p) io->kernels->squared_difference_s8(out + rows.out, a + rows.a, a_step, b + rows.b, b_step, n, p);
}
