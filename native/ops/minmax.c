/* SPDX-License-Identifier: Apache-2.0
 * The larger or the smaller of two codes, row after row. */
#include "edgeq/ops.h"
#include "kernels/kernels.h"
#include "ops/binary.h"

eq_status eq_check_minmax(const eq_step_check *s, const eq_minmax_params *p) {
  if (!eq_binary_legal(s, p->sizes, p->strides_a, p->strides_b, 1) || !eq_within(p->maximum, 0, 1)) return EQ_ERR_STEP;
  return EQ_OK;
}

void eq_op_minmax(const eq_step_io *io, const eq_minmax_params *p) {
  const int32_t n = p->sizes[EQ_ND_OUTER], a_step = p->strides_a[EQ_ND_OUTER], b_step = p->strides_b[EQ_ND_OUTER];
  const int8_t *a = eq_in(io, 0), *b = eq_in(io, 1);
  int8_t *out = eq_out(io, 0);
  EQ_FOR_ROWS(p) io->kernels->minmax_s8(out + rows.out, a + rows.a, a_step, b + rows.b, b_step, n, p->maximum != 0);
}
