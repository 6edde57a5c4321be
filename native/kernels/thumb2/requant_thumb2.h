/* SPDX-License-Identifier: Apache-2.0
 * From int32 sums to int8 codes with 64-bit products and the carry that shifts leave. */
#ifndef EDGEQ_REQUANT_THUMB2_H
#define EDGEQ_REQUANT_THUMB2_H

#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"

enum { EQ_TILE = 16 /* channels whose sums wait on the stack */ };

/* As eq_requant_s8, but the sums have their bias, for one row or for two when `second` is not NULL: its sums lie EQ_TILE
 * further on. */
void eq_requant_s8_thumb2(int8_t *out, int8_t *second, const int32_t *sums, int32_t first, int32_t n,
                          const eq_linear_s8 *linear);

/* zero + eq_requant in mode double, shift = -right < 0. ASRS leaves the last bit that it drops in the carry: half of the
 * last place, which ADC adds. A negative number less one rounds its ties down. */
static inline int32_t eq_scale_double(int32_t x, int32_t m, int32_t right, int32_t zero) {
  int32_t low, high;
  __asm__(
      "smull %0, %1, %2, %3\n\t"
      "adds %0, %0, #0x40000000\n\t"
      "adc %1, %1, #0\n\t"
      "adds %0, %0, %0\n\t"
      "adc %1, %1, %1\n\t"
      "add %1, %1, %1, asr #31\n\t"
      "asrs %1, %1, %4\n\t"
      "adc %1, %1, %5"
      : "=&r"(low), "=&r"(high)
      : "r"(x), "r"(m), "r"(right), "r"(zero)
      : "cc");
  return high;
}

/* The same in mode single. For right = 1 the carry is the product's bit 31, for a shift by 0 leaves it alone. */
static inline int32_t eq_scale_single(int32_t x, int32_t m, int32_t right, int32_t zero) {
  int32_t low, high;
  __asm__(
      "smull %0, %1, %2, %3\n\t"
      "adds %0, %0, %0\n\t"
      "asrs %1, %1, %4\n\t"
      "adc %1, %1, %5"
      : "=&r"(low), "=&r"(high)
      : "r"(x), "r"(m), "r"(right - 1), "r"(zero)
      : "cc");
  return high;
}

/* zero + eq_requant, at least -2^30 and at most 2^30: what the two above leave to others. */
static __attribute__((noinline, unused)) int32_t eq_scale_any(int32_t x, int32_t m, int32_t shift, int32_t mode,
                                                              int32_t zero) {
  return eq_clamp32(eq_requant(x, m, shift, mode), -(1 << 30), 1 << 30) + zero;
}

static inline __attribute__((always_inline)) int32_t eq_scale(int32_t x, int32_t m, int32_t shift, int32_t mode,
                                                              int32_t zero) {
  const int32_t right = -shift;
  if (mode == EQ_MODE_EXACT || __builtin_expect(right <= 0, 0)) return eq_scale_any(x, m, shift, mode, zero);
  return mode == EQ_MODE_DOUBLE ? eq_scale_double(x, m, right, zero) : eq_scale_single(x, m, right, zero);
}

#endif
