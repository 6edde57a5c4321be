/* SPDX-License-Identifier: Apache-2.0
 * Weighted sum of four int8 vectors. */
#include "kernels/kernels.h"

void eq_blend_s8_scalar(int8_t *out, const int8_t *const in[4], const int32_t weights[4], int32_t n) {
  const int32_t half = 1 << 19;
  for (int32_t i = 0; i < n; i++) {
    /* |sum| <= 128 * 2^20 = 2^27, since the weights are >= 0 and add up to 2^20 */
    const int32_t sum =
        in[0][i] * weights[0] + in[1][i] * weights[1] + in[2][i] * weights[2] + in[3][i] * weights[3];
    out[i] = (int8_t)((sum + (sum > 0 ? half : -half)) / (1 << 20));
  }
}
