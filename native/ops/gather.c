/* SPDX-License-Identifier: Apache-2.0
 * Blocks picked by an index tensor. */
#include "edgeq/fixed_point.h"
#include "edgeq/ops.h"
#include "ops/nd.h"

eq_status eq_check_gather(const eq_step_check *s, const eq_gather_params *p) {
  if (!eq_has_operands(s, 2, 1)) return EQ_ERR_STEP;
  if (p->index_bytes != 4 && p->index_bytes != 8) return EQ_ERR_STEP;
  if (!eq_input_is(s, 0, eq_volume4(p->batch, p->outer, p->axis_size, p->block_bytes))) return EQ_ERR_STEP;
  if (!eq_input_is(s, 1, eq_scaled(eq_volume2(p->batch, p->count), (uint32_t)p->index_bytes))) return EQ_ERR_STEP;
  if (!eq_output_is(s, 0, eq_volume4(p->batch, p->outer, p->count, p->block_bytes))) return EQ_ERR_STEP;
  return EQ_OK;
}

void eq_op_gather(const eq_step_io *io, const eq_gather_params *p) {
  const uint8_t *in = eq_in(io, 0);
  const void *indices = eq_in(io, 1);
  uint8_t *out = eq_out(io, 0);
  const uint32_t block_bytes = (uint32_t)p->block_bytes;
  for (int32_t b = 0; b < p->batch; b++) {
    for (int32_t o = 0; o < p->outer; o++) {
      for (int32_t j = 0; j < p->count; j++) {
        const int32_t at = b * p->count + j;
        const int64_t given = p->index_bytes == 8 ? ((const int64_t *)indices)[at] : ((const int32_t *)indices)[at];
        const uint32_t index = (uint32_t)eq_clamp64(given, 0, p->axis_size - 1);
        eq_copy_block(out, in + index * block_bytes, block_bytes);
        out += block_bytes;
      }
      in += (uint32_t)p->axis_size * block_bytes;
    }
  }
}
