/* SPDX-License-Identifier: Apache-2.0
 * blend_s8 against the scalar kernel.
 *
 * A case reaches the full tile with 16 elements. It has a tail when the elements are no multiple of 16. */
#include "harness.h"

enum { ONE = 1 << 20 };

/* Four shares of one: of a point between pixels, mostly, which has exact ties at halves and quarters. */
static void draw_shares(harness *h, int32_t weights[4]) {
  const int32_t bits = chance(h, 30) ? 1 : 10;
  const int32_t x = draw(h, 0, 1 << bits), y = draw(h, 0, 1 << bits), unit = ONE >> (2 * bits);
  const int32_t left = (1 << bits) - x, above = (1 << bits) - y;
  weights[0] = left * above * unit;
  weights[1] = x * above * unit;
  weights[2] = left * y * unit;
  weights[3] = ONE - weights[0] - weights[1] - weights[2];
}

static void run(harness *h) {
  const int32_t n = chance(h, 3) ? 0 : draw_size(h, 1, 200);
  const size_t bytes = (size_t)n;
  covers(h, n >= 16, n % 16 != 0);
  int32_t weights[4];
  draw_shares(h, weights);
  const int8_t *taps[4];
  for (int32_t i = 0; i < 4; i++) {
    if (i > 0 && chance(h, 20)) {
      taps[i] = taps[i - 1];
      continue;
    }
    int8_t *tap = buffer(h, bytes, 1);
    fill(h, tap, bytes);
    taps[i] = tap;
  }
  int8_t *expected = buffer(h, bytes, 1), *found = buffer(h, bytes, 1);
  h->scalar->blend_s8(expected, taps, weights, n);
  h->table->blend_s8(found, taps, weights, n);
  same(h, found, expected, bytes, "%d elements by %d, %d, %d, %d", n, weights[0], weights[1], weights[2], weights[3]);
}

static void bench(harness *h) {
  enum { N = 4096 };
  static const int32_t weights[4] = {ONE / 2, ONE / 4, ONE / 8, ONE / 8};
  h->buffers = 0;
  const int8_t *taps[4];
  for (int32_t i = 0; i < 4; i++) {
    int8_t *tap = buffer(h, N, 16);
    fill(h, tap, N);
    taps[i] = tap;
  }
  int8_t *out = buffer(h, N, 16);
  BENCH(h, "4096", N) h->table->blend_s8(out, taps, weights, N);
}

const kernel_check check_blend_s8 = {run, bench};
