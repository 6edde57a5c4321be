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

/* Sums of n channels of up to four rows, and what makes codes of them, in the order in which assembly reads it: sums[c][r]
 * is that of channel c and row r, with the bias in it; multipliers and shifts are those of the first channel. */
typedef struct eq_tile_dsp {
  const int32_t *sums;
  const int32_t *multipliers;
  const int8_t *shifts;
  int32_t zero;
  size_t third; /* where rows 3, 1 and 2 of the output lie from row 0; what is not there lies where the last one does */
  int32_t n;
  size_t first;
  size_t second;
} eq_tile_dsp;

typedef void eq_scale_dsp(int8_t *out, const eq_tile_dsp *t);

/* The loop for a layer for which eq_is_fast_dsp is true. */
eq_scale_dsp *eq_scale_of_dsp(const eq_linear_s8 *linear);

/* Say how many rows of the output there are, 1 to 4, and how far apart. */
static inline void eq_set_rows_dsp(eq_tile_dsp *t, int32_t rows, size_t out_stride) {
  t->third = (size_t)(rows - 1) * out_stride;
  t->first = rows > 1 ? out_stride : 0;
  t->second = rows > 2 ? 2 * out_stride : t->third;
}

/* Write the codes of a tile whose first channel is `first`, by the layer's loop, or slowly without one. */
void eq_requant_tile_dsp(int8_t *out, size_t out_stride, const eq_tile_dsp *t, int32_t rows, int32_t first,
                         const eq_linear_s8 *linear, eq_scale_dsp *scale);

/* Write the codes of one row of n channels from `first` on, sums[c] being that of channel c; fast is what eq_is_fast_dsp
 * said. */
void eq_requant_row_dsp(int8_t *out, const int32_t *sums, int32_t first, int32_t n, const eq_linear_s8 *linear, bool fast);

#endif
