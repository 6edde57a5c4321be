/* SPDX-License-Identifier: Apache-2.0
 * Softmax over rows: one call of the kernel. */
#include "edgeq/ops.h"
#include "kernels/kernels.h"

eq_status eq_check_softmax(const eq_step_check *s, const eq_softmax_params *p) {
  const uint64_t bytes = eq_volume2(p->rows, p->depth);
  if (!eq_has_operands(s, 1, 1) || !eq_input_is(s, 0, bytes) || !eq_output_is(s, 0, bytes)) return EQ_ERR_STEP;
  if (p->depth > 4095 || !eq_span_is(s, p->exps, 256 * 4)) return EQ_ERR_STEP;
  const int32_t *exps = (const int32_t *)(const void *)(s->constants + p->exps.offset);
  if (exps[0] != INT32_MAX) return EQ_ERR_STEP; /* so that no row's sum is 0 */
  for (int32_t i = 1; i < 256; i++) {
    if (exps[i] < 0) return EQ_ERR_STEP;
  }
  return EQ_OK;
}

void eq_op_softmax(const eq_step_io *io, const eq_softmax_params *p) {
  io->kernels->softmax_s8(eq_out(io, 0), eq_in(io, 0), eq_constant(io, p->exps), p->rows, p->depth);
}
