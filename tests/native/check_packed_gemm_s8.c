/* SPDX-License-Identifier: Apache-2.0
 * packed_gemm_s8 against gemm_s8 of the scalar table on the weights before packing.
 *
 * A case reaches the full tile with 16 rows, 32 channels and 64 inputs or more: no ISA has a larger one. It has tails when
 * rows are no multiple of 4, channels none of 16 or inputs none of 16. */
#include <string.h>

#include "harness.h"
#include "edgeq/fixed_point.h"
#include "kernels/packed.h"

enum { ROWS = 16, CHANNELS = 32, INPUTS = 64, MAX_RUNS = 5 };

static int32_t at_least(int32_t x, int32_t low) { return x < low ? low : x; }

/* n rows of k weights of every kind: any, chains of four products that no other place could begin, weak ones that chain,
 * and chains that break at one place. */
static void fill_weights(harness *h, int8_t *w, int32_t n, int32_t k) {
  const size_t bytes = (size_t)n * (size_t)k;
  if (chance(h, 50)) {
    fill(h, w, bytes);
    return;
  }
  if (chance(h, 30)) {
    for (size_t i = 0; i < bytes; i++) {
      const int32_t eighth = (int32_t)(i % (size_t)k) / 8 % 8, limit = eighth < 2 || eighth > 5 ? 7 : 120;
      w[i] = (int8_t)draw(h, -limit, limit);
    }
    return;
  }
  const int32_t limit = draw(h, 1, 64);
  for (size_t i = 0; i < bytes; i++) w[i] = (int8_t)draw(h, -limit, limit);
  if (bytes > 0 && chance(h, 50)) w[draw(h, 0, (int32_t)bytes - 1)] = (int8_t)(chance(h, 50) ? -128 : 127);
}

/* Weights of one sign as large as chains of two, four or eight products allow, or chains that no other place could begin:
 * with codes that are all -128, a chain that is too long or begins elsewhere overflows. */
static void fill_longest_chains(harness *h, int8_t *w, int32_t n, int32_t k) {
  const int32_t sign = chance(h, 50) ? 1 : -1, most = 255 >> draw(h, 1, 3);
  const bool anchored = chance(h, 40);
  for (size_t i = 0; i < (size_t)n * (size_t)k; i++) {
    const int32_t eighth = (int32_t)(i % (size_t)k) / 8 % 8, limit = eighth < 2 || eighth > 5 ? 7 : 120;
    w[i] = (int8_t)(sign * (anchored ? limit : most));
  }
}

/* Where rows lie: one run after the other in one image, or the same run several times. */
typedef struct layout {
  int32_t n_runs;
  int32_t run;
  size_t stride;
  size_t offsets[MAX_RUNS];
  size_t bytes;
} layout;

static layout draw_layout(harness *h, int32_t m, bool is_short) {
  layout l = {.n_runs = 1};
  const bool neighbours = !is_short && chance(h, 15); /* 3x3 windows of pixels side by side */
  if (is_short) {
    l.run = draw(h, 1, 8);
  } else if (neighbours) {
    l.n_runs = draw(h, 1, MAX_RUNS);
    l.run = 3 * 16 * draw(h, 1, 4);
  } else if (chance(h, 35)) {
    l.n_runs = draw(h, 2, MAX_RUNS);
    l.run = 16 * draw(h, 1, 6);
  } else {
    l.run = draw_size(h, 1, 400);
    if (chance(h, 30)) l.run = (l.run + 15) / 16 * 16;
  }
  /* windows overlap, pixels of one group of channels lie apart */
  l.stride = (size_t)(neighbours      ? l.run / 3
                      : chance(h, 30) ? draw(h, 1, l.run)
                      : chance(h, 50) ? l.run
                                      : l.run + draw(h, 0, 70));
  const size_t padded = ((size_t)l.run + 15) / 16 * 16;
  for (int32_t i = 0; i < l.n_runs; i++) {
    l.offsets[i] = (size_t)draw(h, 0, 1500);
    const size_t end = l.offsets[i] + (m > 0 ? (size_t)(m - 1) * l.stride + padded : 0);
    if (end > l.bytes) l.bytes = end;
  }
  return l;
}

