/* SPDX-License-Identifier: Apache-2.0
 * Strided copy to a dense result. */
#include "edgeq/memory.h"
#include "edgeq/ops.h"
#include "ops/nd.h"

eq_status eq_check_copy(const eq_step_check *s, const eq_copy_params *p) {
  const uint64_t blocks = eq_volume(p->sizes, EQ_ND_RANK);
  if (!eq_has_operands(s, 1, 1) || p->block_bytes < 1) return EQ_ERR_STEP;
  if (!eq_output_is(s, 0, eq_scaled(blocks, (uint32_t)p->block_bytes))) return EQ_ERR_STEP;
  /* The product of the sizes is <= 2^31, hence the sum of all (size - 1) too: |reach| sums to <= 2^62. */
  int64_t first = p->start;
  int64_t end = (int64_t)p->start + p->block_bytes;
  for (int32_t d = 0; d < EQ_ND_RANK; d++) {
    const int64_t reach = (int64_t)p->strides[d] * (p->sizes[d] - 1);
    if (reach < 0) {
      first += reach;
    } else {
      end += reach;
    }
  }
  if (first < 0 || end > (int64_t)s->tensor_bytes[s->operands[0]]) return EQ_ERR_STEP;
  return EQ_OK;
}

/* True when the step copies one block. */
static bool is_one_block(const eq_copy_params *p) { return eq_volume(p->sizes, EQ_ND_RANK) == 1; }

/* Copy a block that may overlap its source, in pieces that do not. */
static void move_block(uint8_t *to, const uint8_t *from, size_t bytes) {
  const bool down = (uintptr_t)to < (uintptr_t)from;
  const size_t gap = down ? (uintptr_t)from - (uintptr_t)to : (uintptr_t)to - (uintptr_t)from;
  if (gap == 0) return;
  for (size_t done = 0; done < bytes;) {
    const size_t piece = bytes - done < gap ? bytes - done : gap;
    const size_t at = down ? done : bytes - done - piece;
    eq_copy(to + at, from + at, piece);
    done += piece;
  }
}

void eq_op_copy(const eq_step_io *io, const eq_copy_params *p) {
  const uint8_t *in = eq_in(io, 0);
  uint8_t *out = eq_out(io, 0);
  const uint32_t block_bytes = (uint32_t)p->block_bytes;
  if (is_one_block(p)) {
    move_block(out, in + p->start, block_bytes);
    return;
  }
  const uint32_t stride = (uint32_t)p->strides[EQ_ND_OUTER];
  int32_t index[EQ_ND_OUTER] = {0};
  do {
    /* Modulo 2^32, so that the order of positive and negative strides does not matter. */
    uint32_t offset = (uint32_t)p->start;
    for (int32_t d = 0; d < EQ_ND_OUTER; d++) offset += (uint32_t)index[d] * (uint32_t)p->strides[d];
    for (int32_t i = 0; i < p->sizes[EQ_ND_OUTER]; i++) {
      eq_copy_block(out, in + offset, block_bytes);
      out += block_bytes;
      offset += stride;
    }
  } while (eq_nd_next(index, p->sizes));
}

eq_sharing eq_sharing_copy(const eq_copy_params *p, const uint8_t *constants, uint32_t input, uint32_t output,
                           int64_t ahead) {
  (void)constants, (void)input, (void)output;
  if (!is_one_block(p)) return EQ_APART;
  return ahead == -(int64_t)p->start ? EQ_SAME : EQ_OVER;
}
