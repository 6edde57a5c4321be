/* SPDX-License-Identifier: Apache-2.0
 * add_s8 against the scalar kernel. */
#include "check_binary_s8.h"
#include "edgeq/fixed_point.h"
#include "edgeq/ops.h"

/* A multiplier below 1, often the half that the operand of the larger scale has. */
static void draw_term(harness *h, int32_t *multiplier, int32_t *shift) {
  if (chance(h, 40)) {
    *multiplier = 1 << 30;
    *shift = 0;
    return;
  }
  draw_multiplier(h, 127, -31, 0, multiplier, shift);
  if (chance(h, 80)) *shift = draw(h, -8, 0);
}

static eq_add_params draw_params(harness *h) {
  eq_add_params p = {.element_bytes = 1, .sign = chance(h, 80) ? 1 : -1, .mode = draw_mode(h)};
  p.left_shift = chance(h, 70) ? 20 : draw(h, 0, 20);
  p.zero_a = draw(h, -128, 127), p.zero_b = draw(h, -128, 127), p.zero = chance(h, 30) ? -128 : draw(h, -128, 127);
  draw_term(h, &p.multiplier_a, &p.shift_a);
  draw_term(h, &p.multiplier_b, &p.shift_b);
  draw_multiplier(h, 255 << p.left_shift, -31, 30, &p.multiplier, &p.shift);
  if (p.mode == EQ_MODE_SHIFT) p.multiplier_a = p.multiplier_b = p.multiplier = EQ_HALF;
  p.act_min = chance(h, 40) ? p.zero : -128;
  p.act_max = chance(h, 30) ? draw(h, p.act_min, 127) : 127;
  return p;
}

static void run(harness *h) {
  const eq_add_params p = draw_params(h);
  const operands o = draw_operands(h);
  h->scalar->add_s8(o.expected, o.a, o.a_step, o.b, o.b_step, o.n, &p);
  h->table->add_s8(o.found, o.a, o.a_step, o.b, o.b_step, o.n, &p);
  same_codes(h, &o, p.mode);
}

static void bench(harness *h) {
  enum { N = 16384 };
  eq_add_params p = {.element_bytes = 1, .sign = 1, .left_shift = 20, .zero_a = -5, .multiplier_a = 1518500250,
                     .shift_a = -1, .zero_b = 4, .multiplier_b = 1 << 30, .shift_b = 0, .zero = -128,
                     .multiplier = 1431655765, .shift = -19, .act_min = -128, .act_max = 127, .mode = EQ_MODE_DOUBLE};
  h->buffers = 0;
  int8_t *a = buffer(h, N, 16), *b = buffer(h, N, 16), *out = buffer(h, N, 16);
  fill(h, a, N);
  fill(h, b, N);
  BENCH(h, "16384, ReLU", N) h->table->add_s8(out, a, 1, b, 1, N, &p);
  p.zero = 3;
  BENCH(h, "16384", N) h->table->add_s8(out, a, 1, b, 1, N, &p);
}

const kernel_check check_add_s8 = {run, bench};
