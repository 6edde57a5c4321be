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

/* sums[c] = the first `taps` taps of n channels, in one loop over a local array that can stay in registers. */
static inline void sum_taps(int32_t *sums, const int8_t *x, const int8_t *w, int32_t n, int16_t zero, int32_t taps,
                            const eq_depthwise_window *window) {
  const size_t x_column = window->x_column, w_column = window->w_column;
  const int32_t columns = window->columns;
  /* from behind a row's last tap to the next row's first; negative where dilated rows lie closer than they are long */
  const ptrdiff_t x_next = (ptrdiff_t)window->x_row - (ptrdiff_t)columns * (ptrdiff_t)x_column;
  const ptrdiff_t w_next = (ptrdiff_t)window->w_row - (ptrdiff_t)columns * (ptrdiff_t)w_column;
  int32_t column = 0;
  int32_t local[BLOCK];
  for (int32_t c = 0; c < n; c++) local[c] = 0;
  for (int32_t tap = 0; tap < taps; tap++) {
    add_tap(local, x, w, n, zero);
    x += x_column;
    w += w_column;
    if (++column == columns) {
      column = 0;
      x += x_next;
      w += w_next;
    }
  }
  for (int32_t c = 0; c < n; c++) sums[c] = local[c];
}

/* The sums of n <= BLOCK neighbouring channels of a pixel that has `channels`. */
static void sum_block(int32_t sums[BLOCK], const int8_t *x, const int8_t *w, int32_t n, int32_t channels, int16_t zero,
                      const eq_depthwise_window *window) {
  const int32_t taps = window->rows * window->columns;
  if (n < BLOCK && (taps == 0 || n + channels < BLOCK)) {
    sum_taps(sums, x, w, n, zero, taps, window);
    return;
  }
  /* The constant count lets the compiler unroll. The last block of a pixel reaches past its n channels, but not past
   * those of the next tap; only the last tap has no next. */
  sum_taps(sums, x, w, BLOCK, zero, n == BLOCK ? taps : taps - 1, window);
  if (n < BLOCK) {
    const size_t row = (size_t)window->rows - 1, column = (size_t)window->columns - 1;
    add_tap(sums, x + row * window->x_row + column * window->x_column,
            w + row * window->w_row + column * window->w_column, n, zero);
  }
}

void eq_depthwise_s8_scalar(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                            const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  for (int32_t line = 0; line < window->lines; line++) {
    for (int32_t pixel = 0; pixel < window->pixels; pixel++) {
      const int8_t *taps = x + (size_t)line * window->x_line + (size_t)pixel * window->x_pixel;
      int8_t *to = out + (size_t)line * window->out_line + (size_t)pixel * (size_t)channels;
      for (int32_t first = 0; first < channels; first += BLOCK) {
        const int32_t n = channels - first < BLOCK ? channels - first : BLOCK;
        int32_t sums[BLOCK];
        sum_block(sums, taps + first, w + first, n, channels, (int16_t)linear->weights_zero, window);
        eq_requant_s8(to + first, sums, first, n, linear);
      }
    }
  }
}
