/* SPDX-License-Identifier: Apache-2.0
 * depthwise_s8 against the scalar kernel.
 *
 * A case reaches the full tile with 16 channels, 4 pixels and 3 taps or more. It has tails when channels are no multiple of
 * 16 or pixels none of 4. */
#include <string.h>

#include "edgeq/fixed_point.h"
#include "harness.h"
#include "kernels/packed.h"

enum { CHANNELS = 16, PIXELS = 4, TAPS = 3 };

/* A kernel of weights, and the part of it that a window at the image's border has. */
typedef struct taps {
  int32_t kernel[2];
  int32_t first[2];
  int32_t count[2];
} taps;

static taps draw_taps(harness *h) {
  static const uint8_t usual[][2] = {{3, 3}, {5, 5}, {1, 3}, {3, 1}, {1, 5}, {5, 1}, {7, 7}, {2, 2}, {1, 9}, {10, 4}};
  taps t = {.kernel = {3, 3}};
  for (int32_t axis = 0, i = draw(h, 0, 9), kind = draw(h, 0, 9); axis < 2; axis++) {
    if (kind < 5) t.kernel[axis] = usual[i][axis];
    if (kind == 5) t.kernel[axis] = draw(h, 1, 12);
    t.count[axis] = t.kernel[axis];
    if (chance(h, 25)) {
      t.first[axis] = draw(h, 0, t.kernel[axis]);
      t.count[axis] = draw(h, 0, t.kernel[axis] - t.first[axis]);
    }
  }
  return t;
}

static int32_t draw_channels(harness *h) {
  static const uint8_t usual[] = {8, 16, 24, 32, 64, 96, 128};
  return chance(h, 50) ? usual[draw(h, 0, 6)] : draw_size(h, 1, 150);
}

static void run(harness *h) {
  const taps t = draw_taps(h);
  const int32_t channels = draw_channels(h), kernel_taps = t.kernel[0] * t.kernel[1];
  const int32_t lines = chance(h, 5) ? 0 : draw_size(h, 1, 6), pixels = chance(h, 5) ? 0 : draw_size(h, 1, 30);
  const int32_t stride[2] = {draw(h, 1, 2), draw_size(h, 1, 3)};
  const int32_t dilation[2] = {chance(h, 80) ? 1 : draw(h, 1, 3), chance(h, 80) ? 1 : draw(h, 1, 3)};
  const int32_t rows = t.count[0], columns = t.count[1];
  const int32_t width = (pixels > 0 ? (pixels - 1) * stride[1] : 0) + (columns > 0 ? (columns - 1) * dilation[1] : 0) + 1 +
                        draw(h, 0, 3);
  covers(h, channels >= CHANNELS && pixels >= PIXELS && lines > 0 && rows * columns >= TAPS,
         channels % CHANNELS != 0 || pixels % PIXELS != 0);

  int8_t *w = buffer(h, (size_t)kernel_taps * (size_t)channels, 1);
  fill(h, w, (size_t)kernel_taps * (size_t)channels);
  if (chance(h, 50)) { /* weak weights, so that chains occur */
    const int32_t limit = draw(h, 1, 90);
    for (int32_t i = 0; i < kernel_taps * channels; i++) w[i] = (int8_t)draw(h, -limit, limit);
  }
  const size_t pixel = (size_t)channels, line = (size_t)width * pixel;
  eq_depthwise_window window = {
      .lines = lines,
      .pixels = pixels,
      .rows = rows,
      .columns = columns,
      .x_row = (size_t)dilation[0] * line,
      .x_column = (size_t)dilation[1] * pixel,
      .x_pixel = (size_t)stride[1] * pixel,
      .x_line = (size_t)stride[0] * line,
      .w_row = (size_t)t.kernel[1] * pixel,
      .w_column = pixel,
      .out_line = (size_t)pixels * pixel + (chance(h, 30) ? (size_t)draw(h, 1, 50) : 0),
  };
  const bool empty = lines == 0 || pixels == 0;
  size_t x_bytes = 0;
  if (!empty && rows * columns > 0) {
    x_bytes = (size_t)(lines - 1) * window.x_line + (size_t)(pixels - 1) * window.x_pixel +
              (size_t)(rows - 1) * window.x_row + (size_t)(columns - 1) * window.x_column + pixel;
  }
  int8_t *x = buffer(h, x_bytes, 1);
  fill(h, x, x_bytes);
  eq_linear_s8 linear = draw_linear(h, channels, 500 + 3000 * rows * columns);
  if (chance(h, 12)) {
    linear.weights_zero = draw(h, -128, 127);
  } else if (chance(h, 75)) {
    uint8_t *chains = buffer(h, ((size_t)channels + 7) / 8, 1);
    eq_find_chains(chains, w, kernel_taps, channels);
    window.chains = chains;
  }
  const size_t bytes = empty ? 0 : (size_t)(lines - 1) * window.out_line + (size_t)pixels * pixel;
  int8_t *found = buffer(h, bytes, 1), *expected = buffer(h, bytes, 1);
  fill(h, found, bytes);
  if (bytes > 0) memcpy(expected, found, bytes);
  const int8_t *first = w + (size_t)t.first[0] * window.w_row + (size_t)t.first[1] * pixel;
  if (rows * columns == 0) first = w;
  h->scalar->depthwise_s8(expected, x, first, channels, &window, &linear);
  h->table->depthwise_s8(found, x, first, channels, &window, &linear);
  same(h, found, expected, bytes, "%d lines, %d pixels, %d channels, taps %dx%d of %dx%d, strides %dx%d, dilation %dx%d, "
       "mode %d, weights_zero %d, chains %d", lines, pixels, channels, rows, columns, t.kernel[0], t.kernel[1], stride[0],
       stride[1], dilation[0], dilation[1], linear.mode, linear.weights_zero, window.chains != NULL);
}

