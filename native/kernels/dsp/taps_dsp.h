/* SPDX-License-Identifier: Apache-2.0
 * The inner loop of depthwise convolution: pairs of taps of four channels. */
#ifndef EDGEQ_TAPS_DSP_H
#define EDGEQ_TAPS_DSP_H

#include <stddef.h>
#include <stdint.h>

enum { EQ_TAP_PAIRS_DSP = 5, EQ_TAP_LANES_DSP = 4 };

/* What becomes of a pixel's sums: they are stored, or scaled as eq_scaled_dsp does in mode double or single. */
enum { EQ_TAPS_SUM = 0, EQ_TAPS_DOUBLE = 1, EQ_TAPS_SINGLE = 2 };

/* Two taps: where they lie from a pixel's first one, and of each channel both weights as a pair of int16. */
typedef struct eq_tap_pair_dsp {
  size_t x[2];
  int32_t w[EQ_TAP_LANES_DSP];
} eq_tap_pair_dsp;

typedef struct eq_taps_dsp {
  int32_t n; /* pairs, 1 to EQ_TAP_PAIRS_DSP */
  size_t x_pixel;
  const int32_t *bias; /* of the four channels */
  int32_t end;         /* EQ_TAPS_SUM, ... */
  int32_t zero;
  size_t out_pixel; /* from a pixel's codes to the next one's */
  struct {
    int32_t multiplier;
    int32_t e;
  } scales[EQ_TAP_LANES_DSP];
  eq_tap_pair_dsp pairs[EQ_TAP_PAIRS_DSP];
  size_t w[EQ_TAP_PAIRS_DSP][2]; /* where a pair's weights lie from the window's first ones */
} eq_taps_dsp;

/* The bias and all taps of four channels, for `pixels` >= 1 pixels x_pixel bytes apart: to `out` their codes in int8, or
 * with EQ_TAPS_SUM to int32 sums[channel][pixel] of up to 4 pixels. */
void eq_run_taps_dsp(void *out, const int8_t *x, const eq_taps_dsp *taps, int32_t pixels);

/* Widen the weights of four channels, whose first tap is at w, to pairs. */
void eq_widen_taps_dsp(eq_taps_dsp *taps, const int8_t *w);

#endif
