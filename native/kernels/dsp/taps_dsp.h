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
  eq_tap_pair_dsp pairs[EQ_TAP_PAIRS_DSP];
} eq_taps_dsp;

/* sums[channel][pixel] += all taps of four channels, for 1 to 4 pixels x_pixel bytes apart. */
void eq_add_taps_dsp(int32_t *sums, const int8_t *x, const eq_taps_dsp *taps, int32_t pixels);

/* Pairs of four channels' weights of two taps, at w and v. */
void eq_pair_taps_dsp(int32_t to[EQ_TAP_LANES_DSP], const int8_t *w, const int8_t *v);

#endif
