/* SPDX-License-Identifier: Apache-2.0
 * Matrix product of int16 rows with int8 weights in 64-bit accumulators. */
#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"

enum { CHUNK = 256 }; /* |x * w| <= 2^22, so 256 products fit int32 */

static int64_t dot(const int16_t *x, const int8_t *w, int32_t k) {
  int64_t total = 0;
  for (int32_t start = 0; start < k; start += CHUNK) {
    const int32_t end = k - start < CHUNK ? k : start + CHUNK;
    int32_t sum = 0;
    for (int32_t i = start; i < end; i++) sum += x[i] * (int16_t)w[i];
    total += sum;
  }
  return total;
}

static int64_t requant(int64_t sum, const eq_linear_s16 *linear, int32_t c) {
  const int32_t m = linear->multipliers[c], shift = linear->shifts[c];
  if (linear->mode == EQ_MODE_EXACT) return eq_requant_exact_wide(sum, m, shift);
  if (linear->mode == EQ_MODE_INT16) return eq_requant_int16(sum, m, shift);
  return eq_requant_double((int32_t)(uint32_t)(uint64_t)sum, m, shift); /* the sum wraps, as in 32 bits */
}

void eq_gemm_s16_scalar(int16_t *out, size_t out_stride, const int16_t *x, size_t x_stride, const int8_t *w, int32_t m,
                        int32_t n, int32_t k, const eq_linear_s16 *linear) {
  for (int32_t row = 0; row < m; row++) {
    const int16_t *x_row = x + (size_t)row * x_stride;
    int16_t *out_row = out + (size_t)row * out_stride;
    for (int32_t c = 0; c < n; c++) {
      const int64_t sum = linear->bias[c] + dot(x_row, w + (size_t)c * (size_t)k, k);
      out_row[c] = (int16_t)eq_clamp64(requant(sum, linear, c), linear->act_min, linear->act_max);
    }
  }
}
