/* SPDX-License-Identifier: Apache-2.0
 * Sums and differences, row after row; each part has its share of every row. */
#include "edgeq/ops.h"
#include "kernels/kernels.h"
#include "ops/binary.h"

enum { GRANULE = 64 }; /* elements of a row that a part has, or a multiple of them */

eq_status eq_check_add(const eq_step_check *s, const eq_add_params *p) {
  if (!eq_within(p->element_bytes, 1, 2)) return EQ_ERR_STEP;
  if (!eq_binary_legal(s, p->sizes, p->strides_a, p->strides_b, (uint32_t)p->element_bytes)) return EQ_ERR_STEP;
  /* multipliers below 1, so that a rescaled operand is no larger than before: less than 2^30 */
  if (!eq_multiplier_legal(p->multiplier_a, p->shift_a, 0) || !eq_multiplier_legal(p->multiplier_b, p->shift_b, 0) ||
      !eq_multiplier_legal(p->multiplier, p->shift, 30) || !eq_within(p->left_shift, 0, p->element_bytes == 1 ? 20 : 15) ||
      !eq_mode_legal(p->mode, p->multiplier_a == EQ_HALF && p->multiplier_b == EQ_HALF && p->multiplier == EQ_HALF) || (p->sign != 1 && p->sign != -1)) {
    return EQ_ERR_STEP;
  }
  if (!eq_zero_legal(p->zero_a, p->element_bytes) || !eq_zero_legal(p->zero_b, p->element_bytes) ||
      !eq_zero_legal(p->zero, p->element_bytes) || !eq_bounds_legal(p->act_min, p->act_max, p->element_bytes)) {
    return EQ_ERR_STEP;
  }
  return EQ_OK;
}

void eq_op_add(const eq_step_io *io, const eq_add_params *p) {
  const int32_t a_step = p->strides_a[EQ_ND_OUTER], b_step = p->strides_b[EQ_ND_OUTER];
  int32_t from, to;
  eq_share(io, p->sizes[EQ_ND_OUTER], GRANULE, &from, &to);
  const int32_t n = to - from;
  if (n == 0) return;
  if (p->element_bytes == 1) {
    const int8_t *a = (const int8_t *)eq_in(io, 0) + from * a_step, *b = (const int8_t *)eq_in(io, 1) + from * b_step;
    int8_t *out = (int8_t *)eq_out(io, 0) + from;
    EQ_FOR_ROWS(p) io->kernels->add_s8(out + rows.out, a + rows.a, a_step, b + rows.b, b_step, n, p);
  } else {
    const int16_t *a = (const int16_t *)eq_in(io, 0) + from * a_step, *b = (const int16_t *)eq_in(io, 1) + from * b_step;
    int16_t *out = (int16_t *)eq_out(io, 0) + from;
    EQ_FOR_ROWS(p) io->kernels->add_s16(out + rows.out, a + rows.a, a_step, b + rows.b, b_step, n, p);
  }
}
