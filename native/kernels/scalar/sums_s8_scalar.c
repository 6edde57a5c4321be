/* SPDX-License-Identifier: Apache-2.0
 * Matrix product of int8 rows with int8 weights, left as sums. */
#include "kernels/kernels.h"

void eq_sums_s8_scalar(int32_t *out, size_t out_stride, const int8_t *x, size_t x_stride, const int8_t *w, int32_t m,
                       int32_t n, int32_t k) {
  for (int32_t r = 0; r < m; r++) {
    for (int32_t c = 0; c < n; c++) {
      const int8_t *own = w + (size_t)c * (size_t)k;
      int32_t sum = 0;
      for (int32_t i = 0; i < k; i++) sum += (int16_t)x[i] * (int16_t)own[i];
      out[c] = sum;
    }
    out += out_stride;
    x += x_stride;
  }
}
