/* SPDX-License-Identifier: Apache-2.0
 * Product of int8 rows with row-major weights by SDOT, four rows by four channels at a time. */
#if defined(__aarch64__)
#include <arm_neon.h>
#include <stdbool.h>

#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"
#include "kernels/requant.h"

#define TARGET __attribute__((target("arch=armv8.2-a+dotprod")))

enum { TILE = 4, LANES = 16, CHANNELS = 32 /* whose sums wait on the stack */ };

/* `left` inputs and zeros behind them; 0 < left < LANES. Nothing beyond the inputs is read. */
TARGET static int8x16_t load_some(const int8_t *from, int32_t left) {
  int8_t some[LANES] = {0};
  for (int32_t i = 0; i < left; i++) some[i] = from[i];
  return vld1q_s8(some);
}

/* The sums of four vectors' lanes. */
TARGET static int32x4_t add_across(const int32x4_t *v) {
  return vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
}

/* sums[r * CHANNELS + c] = sum_i x_r[i] * (w_c[i] - zero) for four rows and four channels. */
TARGET static void multiply_tile(int32_t *sums, const int8_t *const x[TILE], const int8_t *const w[TILE], int32_t k,
                                 int32_t zero) {
  const int8x16_t one = vdupq_n_s8(1);
  int32x4_t products[TILE][TILE], inputs[TILE];
  for (int r = 0; r < TILE; r++) {
    inputs[r] = vdupq_n_s32(0);
    for (int c = 0; c < TILE; c++) products[r][c] = vdupq_n_s32(0);
  }
  int32_t i = 0;
#define ADD(load_x, load_w)                                                                           \
  do {                                                                                                \
    const int8x16_t w0 = load_w(0), w1 = load_w(1), w2 = load_w(2), w3 = load_w(3);                   \
    _Pragma("GCC unroll 4") for (int r = 0; r < TILE; r++) {                                          \
      const int8x16_t codes = load_x(r);                                                              \
      products[r][0] = vdotq_s32(products[r][0], codes, w0);                                          \
      products[r][1] = vdotq_s32(products[r][1], codes, w1);                                          \
      products[r][2] = vdotq_s32(products[r][2], codes, w2);                                          \
      products[r][3] = vdotq_s32(products[r][3], codes, w3);                                          \
      if (zero != 0) inputs[r] = vdotq_s32(inputs[r], codes, one);                                    \
    }                                                                                                 \
  } while (0)
#define WHOLE_X(r) vld1q_s8(x[r] + i)
#define WHOLE_W(c) vld1q_s8(w[c] + i)
#define SOME_X(r) load_some(x[r] + i, k - i)
#define SOME_W(c) load_some(w[c] + i, k - i)
  for (; i + LANES <= k; i += LANES) ADD(WHOLE_X, WHOLE_W);
  if (i < k) ADD(SOME_X, SOME_W);
#undef ADD
  for (int r = 0; r < TILE; r++) {
    /* |sum| <= 65536 * 128 * 255 < 2^31 */
    const int32x4_t offset = vdupq_n_s32(vaddvq_s32(inputs[r]) * zero);
    vst1q_s32(sums + r * CHANNELS, vsubq_s32(add_across(products[r]), offset));
  }
}

void eq_gemm_s8_dotprod(int8_t *out, size_t out_stride, const int8_t *x, size_t x_stride, const int8_t *w, int32_t m,
                        int32_t n, int32_t k, const eq_linear_s8 *linear) {
  for (int32_t row = 0; row < m; row += TILE, x += TILE * x_stride, out += TILE * out_stride) {
    const int32_t rows = eq_min32(TILE, m - row);
    const int8_t *xs[TILE];
    for (int32_t r = 0; r < TILE; r++) xs[r] = x + (size_t)eq_min32(r, rows - 1) * x_stride;
    for (int32_t first = 0; first < n; first += CHANNELS) {
      const int32_t count = eq_min32(CHANNELS, n - first);
      int32_t sums[TILE * CHANNELS];
      for (int32_t c = 0; c < count; c += TILE) {
        const int8_t *ws[TILE];
        for (int32_t j = 0; j < TILE; j++) ws[j] = w + (size_t)(first + eq_min32(c + j, count - 1)) * (size_t)k;
        multiply_tile(sums + c, xs, ws, k, linear->weights_zero);
      }
      for (int32_t r = 0; r < rows; r++) {
        eq_requant_s8(out + (size_t)r * out_stride + first, sums + r * CHANNELS, first, count, linear);
      }
    }
  }
}
#endif
