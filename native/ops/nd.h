/* SPDX-License-Identifier: Apache-2.0
 * Loops over up to six dimensions: an index that counts through the outer five, and copies of small blocks. */
#ifndef EDGEQ_OPS_ND_H
#define EDGEQ_OPS_ND_H

#include <stdbool.h>
#include <stdint.h>

#include "edgeq/memory.h"

enum { EQ_ND_RANK = 6, EQ_ND_OUTER = EQ_ND_RANK - 1 };

/* Step an index through sizes[0..4] in row-major order; false after the last position. */
static inline bool eq_nd_next(int32_t index[EQ_ND_OUTER], const int32_t sizes[EQ_ND_RANK]) {
  for (int32_t d = EQ_ND_OUTER - 1; d >= 0; d--) {
    if (++index[d] < sizes[d]) return true;
    index[d] = 0;
  }
  return false;
}

/* Copy a block that is most often one element. */
static inline void eq_copy_block(uint8_t *restrict to, const uint8_t *restrict from, uint32_t bytes) {
  if (bytes == 1) {
    *to = *from;
  } else if (bytes == 2) {
    eq_copy(to, from, 2);
  } else if (bytes == 4) {
    eq_copy(to, from, 4);
  } else {
    eq_copy(to, from, bytes);
  }
}

#endif
