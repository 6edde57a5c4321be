/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution of four channels and four pixels at a time, whose weights are widened to pairs of taps once. */
#if defined(__ARM_FEATURE_DSP) && __ARM_ARCH_PROFILE == 'M'
#include "kernels/dsp/requant_dsp.h"
#include "kernels/dsp/taps_dsp.h"
#include "kernels/kernels.h"

eq_depthwise_s8_fn eq_depthwise_s8_scalar;

enum { LANES = EQ_TAP_LANES_DSP, PIXELS = EQ_ROWS_DSP, TAPS = 2 * EQ_TAP_PAIRS_DSP };

/* A tap, and how far it lies from the window's first one. */
typedef struct place {
  int32_t column;
  size_t x;
  size_t w;
} place;

static place next(place at, const eq_depthwise_window *window) {
  if (++at.column < window->columns) return (place){at.column, at.x + window->x_column, at.w + window->w_column};
  const size_t columns = (size_t)(window->columns - 1);
  return (place){0, at.x + window->x_row - columns * window->x_column, at.w + window->w_row - columns * window->w_column};
}

/* The pairs of `count` <= TAPS taps from `at` on; the last one alone pairs with a weight of 0. Returns the tap behind. */
static place find_taps(eq_taps_dsp *to, place at, int32_t count, const int8_t *w, const eq_depthwise_window *window) {
  static const int8_t none[LANES];
  to->n = (count + 1) / 2;
  to->x_pixel = window->x_pixel;
  eq_tap_pair_dsp *pair = to->pairs;
  for (; count > 0; count -= 2, pair++) {
    const place first = at;
    at = next(at, window);
    const bool is_pair = count > 1;
    pair->x[0] = first.x;
    pair->x[1] = is_pair ? at.x : first.x;
    eq_pair_taps_dsp(pair->w, w + first.w, is_pair ? w + at.w : none);
    if (is_pair) at = next(at, window);
  }
  return at;
}

/* Four channels from `first` on. */
static __attribute__((noinline)) void run_lanes(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                                                const eq_depthwise_window *window, const eq_linear_s8 *linear,
                                                int32_t first, bool fast) {
  const int32_t count = window->rows * window->columns;
  const int32_t *bias = linear->bias + first;
  eq_taps_dsp taps;
  if (count <= TAPS) find_taps(&taps, (place){0, 0, 0}, count, w, window);
  for (int32_t line = 0; line < window->lines; line++) {
    const int8_t *from = x + (size_t)line * window->x_line;
    int8_t *to = out + (size_t)line * window->out_line;
    for (int32_t left = window->pixels; left > 0; left -= PIXELS) {
      const int32_t pixels = eq_min32(left, PIXELS);
      int32_t sums[LANES * PIXELS];
      for (int32_t c = 0; c < LANES; c++) {
        int32_t *sum = sums + c * PIXELS;
        sum[0] = sum[1] = sum[2] = sum[3] = bias[c];
      }
      if (count > TAPS) {
        place at = {0, 0, 0};
        for (int32_t tap = 0; tap < count; tap += TAPS) {
          at = find_taps(&taps, at, eq_min32(count - tap, TAPS), w, window);
          eq_add_taps_dsp(sums, from, &taps, pixels);
        }
      } else if (count > 0) {
        eq_add_taps_dsp(sums, from, &taps, pixels);
      }
      eq_requant_rows_dsp(to, (size_t)channels, sums, pixels, first, LANES, linear, fast);
      from += PIXELS * window->x_pixel;
      to += PIXELS * (size_t)channels;
    }
  }
}

void eq_depthwise_s8_dsp(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels, const eq_depthwise_window *window,
                         const eq_linear_s8 *linear) {
  if (linear->weights_zero != 0 || channels < LANES) {
    eq_depthwise_s8_scalar(out, x, w, channels, window, linear);
    return;
  }
  const bool fast = eq_is_fast_dsp(linear, channels, window->rows * window->columns);
  for (int32_t c = 0; c < channels; c += LANES) {
    const int32_t first = eq_min32(c, channels - LANES); /* the last ones with some of those before, made once more */
    run_lanes(out + first, x + first, w + first, channels, window, linear, first, fast);
  }
}
#endif
