/* SPDX-License-Identifier: Apache-2.0
 * Cases of kernels on two operands, either of which may be one element for all.
 *
 * A case reaches the full tile with 16 elements. It has a tail when the elements are no multiple of 16. */
#ifndef EDGEQ_CHECK_BINARY_S8_H
#define EDGEQ_CHECK_BINARY_S8_H

#include "harness.h"

typedef struct operands {
  int8_t *a, *b;            /* n elements, or 1 where the step is 0 */
  int8_t *expected, *found; /* n elements; found is a or b now and then */
  int32_t n, a_step, b_step;
} operands;

static inline operands draw_operands(harness *h) {
  const int32_t n = chance(h, 3) ? 0 : draw_size(h, 1, 200), kind = draw(h, 0, 9);
  operands o = {.n = n, .a_step = kind != 0, .b_step = kind != 1};
  covers(h, n >= 16, n % 16 != 0);
  const size_t bytes = (size_t)n, a_bytes = o.a_step == 1 ? bytes : 1, b_bytes = o.b_step == 1 ? bytes : 1;
  o.a = buffer(h, a_bytes, 1);
  o.b = buffer(h, b_bytes, 1);
  fill(h, o.a, a_bytes);
  fill(h, o.b, b_bytes);
  o.expected = buffer(h, bytes, 1);
  o.found = kind == 2 ? o.a : kind == 3 ? o.b : buffer(h, bytes, 1);
  return o;
}

static inline void same_codes(harness *h, const operands *o, int32_t mode) {
  same(h, o->found, o->expected, (size_t)o->n, "%d elements, steps %d and %d, output %s, mode %d", o->n, o->a_step,
       o->b_step, o->found == o->a ? "over the first operand" : o->found == o->b ? "over the second" : "apart", mode);
}

#endif
