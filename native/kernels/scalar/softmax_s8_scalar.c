/* SPDX-License-Identifier: Apache-2.0
 * Softmax of int8 rows. */
#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"

void eq_softmax_s8_scalar(int8_t *out, const int8_t *in, const int32_t exps[256], int32_t rows, int32_t depth) {
  for (int32_t row = 0; row < rows; row++, in += depth, out += depth) {
    int32_t largest = INT8_MIN;
    for (int32_t i = 0; i < depth; i++) largest = eq_max32(largest, in[i]);
    int32_t sum = 0; /* Q12.19, < 4096 * 2^19 */
    for (int32_t i = 0; i < depth; i++) sum += eq_rdp(exps[largest - in[i]], 12);

    const int32_t headroom = eq_clz32((uint32_t)sum);
    const int32_t fraction = (int32_t)(((uint32_t)sum << headroom) - UINT32_C(0x80000000));
    const int32_t inverse = eq_recip1p(fraction);
    const int32_t shift = 12 - headroom + 31 - 8;
    for (int32_t i = 0; i < depth; i++) {
      /* beyond 31 the sum is at least 1024, and every quotient rounds to 0 */
      const int32_t y = shift > 31 ? 0 : eq_rdp(eq_srdhm(inverse, exps[largest - in[i]]), shift);
      out[i] = (int8_t)eq_clamp32(y - 128, INT8_MIN, INT8_MAX);
    }
  }
}