/* The distance from out to x at which every group of rows ends at or below the first row that it reads. */
static size_t safe_distance(int32_t m, size_t out_stride, size_t x_stride) {
  ptrdiff_t distance = 0;
  for (int32_t r = 0; r < m; r++) {
    const int32_t end = r + EQ_GEMM_ROWS < m ? r + EQ_GEMM_ROWS : m;
    const ptrdiff_t found = (ptrdiff_t)((size_t)end * out_stride) - (ptrdiff_t)((size_t)r * x_stride);
    if (found > distance) distance = found;
  }
  return (size_t)distance;
}

/* The rows one after the other, as gemm_s8 takes them. */
static int8_t *gather(harness *h, const int8_t *image, const layout *l, int32_t m) {
  const size_t k = (size_t)(l->n_runs * l->run);
  int8_t *rows = buffer(h, (size_t)m * k, 1);
  for (int32_t r = 0; r < m; r++) {
    for (int32_t i = 0; i < l->n_runs; i++) {
      memcpy(rows + (size_t)r * k + (size_t)(i * l->run), image + l->offsets[i] + (size_t)r * l->stride, (size_t)l->run);
    }
  }
  return rows;
}

static void run(harness *h) {
  const int32_t m = chance(h, 15) ? draw(h, 0, 3) : chance(h, 70) ? draw(h, 16, 50) : draw(h, 1, 24);
  const bool is_short = chance(h, 8); /* of few inputs and 16 channels, as NEON has a loop for */
  const bool is_wide = !is_short && chance(h, 4); /* more channels than some kernels keep the constants of */
  const int32_t n = is_short ? 16 : is_wide ? draw(h, 129, 180) : chance(h, 40) ? draw(h, 1, 40) : draw(h, 32, 80);
  layout l = draw_layout(h, m, is_short);
  if (!is_short && chance(h, 40) && l.n_runs == 1 && l.run < INPUTS) {
    const int32_t more = at_least(l.run, INPUTS) - l.run;
    l.run += more;
    l.stride += (size_t)more;
    l.bytes += (size_t)m * (size_t)more + 16;
  }
  const int32_t k = l.n_runs * l.run;
  covers(h, m >= ROWS && n >= CHANNELS && k >= INPUTS, m % 4 != 0 || n % 16 != 0 || k % 16 != 0);

  int8_t *w = buffer(h, (size_t)n * (size_t)k, 1);
  const bool is_extreme = chance(h, 12);
  (is_extreme ? fill_longest_chains : fill_weights)(h, w, n, k);
  int8_t *packed = buffer(h, (size_t)eq_packed_bytes(h->table->layout, n, k), 16);
  eq_pack_weights(packed, w, h->table->layout, n, k);
  const eq_linear_s8 linear = draw_linear(h, n, is_extreme ? 128 * 127 * k : 1000 + 20 * k);

  const size_t out_stride = (size_t)n + (chance(h, 30) ? (size_t)draw(h, 1, 40) : 0);
  const bool overlaid = l.n_runs == 1 && chance(h, 40);
  const size_t distance = overlaid ? safe_distance(m, out_stride, l.stride) : 0;
  const size_t out_bytes = m > 0 ? (size_t)(m - 1) * out_stride + (size_t)n : 0;
  const size_t image_at = distance > l.offsets[0] ? distance - l.offsets[0] : 0; /* of the image in its buffer */
  const size_t bytes = image_at + l.bytes;
  int8_t *image = buffer(h, bytes, 1);
  fill(h, image, bytes);
  if (is_extreme && bytes > 0) memset(image, -128, bytes);
  const int8_t *runs[MAX_RUNS];
  for (int32_t i = 0; i < l.n_runs; i++) runs[i] = image + image_at + l.offsets[i];
  const int8_t *rows = gather(h, image + image_at, &l, m);

  /* expected holds all of the memory that out lies in, found the same memory as the kernel leaves it */
  const size_t memory = overlaid ? bytes : out_bytes;
  int8_t *expected = buffer(h, memory, 1);
  int8_t *found = overlaid ? image : buffer(h, memory, 1);
  if (!overlaid) fill(h, found, memory);
  if (memory > 0) memcpy(expected, found, memory);
  const size_t out_at = overlaid ? image_at + l.offsets[0] - distance : 0;
  h->scalar->gemm_s8(expected + out_at, out_stride, rows, (size_t)k, w, m, n, k, &linear);
  const eq_gemm_rows x = {runs, l.n_runs, l.run, l.stride};
  h->table->packed_gemm_s8(found + out_at, out_stride, &x, packed, m, n, &linear);
  same(h, found, expected, memory, "m=%d n=%d runs=%dx%d stride=%d out_stride=%d overlaid=%d mode=%d out at %d", m, n,
       l.n_runs, l.run, (int)l.stride, (int)out_stride, overlaid, linear.mode, (int)out_at);
}

