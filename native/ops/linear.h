/* SPDX-License-Identifier: Apache-2.0
 * What the operators built on matrix products share: legality of their constants, and windows of an image. */
#ifndef EDGEQ_LINEAR_H
#define EDGEQ_LINEAR_H

#include "edgeq/memory.h"
#include "edgeq/step.h"
#include "kernels/kernels.h"

enum {
  EQ_MAX_DEPTH = 65536,        /* products per output: int32 sums of x * (w - zero) cannot overflow below it */
  EQ_MAX_DEPTH_S16 = 1 << 22,  /* the same for 64-bit accumulators below 2^47 */
  EQ_PATCHES = 4,              /* image windows gathered into scratch for one call of a matrix product */
};

/* True when the constants of n output channels lie in the file, biases being n_bias numbers of bias_bytes each. */
static inline bool eq_channels_legal(const eq_step_check *s, eq_span bias, uint64_t n_bias, uint32_t bias_bytes,
                                     eq_span multipliers, eq_span shifts, uint64_t n, int32_t max_shift) {
  return eq_span_is(s, bias, eq_scaled(n_bias, bias_bytes)) && eq_span_is(s, multipliers, eq_scaled(n, 4)) &&
         eq_span_is(s, shifts, n) && eq_multipliers_legal(s, multipliers, shifts, max_shift);
}

/* True when zero points and bounds are int8 codes and the mode is one of an int32 accumulator; see eq_mode_legal. */
static inline bool eq_codes_legal(int32_t input_zero, int32_t weights_zero, int32_t zero, int32_t act_min,
                                  int32_t act_max, int32_t mode, bool all_half) {
  return eq_within(input_zero, -128, 127) && eq_within(weights_zero, -128, 127) && eq_within(zero, -128, 127) &&
         eq_within(act_min, -128, 127) && eq_within(act_max, act_min, 127) && eq_mode_legal(mode, all_half);
}

/* True when along one axis every tap of every output pixel has a coordinate well inside int32. */
static inline bool eq_axis_legal(int32_t out, int32_t kernel, int32_t stride, int32_t dilation, int32_t before) {
  const uint64_t limit = UINT64_C(1) << 29;
  return kernel >= 1 && stride >= 1 && dilation >= 1 && eq_within(before, -(1 << 29), 1 << 29) &&
         (uint64_t)(uint32_t)out * (uint32_t)stride <= limit &&
         (uint64_t)(uint32_t)kernel * (uint32_t)dilation <= limit;
}

/* True when the windows of a convolution, images and channels in groups, are such. Shapes are NHWC. */
static inline bool eq_windows_legal(const int32_t input[4], const int32_t output[4], int32_t groups,
                                    const int32_t kernel[2], const int32_t stride[2], const int32_t dilation[2],
                                    const int32_t padding[2]) {
  if (input[0] != output[0] || groups < 1 || input[3] % groups != 0 || output[3] % groups != 0) return false;
  return eq_axis_legal(output[1], kernel[0], stride[0], dilation[0], padding[0]) &&
         eq_axis_legal(output[2], kernel[1], stride[1], dilation[1], padding[1]);
}

/* An image and the window that slides over it; sizes in pixels, pixels of pixel_bytes of which taken_bytes are read. */
typedef struct eq_window {
  int32_t height;
  int32_t width;
  int32_t rows;
  int32_t columns;
  int32_t dilation_y;
  int32_t dilation_x;
  size_t pixel_bytes;
  size_t taken_bytes;
  uint8_t fill; /* every byte of a tap outside the image */
} eq_window;

/* Gather the window whose first tap is at (y, x), row by row, into rows * columns * taken_bytes bytes. */
static inline void eq_gather(uint8_t *patch, const uint8_t *image, const eq_window *window, int32_t y, int32_t x) {
  const size_t row_bytes = (size_t)window->columns * window->taken_bytes;
  for (int32_t i = 0; i < window->rows; i++, patch += row_bytes) {
    const int32_t tap_y = y + i * window->dilation_y;
    if (tap_y < 0 || tap_y >= window->height) {
      eq_fill(patch, window->fill, row_bytes);
      continue;
    }
    const uint8_t *line = image + (size_t)tap_y * (size_t)window->width * window->pixel_bytes;
    uint8_t *to = patch;
    if (window->dilation_x == 1 && window->taken_bytes == window->pixel_bytes && x >= 0 &&
        x + window->columns <= window->width) {
      eq_copy(to, line + (size_t)x * window->pixel_bytes, row_bytes);
      continue;
    }
    for (int32_t j = 0; j < window->columns; j++, to += window->taken_bytes) {
      const int32_t tap_x = x + j * window->dilation_x;
      if (tap_x < 0 || tap_x >= window->width) {
        eq_fill(to, window->fill, window->taken_bytes);
      } else {
        eq_copy(to, line + (size_t)tap_x * window->pixel_bytes, window->taken_bytes);
      }
    }
  }
}

#endif
