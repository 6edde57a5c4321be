/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution of four channels and four pixels at a time, whose weights are widened to pairs of taps once. */
#if defined(__ARM_FEATURE_DSP) && __ARM_ARCH_PROFILE == 'M'
#include "kernels/dsp/requant_dsp.h"
#include "kernels/dsp/taps_dsp.h"
#include "kernels/kernels.h"

/* For other weights and few channels. Firmware made for one model has NULL here unless the model has such a layer, which
 * edgeq/emit/ways.py finds. */
eq_depthwise_s8_fn eq_depthwise_s8_scalar;
#if defined(EQ_FIXED_MODEL)
extern eq_depthwise_s8_fn *const eq_depthwise_s8_rare;
#else
static eq_depthwise_s8_fn *const eq_depthwise_s8_rare = eq_depthwise_s8_scalar;
#endif

enum { LANES = EQ_TAP_LANES_DSP, PIXELS = EQ_ROWS_DSP, TAPS = 2 * EQ_TAP_PAIRS_DSP };
enum { PAIR_WORDS = sizeof(eq_tap_pair_dsp) / sizeof(size_t) };

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

/* The same for all taps of a window that has no more than TAPS. */
static void find_window(eq_taps_dsp *to, const eq_depthwise_window *window) {
  const int32_t count = window->rows * window->columns;
  size_t *w = to->w[0], *x = to->pairs[0].x;
  size_t to_next = 1; /* in size_t: from a pair's first tap to its second one, then to the next pair's first one */
  to->n = (count + 1) / 2;
  to->x_pixel = window->x_pixel;
  for (int32_t row = 0; row < window->rows; row++) {
    size_t x_at = (size_t)row * window->x_row, w_at = (size_t)row * window->w_row;
    for (int32_t column = window->columns; column > 0; column--) {
      *x = x_at;
      *w++ = w_at;
      x += to_next;
      to_next = PAIR_WORDS - to_next;
      x_at += window->x_column;
      w_at += window->w_column;
    }
  }
  if (count % 2 != 0) {
    x[0] = x[-1];
    w[0] = w[-1];
  }
}

/* Widen weights; of a tap that pairs with itself the second one counts 0. */
static void widen(eq_taps_dsp *taps, int32_t count, const int8_t *w) {
  eq_widen_taps_dsp(taps, w);
  if (count % 2 == 0) return;
  int32_t *last = taps->pairs[count / 2].w;
  for (int32_t c = 0; c < LANES; c++) last[c] = (int16_t)last[c] & 0xFFFF;
}

/* Sums of up to four pixels for a window of any number of taps, `taps` being made for some at a time. */
static void sum(int32_t *sums, const int8_t *x, const int8_t *w, const eq_depthwise_window *window,
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
    eq_run_taps_dsp(more, x, taps, pixels);
    for (int32_t i = 0; i < LANES * PIXELS; i++) sums[i] = eq_add32(sums[i], more[i]);
  }
  taps->bias = bias;
}

/* Any window, bounds and constants, a few pixels at a time. */
static __attribute__((noinline)) void run_slowly(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                                                 const eq_depthwise_window *window, const eq_linear_s8 *linear,
                                                 eq_taps_dsp *taps, int32_t first) {
  int32_t sums[LANES * PIXELS];
  eq_tile_dsp tile = {.sums = sums, .multipliers = linear->multipliers + first, .shifts = linear->shifts + first, .n = LANES};
  taps->end = EQ_TAPS_SUM;
  for (int32_t line = 0; line < window->lines; line++) {
    const int8_t *from = x + (size_t)line * window->x_line;
    int8_t *to = out + (size_t)line * window->out_line;
    for (int32_t left = window->pixels; left > 0; left -= PIXELS) {
      const int32_t pixels = eq_min32(left, PIXELS);
      sum(sums, from, w, window, taps, pixels);
      eq_requant_tile_dsp(to, (size_t)channels, &tile, pixels, first, linear, NULL);
      from += PIXELS * window->x_pixel;
      to += PIXELS * (size_t)channels;
    }
  }
}

/* What the loop needs to know of four channels. */
static void set_channels(eq_taps_dsp *taps, const eq_linear_s8 *linear, int32_t first) {
  const int32_t *m = linear->multipliers + first, most = taps->end == EQ_TAPS_SINGLE ? -1 : 0;
  const int8_t *shifts = linear->shifts + first;
  taps->bias = linear->bias + first;
  for (int32_t c = 0; c < LANES; c++) {
    taps->scales[c].multiplier = m[c];
    taps->scales[c].e = most - shifts[c];
  }
}

void eq_depthwise_s8_dsp(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels, const eq_depthwise_window *window,
                         const eq_linear_s8 *linear) {
  if (linear->weights_zero != 0 || channels < LANES) {
    eq_depthwise_s8_rare(out, x, w, channels, window, linear);
    return;
  }
  if (window->pixels == 0) return;
  const int32_t count = window->rows * window->columns;
  const bool fast = count > 0 && count <= TAPS && linear->act_min == INT8_MIN && linear->act_max == INT8_MAX &&
                    eq_is_fast_dsp(linear, channels, count);
  eq_taps_dsp taps;
  taps.end = eq_mode(linear->mode) == EQ_MODE_DOUBLE ? EQ_TAPS_DOUBLE : EQ_TAPS_SINGLE; /* powers of two as well */
  taps.zero = linear->zero;
  taps.out_pixel = (size_t)channels;
  if (fast) find_window(&taps, window);
  for (int32_t c = 0; c < channels; c += LANES) {
    const int32_t first = eq_min32(c, channels - LANES); /* the last ones with some of those before, made once more */
    set_channels(&taps, linear, first);
    if (!fast) {
      run_slowly(out + first, x + first, w + first, channels, window, linear, &taps, first);
      continue;
    }
    widen(&taps, count, w + first);
    const int8_t *from = x + first;
    int8_t *to = out + first;
    for (int32_t line = window->lines; line > 0; line--, from += window->x_line, to += window->out_line) {
      eq_run_taps_dsp(to, from, &taps, window->pixels);
    }
  }
}
#endif