static void bench_shape(harness *h, const char *name, int32_t m, int32_t n, int32_t n_runs, int32_t run, int32_t mode) {
  h->buffers = 0;
  const int32_t k = n_runs * run;
  int8_t *w = buffer(h, (size_t)n * (size_t)k, 1);
  for (int32_t i = 0; i < n * k; i++) w[i] = (int8_t)draw(h, -31, 31); /* chains of 8 products */
  int8_t *packed = buffer(h, (size_t)eq_packed_bytes(h->table->layout, n, k), 16);
  eq_pack_weights(packed, w, h->table->layout, n, k);
  int32_t *bias = buffer(h, 4 * (size_t)n, 4), *multipliers = buffer(h, 4 * (size_t)n, 4);
  int8_t *shifts = buffer(h, (size_t)n, 1), *image = buffer(h, (size_t)(m * k + 16), 16);
  fill(h, image, (size_t)(m * k + 16));
  for (int32_t c = 0; c < n; c++) {
    bias[c] = draw(h, -10000, 10000);
    multipliers[c] = draw(h, 1 << 30, INT32_MAX);
    shifts[c] = (int8_t)draw(h, -9, -6);
  }
  const eq_linear_s8 linear = {.bias = bias, .multipliers = multipliers, .shifts = shifts, .zero = -128, .act_min = -128,
                               .act_max = 127, .mode = mode};
  const int8_t *runs[MAX_RUNS];
  for (int32_t i = 0; i < n_runs; i++) runs[i] = image + i * run;
  const eq_gemm_rows x = {runs, n_runs, run, (size_t)k};
  int8_t *out = buffer(h, (size_t)(m * n), 16);
  BENCH(h, name, (int64_t)m * n * k) h->table->packed_gemm_s8(out, (size_t)n, &x, packed, m, n, &linear);
}

static void bench(harness *h) {
  bench_shape(h, "pointwise 64x64 of 125", 125, 64, 1, 64, EQ_MODE_DOUBLE); /* KWS */
  bench_shape(h, "pointwise 8x16 of 576", 576, 16, 1, 8, EQ_MODE_DOUBLE);   /* VWW's first layers */
  bench_shape(h, "pointwise 128x128 of 36", 36, 128, 1, 128, EQ_MODE_DOUBLE);
  bench_shape(h, "windows 3x48x16 of 32", 32, 16, 3, 48, EQ_MODE_DOUBLE); /* ResNet-8 */
  bench_shape(h, "windows 3x192x64 of 8", 8, 64, 3, 192, EQ_MODE_DOUBLE);
  bench_shape(h, "patches 40x64 of 16", 16, 64, 1, 40, EQ_MODE_DOUBLE); /* KWS' first layer */
  bench_shape(h, "patches 27x8 of 16", 16, 8, 1, 27, EQ_MODE_DOUBLE);   /* VWW's */
  bench_shape(h, "pointwise 256x256 of 128", 128, 256, 1, 256, EQ_MODE_DOUBLE);
  bench_shape(h, "vector 640x128", 1, 128, 1, 640, EQ_MODE_EXACT); /* AD */
  bench_shape(h, "vector 128x128", 1, 128, 1, 128, EQ_MODE_EXACT);
  bench_shape(h, "vector 64x12", 1, 12, 1, 64, EQ_MODE_EXACT);
}

const kernel_check check_packed_gemm_s8 = {run, bench};
