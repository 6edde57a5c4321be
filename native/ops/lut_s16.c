/* SPDX-License-Identifier: Apache-2.0
 * Unary functions of int16 tensors: one call of the interpolating table kernel. */
#include "edgeq/ops.h"
#include "kernels/kernels.h"

eq_status eq_check_lut_s16(const eq_step_check *s, const eq_lut_s16_params *p) {
  const uint64_t bytes = eq_scaled(eq_volume(&p->count, 1), 2);
  if (!eq_has_operands(s, 1, 1) || !eq_input_is(s, 0, bytes) || !eq_output_is(s, 0, bytes)) return EQ_ERR_STEP;
  if (!eq_span_is(s, p->table, 513 * 2)) return EQ_ERR_STEP;
  return EQ_OK;
}

void eq_op_lut_s16(const eq_step_io *io, const eq_lut_s16_params *p) {
  io->kernels->lut_s16(eq_out(io, 0), eq_in(io, 0), eq_constant(io, p->table), p->count);
}
