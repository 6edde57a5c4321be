/* SPDX-License-Identifier: Apache-2.0
 * Softmax over int16 rows: one call of the kernel. */
#include "edgeq/ops.h"
#include "kernels/kernels.h"

eq_status eq_check_softmax_s16(const eq_step_check *s, const eq_softmax_s16_params *p) {
  const uint64_t bytes = eq_scaled(eq_volume2(p->rows, p->depth), 2);
  if (!eq_has_operands(s, 1, 1) || !eq_input_is(s, 0, bytes) || !eq_output_is(s, 0, bytes)) return EQ_ERR_STEP;
  if (p->depth > 65535 || !eq_multiplier_legal(p->multiplier, p->shift, 14)) return EQ_ERR_STEP;
  if (!eq_span_is(s, p->exps, 513 * 2) || !eq_span_is(s, p->reciprocals, 513 * 2)) return EQ_ERR_STEP;
  const int16_t *exps = (const int16_t *)(const void *)(s->constants + p->exps.offset);
  const int16_t *reciprocals = (const int16_t *)(const void *)(s->constants + p->reciprocals.offset);
  for (int32_t i = 0; i < 513; i++) {
    if (exps[i] < 0 || reciprocals[i] < 0) return EQ_ERR_STEP;
  }
  /* exp(0), read from the last interval, is at least 1/2, and so is every row's sum */
  return exps[511] >= 1 << 14 && exps[512] >= 1 << 14 ? EQ_OK : EQ_ERR_STEP;
}

void eq_op_softmax_s16(const eq_step_io *io, const eq_softmax_s16_params *p) {
  io->kernels->softmax_s16(eq_out(io, 0), eq_in(io, 0), eq_constant(io, p->exps), eq_constant(io, p->reciprocals), p);
}
