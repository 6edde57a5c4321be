/* SPDX-License-Identifier: Apache-2.0
 * The inner loop of depthwise convolution: pairs of taps of four channels. */
#ifndef EDGEQ_TAPS_DSP_H
#define EDGEQ_TAPS_DSP_H

#include <stddef.h>
#include <stdint.h>

enum { EQ_TAP_PAIRS_DSP = 5, EQ_TAP_LANES_DSP = 4 };

/* Two taps: where they lie from a pixel's first one, and of each channel both weights as a pair of int16. */
typedef struct eq_tap_pair_dsp {
  size_t x[2];
  int32_t w[EQ_TAP_LANES_DSP];
} eq_tap_pair_dsp;

typedef struct eq_taps_dsp {
  int32_t n; /* pairs, 1 to EQ_TAP_PAIRS_DSP */
  size_t x_pixel;
  const int32_t *bias; /* of the four channels */
  eq_tap_pair_dsp pairs[EQ_TAP_PAIRS_DSP];
  size_t w[EQ_TAP_PAIRS_DSP][2]; /* where a pair's weights lie from the window's first ones */
} eq_taps_dsp;

/* sums[channel][pixel] = bias + all taps of four channels, for 1 to 4 pixels x_pixel bytes apart. */
void eq_sum_taps_dsp(int32_t *sums, const int8_t *x, const eq_taps_dsp *taps, int32_t pixels);

/* Widen the weights of four channels, whose first tap is at w, to pairs. */
void eq_widen_taps_dsp(eq_taps_dsp *taps, const int8_t *w);

#endif
