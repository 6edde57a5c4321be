/* SPDX-License-Identifier: Apache-2.0
 * mul_s8 against the scalar kernel. */
#include "check_binary_s8.h"
#include "edgeq/fixed_point.h"
#include "edgeq/ops.h"

static void run(harness *h) {
  eq_mul_params p = {.element_bytes = 1, .mode = draw_mode(h)};
  p.zero_a = draw(h, -128, 127), p.zero_b = draw(h, -128, 127), p.zero = draw(h, -128, 127);
  draw_multiplier(h, 10000, -31, 30, &p.multiplier, &p.shift);
  if (p.mode == EQ_MODE_SHIFT) p.multiplier = EQ_HALF;
  p.act_min = chance(h, 40) ? p.zero : -128;
  p.act_max = chance(h, 30) ? draw(h, p.act_min, 127) : 127;
  const operands o = draw_operands(h);
  h->scalar->mul_s8(o.expected, o.a, o.a_step, o.b, o.b_step, o.n, &p);
  h->table->mul_s8(o.found, o.a, o.a_step, o.b, o.b_step, o.n, &p);
  same_codes(h, &o, p.mode);
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
