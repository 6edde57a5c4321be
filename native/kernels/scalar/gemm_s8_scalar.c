/* SPDX-License-Identifier: Apache-2.0
 * Matrix product of int8 rows with int8 weights, two rows by two channels at a time. */
#include "kernels/kernels.h"
#include "kernels/requant.h"

enum { TILE = 32 }; /* channels whose sums wait on the stack */

/* sums[r * TILE + c] = sum_i x_r[i] * (w_c[i] - zero) for two rows and two channels; either pair may coincide.
 * The 16-bit differences let compilers for SSE2 and ARMv7E-M multiply pairs: |x * (w - zero)| <= 128 * 255. */
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

void eq_gemm_s8_scalar(int8_t *out, size_t out_stride, const int8_t *x, size_t x_stride, const int8_t *w, int32_t m,
                       int32_t n, int32_t k, const eq_linear_s8 *linear) {
  const int16_t zero = (int16_t)linear->weights_zero;
  for (int32_t row = 0; row < m; row += 2) {
    const int8_t *x0 = x + (size_t)row * x_stride;
    const int8_t *x1 = row + 1 < m ? x0 + x_stride : x0;
    int8_t *out0 = out + (size_t)row * out_stride;
    for (int32_t first = 0; first < n; first += TILE) {
      const int32_t channels = n - first < TILE ? n - first : TILE;
      int32_t sums[2 * TILE];
      for (int32_t c = 0; c < channels; c += 2) {
        const int8_t *w0 = w + (size_t)(first + c) * (size_t)k;
        const int8_t *w1 = c + 1 < channels ? w0 + k : w0;
        dot_2x2(sums + c, x0, x1, w0, w1, k, zero);
      }
      eq_requant_s8(out0 + first, sums, first, channels, linear);
      if (row + 1 < m) eq_requant_s8(out0 + out_stride + first, sums + TILE, first, channels, linear);
    }
  }
}
