/* SPDX-License-Identifier: Apache-2.0
 * Sigmoid and hyperbolic tangent of int16 codes by an interpolated table of half the sigmoid. */
#include "edgeq/fixed_point.h"
#include "edgeq/ops.h"
#include "kernels/kernels.h"

/* (sigmoid(x) - 1/2) * 2^(16 + bits) for |x| in units of 2^-bits entries, or `beyond` past the table's end. */
static int32_t interpolate(const int16_t table[256], uint32_t magnitude, int32_t bits, int32_t beyond) {
  const uint32_t index = magnitude >> bits;
  if (index >= 255) return beyond;
  const int32_t fraction = (int32_t)(magnitude & ((UINT32_C(1) << bits) - 1));
  return table[index] * (1 << bits) + fraction * (table[index + 1] - table[index]);
}

void eq_sigmoid_s16_scalar(int16_t *out, const int16_t *in, const int16_t table[256], int32_t n,
                           const struct eq_sigmoid_s16_params *p) {
  const int32_t half = p->shift > 0 ? 1 << (p->shift - 1) : 0;
  for (int32_t i = 0; i < n; i++) {
    /* |in * multiplier| <= 2^15 * (2^15 - 1) and half <= 2^30 */
    const int32_t scaled = eq_asr32(in[i] * p->multiplier + half, p->shift);
    const uint32_t magnitude = scaled < 0 ? (uint32_t)-scaled : (uint32_t)scaled;
    if (p->tanh != 0) {
      const int32_t y = interpolate(table, magnitude, 8, 0x7FFF << 8);
      out[i] = (int16_t)eq_asr32(scaled >= 0 ? y + 128 : 127 - y, 8);
    } else {
      const int32_t y = interpolate(table, magnitude, 9, (0x7FFF << 10) - (1 << 24));
      out[i] = (int16_t)eq_asr32((1 << 24) + (scaled >= 0 ? y + 512 : 511 - y), 10);
    }
  }
}
