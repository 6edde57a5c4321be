/* SPDX-License-Identifier: Apache-2.0
 * mul_s8 against the scalar kernel.
 *
 * A case reaches the full tile with 16 elements. It has a tail when the elements are no multiple of 16. */
#include "edgeq/fixed_point.h"
#include "edgeq/ops.h"
#include "harness.h"

static void run(harness *h) {
  eq_mul_params p = {.element_bytes = 1, .mode = draw_mode(h)};
  p.zero_a = draw(h, -128, 127), p.zero_b = draw(h, -128, 127), p.zero = draw(h, -128, 127);
  draw_multiplier(h, 10000, -31, 30, &p.multiplier, &p.shift);
  p.act_min = chance(h, 40) ? p.zero : -128;
  p.act_max = chance(h, 30) ? draw(h, p.act_min, 127) : 127;
  const int32_t n = chance(h, 3) ? 0 : draw_size(h, 1, 200), kind = draw(h, 0, 9);
  const int32_t a_step = kind != 0, b_step = kind != 1;
  covers(h, n >= 16, n % 16 != 0);
  const size_t bytes = (size_t)n, a_bytes = a_step == 1 ? bytes : 1, b_bytes = b_step == 1 ? bytes : 1;
  int8_t *a = buffer(h, a_bytes, 1), *b = buffer(h, b_bytes, 1);
  fill(h, a, a_bytes);
  fill(h, b, b_bytes);
  int8_t *expected = buffer(h, bytes, 1), *found = kind == 2 ? a : kind == 3 ? b : buffer(h, bytes, 1);
  h->scalar->mul_s8(expected, a, a_step, b, b_step, n, &p);
  h->table->mul_s8(found, a, a_step, b, b_step, n, &p);
  same(h, found, expected, bytes, "%d elements, steps %d and %d, output %s, mode %d", n, a_step, b_step,
       kind == 2 ? "over the first operand" : kind == 3 ? "over the second" : "apart", p.mode);
}

static void bench(harness *h) {
  enum { N = 4096 };
  const eq_mul_params p = {.element_bytes = 1, .zero_a = 3, .zero_b = -7, .zero = 1, .multiplier = 1431655765, .shift = -6,
                           .act_min = -128, .act_max = 127, .mode = EQ_MODE_DOUBLE};
  h->buffers = 0;
  int8_t *a = buffer(h, N, 16), *b = buffer(h, N, 16), *out = buffer(h, N, 16);
  fill(h, a, N);
  fill(h, b, N);
  BENCH(h, "4096", N) h->table->mul_s8(out, a, 1, b, 1, N, &p);
  BENCH(h, "4096 by one", N) h->table->mul_s8(out, a, 1, b, 0, N, &p);
}

const kernel_check check_mul_s8 = {run, bench};
