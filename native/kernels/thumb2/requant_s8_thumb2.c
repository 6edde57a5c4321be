/* SPDX-License-Identifier: Apache-2.0
 * From int32 sums to int8 codes, one loop per rounding mode and kind of bounds. */
#if defined(__ARM_ARCH_7M__)
#include "kernels/thumb2/requant_thumb2.h"

static inline __attribute__((always_inline)) void run(int8_t *restrict out, const int32_t *restrict sums, int32_t first,
                                                      int32_t n, const eq_linear_s8 *linear, int32_t mode, bool all_codes) {
  const int32_t *restrict bias = linear->bias + first, *restrict m = linear->multipliers + first;
  const int8_t *restrict shift = linear->shifts + first;
  const int32_t zero = linear->zero, low = linear->act_min, high = linear->act_max;
  for (const int32_t *end = sums + n; sums < end;) {
    const int32_t y = eq_scale(eq_add32(*sums++, *bias++), *m++, *shift++, mode, zero);
    *out++ = (int8_t)(all_codes ? eq_clamp32(y, INT8_MIN, INT8_MAX) /* SSAT */ : eq_clamp32(y, low, high));
  }
}

void eq_requant_s8_thumb2(int8_t *restrict out, const int32_t *restrict sums, int32_t first, int32_t n,
                          const eq_linear_s8 *linear) {
  const int32_t mode = eq_mode(linear->mode);
  const bool all_codes = linear->act_min == INT8_MIN && linear->act_max == INT8_MAX;
  if (mode == EQ_MODE_DOUBLE) {
    (all_codes ? run(out, sums, first, n, linear, EQ_MODE_DOUBLE, true)
               : run(out, sums, first, n, linear, EQ_MODE_DOUBLE, false));
  } else if (mode == EQ_MODE_EXACT) {
    run(out, sums, first, n, linear, EQ_MODE_EXACT, false);
  } else {
    (all_codes ? run(out, sums, first, n, linear, EQ_MODE_SINGLE, true)
               : run(out, sums, first, n, linear, EQ_MODE_SINGLE, false));
  }
}
#endif
