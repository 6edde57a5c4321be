/* SPDX-License-Identifier: Apache-2.0
 * Depthwise layers of 1, 2, 4 or 8 channels with a horizontal stride of 1, as layers of 16 channels: pixels that lie
 * side by side in the image do so in the output. */
#ifndef EDGEQ_DEPTHWISE_NARROW_NEON_H
#define EDGEQ_DEPTHWISE_NARROW_NEON_H

#include "kernels/neon/depthwise_neon.h"

/* The layer of 16 channels. */
typedef struct eq_depthwise_narrow {
  int8_t weights[EQ_DEPTHWISE_TAPS][EQ_DEPTHWISE_LANES];
  int32_t bias[EQ_DEPTHWISE_LANES];
  int32_t multipliers[EQ_DEPTHWISE_LANES];
  int8_t shifts[EQ_DEPTHWISE_LANES];
  int32_t together; /* pixels in one */
  eq_linear_s8 linear;
  eq_depthwise_window window;
} eq_depthwise_narrow;

/* True when eq_widen_depthwise serves a layer of at most EQ_DEPTHWISE_TAPS taps. */
static inline bool eq_is_narrow(int32_t channels, const eq_depthwise_window *window) {
  return channels >= 1 && channels <= 8 && EQ_DEPTHWISE_LANES % channels == 0 &&
         window->pixels >= EQ_DEPTHWISE_LANES / channels && window->x_pixel == (size_t)channels;
}

static inline void eq_widen_depthwise(eq_depthwise_narrow *n, const int8_t *w, int32_t channels,
                                      const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  int8_t (*to)[EQ_DEPTHWISE_LANES] = n->weights;
  for (int32_t row = 0; row < window->rows; row++) {
    for (int32_t column = 0; column < window->columns; column++, to++) {
      const int8_t *from = w + (size_t)row * window->w_row + (size_t)column * window->w_column;
      if (channels == 8) {
        vst1q_s8(*to, vcombine_s8(vld1_s8(from), vld1_s8(from)));
      } else {
        for (int32_t i = 0; i < EQ_DEPTHWISE_LANES; i++) (*to)[i] = from[i & (channels - 1)];
      }
    }
  }
  for (int32_t i = 0; i < EQ_DEPTHWISE_LANES; i++) {
    const int32_t channel = i & (channels - 1);
    n->bias[i] = linear->bias[channel];
    n->multipliers[i] = linear->multipliers[channel];
    n->shifts[i] = linear->shifts[channel];
  }
  n->together = EQ_DEPTHWISE_LANES / channels;
  n->linear = *linear;
  n->linear.bias = n->bias;
  n->linear.multipliers = n->multipliers;
  n->linear.shifts = n->shifts;
  n->window = *window;
  n->window.pixels = window->pixels / n->together;
  n->window.x_pixel = EQ_DEPTHWISE_LANES;
  n->window.w_row = (size_t)window->columns * EQ_DEPTHWISE_LANES;
  n->window.w_column = EQ_DEPTHWISE_LANES;
  n->window.chains = NULL;
}

#endif
