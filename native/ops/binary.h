/* SPDX-License-Identifier: Apache-2.0
 * The loop that elementwise operators on two operands share: row after row of the innermost dimension. */
#ifndef EDGEQ_OPS_BINARY_H
#define EDGEQ_OPS_BINARY_H

#include "edgeq/step.h"
#include "ops/nd.h"

/* Where the next row begins, in elements of the output and of either operand. */
typedef struct eq_rows {
  int32_t index[EQ_ND_OUTER];
  size_t out;
  size_t a;
  size_t b;
  bool more;
} eq_rows;

static inline eq_rows eq_rows_first(void) { return (eq_rows){.more = true}; }

static inline void eq_rows_next(eq_rows *rows, const int32_t sizes[EQ_ND_RANK], const int32_t strides_a[EQ_ND_RANK],
                                const int32_t strides_b[EQ_ND_RANK]) {
  rows->more = eq_nd_next(rows->index, sizes);
  rows->out += (size_t)sizes[EQ_ND_OUTER];
  rows->a = rows->b = 0;
  for (int32_t d = 0; d < EQ_ND_OUTER; d++) {
    rows->a += (size_t)rows->index[d] * (size_t)strides_a[d];
    rows->b += (size_t)rows->index[d] * (size_t)strides_b[d];
  }
}

/* Head of a loop over every row; its body reads `rows`. */
#define EQ_FOR_ROWS(p)                                       \
  for (eq_rows rows = eq_rows_first(); rows.more;            \
       eq_rows_next(&rows, (p)->sizes, (p)->strides_a, (p)->strides_b))

/* True when the operand of `elements` holds every element that the strides reach, by steps of 0 or 1 inside a row. */
static inline bool eq_strides_legal(const int32_t sizes[EQ_ND_RANK], const int32_t strides[EQ_ND_RANK],
                                    uint32_t elements) {
  uint64_t last = 0; /* six terms below 2^32 */
  for (int32_t d = 0; d < EQ_ND_RANK; d++) {
    const uint64_t reach = (uint64_t)(uint32_t)(sizes[d] - 1) * (uint32_t)strides[d];
    if (strides[d] < 0 || reach > UINT32_MAX) return false;
    last += reach;
  }
  return last < elements && strides[EQ_ND_OUTER] <= 1;
}

/* True when two inputs and one output of this element size fit the geometry. */
static inline bool eq_binary_legal(const eq_step_check *s, const int32_t sizes[EQ_ND_RANK],
                                   const int32_t strides_a[EQ_ND_RANK], const int32_t strides_b[EQ_ND_RANK],
                                   uint32_t element_bytes) {
  if (!eq_has_operands(s, 2, 1)) return false;
  const uint64_t volume = eq_volume(sizes, EQ_ND_RANK);
  return eq_output_is(s, 0, eq_scaled(volume, element_bytes)) &&
         eq_strides_legal(sizes, strides_a, s->tensor_bytes[s->operands[0]] / element_bytes) &&
         eq_strides_legal(sizes, strides_b, s->tensor_bytes[s->operands[1]] / element_bytes);
}

/* The range of an element: int8, or int16, whose zero points are 0. */
static inline bool eq_zero_legal(int32_t zero, int32_t element_bytes) {
  return element_bytes == 1 ? eq_within(zero, -128, 127) : zero == 0;
}
static inline bool eq_bounds_legal(int32_t act_min, int32_t act_max, int32_t element_bytes) {
  const int32_t low = element_bytes == 1 ? INT8_MIN : INT16_MIN;
  return eq_within(act_min, low, -1 - low) && eq_within(act_max, act_min, -1 - low);
}

#endif
