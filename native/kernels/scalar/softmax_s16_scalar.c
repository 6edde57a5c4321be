/* SPDX-License-Identifier: Apache-2.0
 * Softmax of int16 rows. */
#include "edgeq/ops.h"
#include "kernels/interpolate.h"
#include "kernels/kernels.h"

void eq_softmax_s16_scalar(int16_t *out, const int16_t *in, const int16_t exps[513], const int16_t reciprocals[513],
                           const struct eq_softmax_s16_params *p) {
  const int32_t depth = p->depth;
  for (int32_t row = 0; row < p->rows; row++, in += depth, out += depth) {
    int32_t largest = INT16_MIN;
    for (int32_t i = 0; i < depth; i++) largest = eq_max32(largest, in[i]);
    int32_t sum = 0; /* Q16.15, in [2^14, 65535 * 32767] */
    for (int32_t i = 0; i < depth; i++) {
      const int32_t difference = eq_requant_double(in[i] - largest, p->multiplier, p->shift);
      out[i] = (int16_t)eq_interpolate_s16(exps, eq_max32(difference, -65535) + 32767);
      sum += out[i];
    }
    const int32_t bits = 31 - eq_clz32((uint32_t)sum); /* 2^bits <= sum < 2^(bits + 1) */
    const int32_t mantissa = (int32_t)((((uint32_t)sum << (30 - bits)) + (1 << 13)) >> 14); /* in [2^16, 2^17] */
    const int32_t inverse = eq_interpolate_s16(reciprocals, eq_min32(mantissa - (1 << 16) - (1 << 15), INT16_MAX));
    for (int32_t i = 0; i < depth; i++) {
      const int32_t y = eq_asr32(out[i] * inverse + (1 << (bits - 1)), bits); /* |product| <= 2^30 */
      out[i] = (int16_t)eq_clamp32(y, 0, INT16_MAX);
    }
  }
}
