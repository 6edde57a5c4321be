/* SPDX-License-Identifier: Apache-2.0
 * gemm_s8 against the scalar one: weights in rows, zero points of weights, no byte read beyond a row.
 *
 * A case reaches the full tile with 4 rows, 16 channels and 32 inputs or more. It has tails when rows are no multiple of 4,
 * channels none of 16 or inputs none of 16. */
#include "edgeq/fixed_point.h"
#include "harness.h"

enum { ROWS = 4, CHANNELS = 16, INPUTS = 32 };

static void run(harness *h) {
  const int32_t m = chance(h, 15) ? draw(h, 0, 3) : draw(h, 1, 20);
  const int32_t n = chance(h, 10) ? draw(h, 0, 3) : draw(h, 1, 50);
  const int32_t k = chance(h, 30) ? draw_size(h, 0, 300) : draw(h, 0, 20) * 8 + (chance(h, 40) ? draw(h, 0, 7) : 0);
  covers(h, m >= ROWS && n >= CHANNELS && k >= INPUTS, m % 4 != 0 || n % 16 != 0 || k % 16 != 0);

  const size_t x_stride = (size_t)k + (chance(h, 30) ? (size_t)draw(h, 1, 40) : 0);
  const size_t out_stride = (size_t)n + (chance(h, 30) ? (size_t)draw(h, 1, 40) : 0);
  const size_t x_bytes = m > 0 ? (size_t)(m - 1) * x_stride + (size_t)k : 0;
  const size_t out_bytes = m > 0 ? (size_t)(m - 1) * out_stride + (size_t)n : 0;
  int8_t *x = buffer(h, x_bytes, 1), *w = buffer(h, (size_t)n * (size_t)k, 1);
  int8_t *found = buffer(h, out_bytes, 1), *expected = buffer(h, out_bytes, 1);
  fill(h, x, x_bytes);
  fill(h, w, (size_t)n * (size_t)k);
  fill(h, found, out_bytes);
  for (size_t i = 0; i < out_bytes; i++) expected[i] = found[i];
  eq_linear_s8 linear = draw_linear(h, n, 1000 + 20 * k);
  if (chance(h, 30)) linear.weights_zero = draw(h, -128, 127);

  h->scalar->gemm_s8(expected, out_stride, x, x_stride, w, m, n, k, &linear);
  h->table->gemm_s8(found, out_stride, x, x_stride, w, m, n, k, &linear);
  same(h, found, expected, out_bytes, "m=%d n=%d k=%d x_stride=%d out_stride=%d mode=%d weights_zero=%d", m, n, k,
       (int)x_stride, (int)out_stride, linear.mode, linear.weights_zero);
}

static void bench_shape(harness *h, const char *name, int32_t m, int32_t n, int32_t k) {
  h->buffers = 0;
  int8_t *x = buffer(h, (size_t)(m * k), 1), *w = buffer(h, (size_t)(n * k), 1), *out = buffer(h, (size_t)(m * n), 1);
  fill(h, x, (size_t)(m * k));
  fill(h, w, (size_t)(n * k));
  eq_linear_s8 linear = draw_linear(h, n, 1000 + 20 * k);
  linear.mode = EQ_MODE_SINGLE;
  BENCH(h, name, (int64_t)m * n * k) h->table->gemm_s8(out, (size_t)n, x, (size_t)k, w, m, n, k, &linear);
}

static void bench(harness *h) {
  bench_shape(h, "64x64x64", 64, 64, 64);
  bench_shape(h, "49x49x32", 49, 49, 32); /* attention */
}

const kernel_check check_gemm_s8 = {run, bench};
