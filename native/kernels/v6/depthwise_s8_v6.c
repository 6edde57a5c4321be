/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution of int8 pixels, four channels at a time, widened in pairs. */
#if defined(__arm__) && defined(__ARM_FEATURE_SIMD32) && !defined(__ARM_NEON)
#include "kernels/kernels.h"
#include "kernels/v6/simd_v6.h"

eq_depthwise_s8_fn eq_depthwise_s8_scalar;

enum { LANES = 4, TILE = 32 /* channels whose sums wait on the stack */, MAX_TAPS = 64 };

/* Where a tap lies from a pixel's first one, and its weights from the window's first ones. */
typedef struct tap {
  size_t x;
  size_t w;
} tap;

static int32_t find_taps(tap *to, const eq_depthwise_window *window) {
  int32_t n = 0;
  for (int32_t row = 0; row < window->rows; row++) {
    tap at = {(size_t)row * window->x_row, (size_t)row * window->w_row};
    for (int32_t column = 0; column < window->columns; column++) {
      to[n++] = at;
      at.x += window->x_column;
      at.w += window->w_column;
    }
  }
  return n;
}

/* sums[c] = all taps of four channels; |x * w| <= 2^14, so sums are at most 2^20. */
static inline void sum_taps(int32_t *sums, const int8_t *x, const int8_t *w, const tap *taps, const tap *end) {
  int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (; taps < end; taps++) {
    const int32_t a = eq_load_word(x + taps->x), b = eq_load_word(w + taps->w);
    const int16x2_t a_even = eq_even(a), a_odd = eq_odd(a), b_even = eq_even(b), b_odd = eq_odd(b);
    s0 = eq_add_low(s0, a_even, b_even);
    s1 = eq_add_low(s1, a_odd, b_odd);
    s2 = eq_add_high(s2, a_even, b_even);
    s3 = eq_add_high(s3, a_odd, b_odd);
  }
  sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}

void eq_depthwise_s8_v6(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels, const eq_depthwise_window *window,
                        const eq_linear_s8 *linear) {
  if (linear->weights_zero != 0 || channels < LANES || window->rows * window->columns > MAX_TAPS) {
    eq_depthwise_s8_scalar(out, x, w, channels, window, linear);
    return;
  }
  tap taps[MAX_TAPS];
  const tap *end = taps + find_taps(taps, window);
  const bool fast = eq_scales_fast(linear, channels);
  for (int32_t line = 0; line < window->lines; line++) {
    for (int32_t pixel = 0; pixel < window->pixels; pixel++) {
      const int8_t *from = x + (size_t)line * window->x_line + (size_t)pixel * window->x_pixel;
      int8_t *to = out + (size_t)line * window->out_line + (size_t)pixel * (size_t)channels;
      for (int32_t first = 0; first < channels; first += TILE) {
        const int32_t count = eq_min32(channels - first, TILE);
        int32_t sums[TILE];
        if (count < LANES) {
          /* the last ones with those in front of them, whose sums are not used */
          const int32_t shared = LANES - count;
          sum_taps(sums, from + first - shared, w + first - shared, taps, end);
          eq_requant_s8_v6(to + first, sums + shared, first, count, linear, fast);
          continue;
        }
        for (int32_t c = 0; c < count; c += LANES) {
          const int32_t at = eq_min32(c, count - LANES);
          sum_taps(sums + at, from + first + at, w + first + at, taps, end);
        }
        eq_requant_s8_v6(to + first, sums, first, count, linear, fast);
      }
    }
  }
}
#endif
