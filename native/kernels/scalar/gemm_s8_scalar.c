/* SPDX-License-Identifier: Apache-2.0
 * Matrix product of int8 rows with int8 weights, two rows by two channels at a time. */
#include <stdbool.h>

#include "kernels/kernels.h"
#include "kernels/requant.h"

enum {
  TILE = 32,   /* channels whose sums wait on the stack */
  SHORT = 128, /* rows up to this length are padded to a multiple of LANES */
  LANES = 16,  /* inputs that a vectorizing compiler takes at a time, or a multiple of them */
};

/* sums[r * TILE + c] = sum_i x_r[i] * (w_c[i] - zero) for two rows and two channels.
 * The 16-bit differences let compilers for SSE2 and ARMv7E-M multiply pairs. */
static void dot_2x2(int32_t *sums, const int8_t *x0, const int8_t *x1, const int8_t *w0, const int8_t *w1, int32_t k,
                    int16_t zero) {
  int32_t s00 = 0, s01 = 0, s10 = 0, s11 = 0;
  for (int32_t i = 0; i < k; i++) {
    const int16_t a0 = x0[i], a1 = x1[i];
    const int16_t b0 = (int16_t)(w0[i] - zero), b1 = (int16_t)(w1[i] - zero);
    s00 += a0 * b0;
    s01 += a0 * b1;
    s10 += a1 * b0;
    s11 += a1 * b1;
  }
  sums[0] = s00;
  sums[1] = s01;
  sums[TILE] = s10;
  sums[TILE + 1] = s11;
}

/* Copy n inputs and append zeros up to `padded`. */
static void pad(int8_t *to, const int8_t *from, int32_t n, int32_t padded) {
  for (int32_t i = 0; i < n; i++) to[i] = from[i];
  for (int32_t i = n; i < padded; i++) to[i] = 0;
}

/* All channels of two output rows, or of one when out1 is NULL. */
static void run_rows(int8_t *out0, int8_t *out1, const int8_t *x0, const int8_t *x1, const int8_t *w, int32_t n,
                     int32_t k, const eq_linear_s8 *linear) {
  int8_t short_rows[2][SHORT];
  const int32_t padded = (k + LANES - 1) / LANES * LANES;
  const bool is_short = padded != k && padded <= SHORT;
  if (is_short) {
    pad(short_rows[0], x0, k, padded);
    pad(short_rows[1], x1, k, padded);
  }
  for (int32_t first = 0; first < n; first += TILE) {
    const int32_t count = n - first < TILE ? n - first : TILE;
    int32_t sums[2 * TILE];
    for (int32_t c = 0; c < count; c += 2) {
      const int32_t last = c + 1 < count ? c + 1 : c;
      const int8_t *w0 = w + (size_t)(first + c) * (size_t)k, *w1 = w + (size_t)(first + last) * (size_t)k;
      /* the padding's zeros cancel the next channels' weights; at the end of w there are none */
      if (is_short && (size_t)(n - first - last) * (size_t)k >= (size_t)padded) {
        dot_2x2(sums + c, short_rows[0], short_rows[1], w0, w1, padded, (int16_t)linear->weights_zero);
      } else {
        dot_2x2(sums + c, x0, x1, w0, w1, k, (int16_t)linear->weights_zero);
      }
    }
    eq_requant_s8(out0 + first, sums, first, count, linear);
    if (out1 != NULL) eq_requant_s8(out1 + first, sums + TILE, first, count, linear);
  }
}

void eq_gemm_s8_scalar(int8_t *out, size_t out_stride, const int8_t *x, size_t x_stride, const int8_t *w, int32_t m,
                       int32_t n, int32_t k, const eq_linear_s8 *linear) {
  int32_t row = 0;
  for (; row + 1 < m; row += 2) {
    run_rows(out, out + out_stride, x, x + x_stride, w, n, k, linear);
    out += 2 * out_stride;
    x += 2 * x_stride;
  }
  if (row < m) run_rows(out, NULL, x, x, w, n, k, linear);
}
