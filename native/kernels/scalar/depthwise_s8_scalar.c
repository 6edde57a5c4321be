/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution of int8 pixels, a block of channels at a time. */
#include "kernels/kernels.h"
#include "kernels/requant.h"

enum { BLOCK = 16 };

/* sums[c] += x[c] * (w[c] - zero); the product fits int16: |x * (w - zero)| <= 128 * 255. */
static inline void add_tap(int32_t *restrict sums, const int8_t *restrict x, const int8_t *restrict w, int32_t n,
                           int16_t zero) {
  for (int32_t c = 0; c < n; c++) {
    const int16_t product = (int16_t)(x[c] * (int16_t)(w[c] - zero));
    sums[c] += product;
  }
}

static inline void sum_taps(int32_t *restrict sums, const int8_t *x, const int8_t *w, int32_t n, int16_t zero,
                            const eq_depthwise_window *window) {
  for (int32_t c = 0; c < n; c++) sums[c] = 0;
  for (int32_t row = 0; row < window->rows; row++) {
    const int8_t *x_tap = x + (size_t)row * window->x_row;
    const int8_t *w_tap = w + (size_t)row * window->w_row;
    for (int32_t column = 0; column < window->columns; column++) {
      add_tap(sums, x_tap, w_tap, n, zero);
      x_tap += window->x_column;
      w_tap += window->w_column;
    }
  }
}

void eq_depthwise_s8_scalar(int8_t *out, const int8_t *x, const int8_t *w, int32_t m, int32_t channels,
                            const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  const int16_t zero = (int16_t)linear->weights_zero;
  for (int32_t pixel = 0; pixel < m; pixel++) {
    for (int32_t first = 0; first < channels; first += BLOCK) {
      const int32_t n = channels - first < BLOCK ? channels - first : BLOCK;
      int32_t sums[BLOCK];
      if (n == BLOCK) { /* a constant count, so that the compiler unrolls */
        sum_taps(sums, x + first, w + first, BLOCK, zero, window);
      } else {
        sum_taps(sums, x + first, w + first, n, zero, window);
      }
      eq_requant_s8(out + first, sums, first, n, linear);
    }
    x += window->x_pixel;
    out += channels;
  }
}
