/* SPDX-License-Identifier: Apache-2.0
 * Blocks copied from positions that one table per dimension adds up to. */
#include "edgeq/ops.h"
#include "ops/nd.h"

eq_status eq_check_take(const eq_step_check *s, const eq_take_params *p) {
  const uint64_t blocks = eq_volume(p->sizes, EQ_ND_RANK);
  if (!eq_has_operands(s, 1, 1) || p->block_bytes < 1) return EQ_ERR_STEP;
  if (!eq_output_is(s, 0, eq_scaled(blocks, (uint32_t)p->block_bytes))) return EQ_ERR_STEP;
  uint64_t entries = 0;
  for (int32_t d = 0; d < EQ_ND_RANK; d++) entries += (uint32_t)p->sizes[d];
  if (!eq_span_is(s, p->offsets, entries * 4)) return EQ_ERR_STEP;

  const int32_t *table = (const int32_t *)(const void *)(s->constants + p->offsets.offset);
  int64_t first = 0;
  int64_t end = p->block_bytes;
  for (int32_t d = 0; d < EQ_ND_RANK; d++) {
    int32_t lowest = table[0];
    int32_t highest = table[0];
    for (int32_t i = 1; i < p->sizes[d]; i++) {
      if (table[i] < lowest) lowest = table[i];
      if (table[i] > highest) highest = table[i];
    }
    first += lowest;
    end += highest;
    table += p->sizes[d];
  }
  if (first < 0 || end > (int64_t)s->tensor_bytes[s->operands[0]]) return EQ_ERR_STEP;
  return EQ_OK;
}

void eq_op_take(const eq_step_io *io, const eq_take_params *p) {
  const uint8_t *in = eq_in(io, 0);
  uint8_t *out = eq_out(io, 0);
  const uint32_t block_bytes = (uint32_t)p->block_bytes;
  const int32_t *tables[EQ_ND_RANK];
  tables[0] = eq_constant(io, p->offsets);
  for (int32_t d = 1; d < EQ_ND_RANK; d++) tables[d] = tables[d - 1] + p->sizes[d - 1];
  int32_t index[EQ_ND_OUTER] = {0};
  do {
    /* Modulo 2^32, so that the order of positive and negative offsets does not matter. */
    uint32_t base = 0;
    for (int32_t d = 0; d < EQ_ND_OUTER; d++) base += (uint32_t)tables[d][index[d]];
    for (int32_t i = 0; i < p->sizes[EQ_ND_OUTER]; i++) {
      eq_copy_block(out, in + (base + (uint32_t)tables[EQ_ND_OUTER][i]), block_bytes);
      out += block_bytes;
    }
  } while (eq_nd_next(index, p->sizes));
}
