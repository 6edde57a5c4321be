/* SPDX-License-Identifier: Apache-2.0
 * Rows joined from several inputs. */
#include "edgeq/memory.h"
#include "edgeq/ops.h"

eq_status eq_check_concat(const eq_step_check *s, const eq_concat_params *p) {
  if (s->n_inputs < 1 || s->n_outputs != 1 || p->outer < 1) return EQ_ERR_STEP;
  if (!eq_span_is(s, p->inner_bytes, (uint64_t)s->n_inputs * 4)) return EQ_ERR_STEP;
  const int32_t *inner_bytes = (const int32_t *)(const void *)(s->constants + p->inner_bytes.offset);
  uint64_t row_bytes = 0; /* < 2^32 * 2^31 */
  for (uint32_t i = 0; i < s->n_inputs; i++) {
    if (!eq_input_is(s, i, eq_volume2(p->outer, inner_bytes[i]))) return EQ_ERR_STEP;
    row_bytes += (uint32_t)inner_bytes[i];
  }
  if (row_bytes > INT32_MAX || !eq_output_is(s, 0, eq_volume2(p->outer, (int32_t)row_bytes))) return EQ_ERR_STEP;
  return EQ_OK;
}

void eq_op_concat(const eq_step_io *io, const eq_concat_params *p) {
  const int32_t *inner_bytes = eq_constant(io, p->inner_bytes);
  uint32_t row_bytes = 0;
  for (uint32_t i = 0; i < io->n_inputs; i++) row_bytes += (uint32_t)inner_bytes[i];
  uint8_t *start = eq_out(io, 0); /* of input i in the first row */
  for (uint32_t i = 0; i < io->n_inputs; i++) {
    const uint32_t bytes = (uint32_t)inner_bytes[i];
    const uint8_t *in = eq_in(io, i);
    /* an input that lies in its place already is left there */
    for (uint32_t o = 0; o < (uint32_t)p->outer && in != start; o++) eq_copy(start + o * row_bytes, in + o * bytes, bytes);
    start += bytes;
  }
}

eq_sharing eq_sharing_concat(const eq_concat_params *p, const uint8_t *constants, uint32_t input, uint32_t output,
                             int64_t ahead) {
  (void)output;
  const int32_t *inner_bytes = (const int32_t *)(const void *)(constants + p->inner_bytes.offset);
  int64_t place = 0;
  for (uint32_t i = 0; i < input; i++) place += inner_bytes[i];
  return p->outer == 1 && ahead == place ? EQ_OVER : EQ_APART;
}