/* Output of `size` x `size` pixels, windows inside the image. */
static void bench_shape(harness *h, const char *name, int32_t size, int32_t channels, int32_t kernel, int32_t stride,
                        int32_t limit) {
  h->buffers = 0;
  const size_t pixel = (size_t)channels;
  const size_t width = (size_t)((size - 1) * stride + kernel), line = width * pixel;
  const size_t weights = (size_t)(kernel * kernel) * pixel;
  int8_t *x = buffer(h, width * line, 16), *w = buffer(h, weights, 1);
  fill(h, x, width * line);
  for (size_t i = 0; i < weights; i++) w[i] = (int8_t)draw(h, -limit, limit);
  uint8_t *chains = buffer(h, (pixel + 7) / 8, 1);
  eq_find_chains(chains, w, kernel * kernel, channels);
  int32_t *bias = buffer(h, 4 * pixel, 4), *multipliers = buffer(h, 4 * pixel, 4);
  int8_t *shifts = buffer(h, pixel, 1);
  for (size_t c = 0; c < pixel; c++) {
    bias[c] = draw(h, -10000, 10000);
    multipliers[c] = draw(h, 1 << 30, INT32_MAX);
    shifts[c] = (int8_t)draw(h, -8, -5);
  }
  const eq_linear_s8 linear = {.bias = bias, .multipliers = multipliers, .shifts = shifts, .zero = -128, .act_min = -128,
                               .act_max = 127, .mode = EQ_MODE_DOUBLE};
  const eq_depthwise_window window = {
      .lines = size, .pixels = size, .rows = kernel, .columns = kernel, .x_row = line, .x_column = pixel,
      .x_pixel = (size_t)stride * pixel, .x_line = (size_t)stride * line, .w_row = (size_t)kernel * pixel,
      .w_column = pixel, .out_line = (size_t)size * pixel, .chains = chains,
  };
  int8_t *out = buffer(h, (size_t)(size * size) * pixel, 16);
  BENCH(h, name, (int64_t)size * size * channels * kernel * kernel) {
    h->table->depthwise_s8(out, x, w, channels, &window, &linear);
  }
}

static void bench(harness *h) {
  bench_shape(h, "3x3 20x20 of 64", 20, 64, 3, 1, 31);
  bench_shape(h, "3x3 20x20 of 64, no chains", 20, 64, 3, 1, 127);
  bench_shape(h, "3x3 46x46 of 8", 46, 8, 3, 1, 31);
  bench_shape(h, "3x3/2 12x12 of 32", 12, 32, 3, 2, 31);
  bench_shape(h, "3x3 4x4 of 128", 4, 128, 3, 1, 60);
  bench_shape(h, "5x5 12x12 of 32", 12, 32, 5, 1, 60);
}

const kernel_check check_depthwise_s8 = {run, bench};
