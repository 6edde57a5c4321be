/* SPDX-License-Identifier: Apache-2.0
 * From int32 sums to int8 codes, one loop per rounding mode; what every kernel of linear layers ends in. */
#include "kernels/requant.h"

#include "edgeq/fixed_point.h"

void eq_requant_s8(int8_t *restrict out, const int32_t *restrict sums, int32_t first, int32_t n,
                   const eq_linear_s8 *linear) {
  const int32_t *restrict bias = linear->bias + first;
  const int32_t *restrict m = linear->multipliers + first;
  const int8_t *restrict shift = linear->shifts + first;
  /* clamped before the zero point is added, so that the sum cannot overflow */
  const int32_t zero = linear->zero, lo = linear->act_min - zero, hi = linear->act_max - zero;
#define EQ_REQUANT_LOOP(requant)                                           \
  for (int32_t i = 0; i < n; i++) {                                        \
    const int32_t y = requant(eq_add32(sums[i], bias[i]), m[i], shift[i]); \
    out[i] = (int8_t)(eq_clamp32(y, lo, hi) + zero);                       \
  }
  const int32_t mode = eq_mode(linear->mode);
  if (mode == EQ_MODE_DOUBLE) {
    EQ_REQUANT_LOOP(eq_requant_double)
  } else if (mode == EQ_MODE_SINGLE) {
    EQ_REQUANT_LOOP(eq_requant_single)
  } else if (mode == EQ_MODE_SHIFT) {
    for (int32_t i = 0; i < n; i++) {
      const int32_t y = eq_requant_shift(eq_add32(sums[i], bias[i]), shift[i]);
      out[i] = (int8_t)(eq_clamp32(y, lo, hi) + zero);
    }
  } else {
    EQ_REQUANT_LOOP(eq_requant_exact)
  }
#undef EQ_REQUANT_LOOP
}
