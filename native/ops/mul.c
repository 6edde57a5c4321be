/* SPDX-License-Identifier: Apache-2.0
 * Products, row after row. */
#include "edgeq/ops.h"
#include "kernels/kernels.h"
#include "ops/binary.h"

eq_status eq_check_mul(const eq_step_check *s, const eq_mul_params *p) {
  if (!eq_within(p->element_bytes, 1, 2)) return EQ_ERR_STEP;
  if (!eq_binary_legal(s, p->sizes, p->strides_a, p->strides_b, (uint32_t)p->element_bytes)) return EQ_ERR_STEP;
  if (!eq_multiplier_legal(p->multiplier, p->shift, 30) || !eq_mode_legal(p->mode, p->multiplier == EQ_HALF))
    return EQ_ERR_STEP;
  if (!eq_zero_legal(p->zero_a, p->element_bytes) || !eq_zero_legal(p->zero_b, p->element_bytes) ||
      !eq_zero_legal(p->zero, p->element_bytes) || !eq_bounds_legal(p->act_min, p->act_max, p->element_bytes)) {
    return EQ_ERR_STEP;
  }
  return EQ_OK;
}

void eq_op_mul(const eq_step_io *io, const eq_mul_params *p) {
  const int32_t n = p->sizes[EQ_ND_OUTER], a_step = p->strides_a[EQ_ND_OUTER], b_step = p->strides_b[EQ_ND_OUTER];
  if (p->element_bytes == 1) {
    const int8_t *a = eq_in(io, 0), *b = eq_in(io, 1);
    int8_t *out = eq_out(io, 0);
    EQ_FOR_ROWS(p) io->kernels->mul_s8(out + rows.out, a + rows.a, a_step, b + rows.b, b_step, n, p);
  } else {
    const int16_t *a = eq_in(io, 0), *b = eq_in(io, 1);
    int16_t *out = eq_out(io, 0);
    EQ_FOR_ROWS(p) io->kernels->mul_s16(out + rows.out, a + rows.a, a_step, b + rows.b, b_step, n, p);
  }
}
