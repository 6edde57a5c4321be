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

/* Find the pairs of `count` <= TAPS taps from `at` on; the last one alone pairs with itself. Returns the tap behind. */
static place find_taps(eq_taps_dsp *to, place at, int32_t count, const eq_depthwise_window *window) {
  to->n = (count + 1) / 2;
  to->x_pixel = window->x_pixel;
  for (int32_t i = 0; i < count; i++, at = next(at, window)) {
    to->pairs[i / 2].x[i % 2] = to->pairs[i / 2].x[1] = at.x;
    to->w[i / 2][i % 2] = to->w[i / 2][1] = at.w;
  }
  return at;
}

/* Widen weights; of a tap that pairs with itself the second one counts 0. */
static void widen(eq_taps_dsp *taps, int32_t count, const int8_t *w) {
  eq_widen_taps_dsp(taps, w);
  if (count % 2 == 0) return;
  int32_t *last = taps->pairs[count / 2].w;
  for (int32_t c = 0; c < LANES; c++) last[c] = (int16_t)last[c] & 0xFFFF;
}

/* Sums of up to four pixels for a window of any number of taps: none, or so many that `taps` is made for some at a time. */
static void sum_others(int32_t *sums, const int8_t *x, const int8_t *w, const eq_depthwise_window *window,
                       eq_taps_dsp *taps, int32_t pixels) {
  static const int32_t zeros[LANES];
  const int32_t count = window->rows * window->columns, *const bias = taps->bias;
  place at = {0, 0, 0};
  for (int32_t i = 0; i < LANES * PIXELS; i++) sums[i] = bias[i / PIXELS];
  taps->bias = zeros;
  for (int32_t tap = 0; tap < count; tap += TAPS) {
    const int32_t some = eq_min32(count - tap, TAPS);
    int32_t more[LANES * PIXELS] = {0};
    at = find_taps(taps, at, some, window);
    widen(taps, some, w);
    eq_sum_taps_dsp(more, x, taps, pixels);
    for (int32_t i = 0; i < LANES * PIXELS; i++) sums[i] = eq_add32(sums[i], more[i]);
  }
  taps->bias = bias;
}

void eq_depthwise_s8_dsp(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels, const eq_depthwise_window *window,
                         const eq_linear_s8 *linear) {
  if (linear->weights_zero != 0 || channels < LANES) {
    eq_depthwise_s8_scalar(out, x, w, channels, window, linear);
    return;
  }
  const int32_t count = window->rows * window->columns;
  const bool at_once = count > 0 && count <= TAPS;
  eq_scale_dsp *const scale = eq_is_fast_dsp(linear, channels, count) ? eq_scale_of_dsp(linear) : NULL;
  int32_t sums[LANES * PIXELS];
  eq_tile_dsp tile = {.sums = sums, .zero = linear->zero, .n = LANES};
  eq_taps_dsp taps;
  if (at_once) find_taps(&taps, (place){0, 0, 0}, count, window);
  for (int32_t c = 0; c < channels; c += LANES) {
    const int32_t first = eq_min32(c, channels - LANES); /* the last ones with some of those before, made once more */
    tile.multipliers = linear->multipliers + first;
    tile.shifts = linear->shifts + first;
    taps.bias = linear->bias + first;
    if (at_once) widen(&taps, count, w + first);
    for (int32_t line = 0; line < window->lines; line++) {
      const int8_t *from = x + (size_t)line * window->x_line + first;
      int8_t *to = out + (size_t)line * window->out_line + first;
      eq_set_rows_dsp(&tile, eq_min32(window->pixels, PIXELS), (size_t)channels);
      for (int32_t left = window->pixels; left > 0; left -= PIXELS) {
        const int32_t pixels = eq_min32(left, PIXELS);
        if (at_once) {
          eq_sum_taps_dsp(sums, from, &taps, pixels);
        } else {
          sum_others(sums, from, w + first, window, &taps, pixels);
        }
        if (pixels < PIXELS) eq_set_rows_dsp(&tile, pixels, (size_t)channels);
        eq_requant_tile_dsp(to, (size_t)channels, &tile, pixels, first, linear, scale);
        from += PIXELS * window->x_pixel;
        to += PIXELS * (size_t)channels;
      }
    }
  }
}
#endif
