/* SPDX-License-Identifier: Apache-2.0
 * The ARMv6 instructions that kernels use, and from int32 sums to int8 codes with them. */
#ifndef EDGEQ_SIMD_V6_H
#define EDGEQ_SIMD_V6_H

#include <arm_acle.h>

#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"
#include "kernels/requant.h"

/* Four bytes from any address. The CPU may load words from odd addresses, but compilers are not sure of it. */
static inline int32_t eq_load_word(const int8_t *p) {
  int32_t word;
  __asm__("ldr %0, %1" : "=r"(word) : "m"(*(const int8_t(*)[4])p));
  return word;
}

/* Bytes 0 and 2, and bytes 1 and 3, as pairs of int16. */
static inline int16x2_t eq_even(int32_t word) { return __sxtb16(word); }
static inline int16x2_t eq_odd(int32_t word) {
  int16x2_t pair;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
  return pair;
}

/* sum + the product of the lower or of the upper halves; LLVM keeps its intrinsics for later CPUs. */
static inline int32_t eq_add_low(int32_t sum, int16x2_t a, int16x2_t b) {
  __asm__("smlabb %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));
  return sum;
}
static inline int32_t eq_add_high(int32_t sum, int16x2_t a, int16x2_t b) {
  __asm__("smlatt %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));
  return sum;
}

/* (a * b) / 2^32, rounded to nearest, ties up, or down. */
static inline int32_t eq_high_rounded(int32_t a, int32_t b) {
  int32_t high;
  __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(a), "r"(b));
  return high;
}
static inline int32_t eq_high(int32_t a, int32_t b) { return (int32_t)eq_asr64((int64_t)a * b, 32); }

/* x / 2^e rounded to nearest, ties up; 1 <= e. */
static inline int32_t eq_rounded_shift(int32_t x, int32_t e) { return eq_asr32(eq_asr32(x, e - 1) + 1, 1); }

/* eq_requant in mode double, shift < 0, in mode single, shift < -1, and in mode shift, shift <= 0 and |x| < 2^30. In mode double |x| < 2^30: the high word of a
 * doubled number's product, rounded, is the doubled product's. */
static inline int32_t eq_scale_double(int32_t x, int32_t m, int32_t shift) {
  const int32_t high = eq_high_rounded(2 * x, m);
  return eq_rounded_shift(high + eq_asr32(high, 31), -shift); /* less one where negative: rounds ties down */
}
static inline int32_t eq_scale_single(int32_t x, int32_t m, int32_t shift) {
  return eq_rounded_shift(eq_high(x, m), -shift - 1);
}

static inline int32_t eq_scale_shift(int32_t x, int32_t shift) { return eq_rounded_shift(x, 1 - shift); }

/* True when those above serve all n channels, sums being at most 2^29 in magnitude. */
static inline bool eq_scales_fast(const eq_linear_s8 *linear, int32_t n) {
  if (linear->mode == EQ_MODE_EXACT) return false;
  const int32_t highest = linear->mode == EQ_MODE_SHIFT ? 0 : linear->mode == EQ_MODE_DOUBLE ? -1 : -2;
  for (int32_t c = 0; c < n; c++) {
    const int32_t bias = linear->bias[c];
    if (linear->shifts[c] > highest || bias >= 1 << 29 || bias <= -(1 << 29)) return false;
  }
  return true;
}

static inline __attribute__((always_inline)) void eq_requant_loop(int8_t *restrict out, const int32_t *restrict sums,
                                                                  int32_t first, int32_t n, const eq_linear_s8 *linear,
                                                                  int32_t mode, bool all_codes) {
  const int32_t *restrict bias = linear->bias + first, *restrict m = linear->multipliers + first;
  const int8_t *restrict shift = linear->shifts + first;
  const int32_t zero = linear->zero, low = linear->act_min, high = linear->act_max;
  for (int32_t i = 0; i < n; i++) {
    const int32_t x = sums[i] + bias[i];
    /* below 2^30, so that the zero point can be added */
    const int32_t y = zero + (mode == EQ_MODE_SHIFT    ? eq_scale_shift(x, shift[i])
                              : mode == EQ_MODE_DOUBLE ? eq_scale_double(x, m[i], shift[i])
                                                       : eq_scale_single(x, m[i], shift[i]));
    out[i] = (int8_t)(all_codes ? eq_clamp32(y, INT8_MIN, INT8_MAX) /* SSAT */ : eq_clamp32(y, low, high));
  }
}

/* eq_requant_s8; `fast` is what eq_scales_fast says. */
static inline void eq_requant_s8_v6(int8_t *restrict out, const int32_t *restrict sums, int32_t first, int32_t n,
                                    const eq_linear_s8 *linear, bool fast) {
  if (!fast) {
    eq_requant_s8(out, sums, first, n, linear);
  } else if (linear->mode == EQ_MODE_SINGLE) {
    eq_requant_loop(out, sums, first, n, linear, EQ_MODE_SINGLE, false);
  } else if (linear->mode == EQ_MODE_SHIFT) {
    eq_requant_loop(out, sums, first, n, linear, EQ_MODE_SHIFT, false);
  } else if (linear->act_min == INT8_MIN && linear->act_max == INT8_MAX) {
    eq_requant_loop(out, sums, first, n, linear, EQ_MODE_DOUBLE, true);
  } else {
    eq_requant_loop(out, sums, first, n, linear, EQ_MODE_DOUBLE, false);
  }
}

#endif
