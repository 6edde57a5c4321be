/* SPDX-License-Identifier: Apache-2.0
 * From int32 sums to int8 codes with the DSP instructions of ARMv7E-M: one 32-bit product, and a shift whose last bit out,
 * in the carry, rounds it as it is added with the zero point. */
#ifndef EDGEQ_REQUANT_DSP_H
#define EDGEQ_REQUANT_DSP_H

#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"

/* The high word of a * b, as it is or rounded. */
static inline int32_t eq_high_dsp(int32_t a, int32_t b) {
  int32_t high;
  __asm__("smmul %0, %1, %2" : "=r"(high) : "r"(a), "r"(b));
  return high;
}
static inline int32_t eq_high_rounded_dsp(int32_t a, int32_t b) {
  int32_t high;
  __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(a), "r"(b));
  return high;
}

/* offset + x / 2^e rounded to nearest, ties up; 1 <= e <= 31. */
static inline int32_t eq_rounded_dsp(int32_t x, int32_t e, int32_t offset) {
  __asm__("asrs %0, %0, %1\n\tadc %0, %0, %2" : "+r"(x) : "r"(e), "r"(offset) : "cc");
  return x;
}

static inline int32_t eq_saturated_dsp(int32_t x) {
  int32_t code;
  __asm__("ssat %0, #8, %1" : "=r"(code) : "r"(x));
  return code;
}

/* zero + eq_requant(x, m, shift, mode) for e = -shift in mode double, e = -shift - 1 in mode single; 1 <= e. In mode
 * double |x| < 2^30: the high word of a doubled number's product, rounded, is the doubled product's. */
static inline int32_t eq_scaled_dsp(int32_t x, int32_t m, int32_t e, int32_t zero, int32_t mode) {
  if (mode == EQ_MODE_SINGLE) return eq_rounded_dsp(eq_high_dsp(x, m), e, zero);
  const int32_t high = eq_high_rounded_dsp(eq_shl32(x, 1), m);
  return eq_rounded_dsp(high + eq_asr32(high, 31), e, zero); /* less one where negative: rounds ties down */
}

/* True when a layer's numbers are such that eq_scaled_dsp serves all n channels, k products of int8 adding up to a sum. */
bool eq_is_fast_dsp(const eq_linear_s8 *linear, int32_t n, int32_t k);

enum { EQ_ROWS_DSP = 4 };

/* Write the codes of n channels of `rows` <= 4 rows that lie out_stride bytes apart: sums[c][r] is that of channel c and
 * row r, with the bias in it. Multipliers and shifts are those of channel `first` on; fast is what eq_is_fast_dsp said. */
void eq_requant_rows_dsp(int8_t *out, size_t out_stride, const int32_t *sums, int32_t rows, int32_t first, int32_t n,
                         const eq_linear_s8 *linear, bool fast);

/* The same for one row, sums[c] being that of channel c. */
void eq_requant_row_dsp(int8_t *out, const int32_t *sums, int32_t first, int32_t n, const eq_linear_s8 *linear, bool fast);

#endif
