/* SPDX-License-Identifier: Apache-2.0
 * Unary functions by table: one call of the table kernel. */
#include "edgeq/ops.h"
#include "kernels/kernels.h"

enum { GRANULE = 64 }; /* codes that a part has, or a multiple of them */

eq_status eq_check_lut(const eq_step_check *s, const eq_lut_params *p) {
  const uint64_t bytes = eq_volume(&p->count, 1);
  if (!eq_has_operands(s, 1, 1) || !eq_input_is(s, 0, bytes) || !eq_output_is(s, 0, bytes)) return EQ_ERR_STEP;
  if (!eq_span_is(s, p->table, 256)) return EQ_ERR_STEP;
  return EQ_OK;
}

void eq_op_lut(const eq_step_io *io, const eq_lut_params *p) {
  const uint8_t *in = eq_in(io, 0);
  uint8_t *out = eq_out(io, 0);
  int32_t from, to;
  eq_share(io, p->count, GRANULE, &from, &to);
  io->kernels->lut_u8(out + from, in + from, eq_constant(io, p->table), to - from);
}
