/* SPDX-License-Identifier: Apache-2.0
 * Codes of one scale to codes of another, where one of them has 16 bits. */
#include "edgeq/fixed_point.h"
#include "edgeq/ops.h"

static bool zero_legal(int32_t zero, int32_t bytes) {
  return bytes == 1 ? eq_within(zero, INT8_MIN, INT8_MAX) : eq_within(zero, INT16_MIN, INT16_MAX);
}

eq_status eq_check_requant(const eq_step_check *s, const eq_requant_params *p) {
  if (!eq_has_operands(s, 1, 1)) return EQ_ERR_STEP;
  if (!eq_within(p->in_bytes, 1, 2) || !eq_within(p->out_bytes, 1, 2)) return EQ_ERR_STEP;
  if (!eq_input_is(s, 0, eq_volume2(p->count, p->in_bytes))) return EQ_ERR_STEP;
  if (!eq_output_is(s, 0, eq_volume2(p->count, p->out_bytes))) return EQ_ERR_STEP;
  if (!zero_legal(p->in_zero, p->in_bytes) || !zero_legal(p->out_zero, p->out_bytes)) return EQ_ERR_STEP;
  const int32_t max_shift = p->in_bytes == 1 ? 22 : 14;
  if (!eq_multiplier_legal(p->multiplier, p->shift, max_shift) || !eq_mode_legal(p->mode, p->multiplier == EQ_HALF))
    return EQ_ERR_STEP;
  return EQ_OK;
}

void eq_op_requant(const eq_step_io *io, const eq_requant_params *p) {
  const void *in = eq_in(io, 0);
  void *out = eq_out(io, 0);
  for (int32_t i = 0; i < p->count; i++) {
    const int32_t code = p->in_bytes == 1 ? ((const int8_t *)in)[i] : ((const int16_t *)in)[i];
    /* |code - zero| < 2^8 and the multiplier is < 2^22, or else 2^16 and 2^14: the result is < 2^30 */
    const int32_t y = eq_requant(code - p->in_zero, p->multiplier, p->shift, eq_mode(p->mode)) + p->out_zero;
    if (p->out_bytes == 1) {
      ((int8_t *)out)[i] = (int8_t)eq_clamp32(y, INT8_MIN, INT8_MAX);
    } else {
      ((int16_t *)out)[i] = (int16_t)eq_clamp32(y, INT16_MIN, INT16_MAX);
    }
  }
}
