/* SPDX-License-Identifier: Apache-2.0
 * Requantization of 8 channels at a time with AVX2, for shifts to the right by 1 <= e <= EQ_MAX_RIGHT_AVX2.
 *
 * Every mode is y = (x * m + c) >> (31 + e) in 64 bits: a floor of a floor is the floor of the whole quotient, so the two
 * roundings of mode double add up to c = 2^30 + 2^(30 + e), and one rounding is c = 2^(30 + e). The zero point comes in as
 * zero * 2^(31 + e). |x * m| < 2^62 and |c| < 2^62, so nothing overflows. Ties away from zero take one unit of the last bit
 * rounded from negative values, which shows below zero only. */
#ifndef EDGEQ_REQUANT_AVX2_H
#define EDGEQ_REQUANT_AVX2_H

#include <immintrin.h>
#include <stdbool.h>

#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"

#define EQ_AVX2 __attribute__((target("avx2")))
#define EQ_AVX2_INLINE static inline __attribute__((always_inline)) EQ_AVX2

enum { EQ_MAX_RIGHT_AVX2 = 23 };

/* The constants of 8 channels. */
typedef struct eq_requant8 {
  __m256i m;
  __m256i c_even, c_odd;
  __m256i shift; /* e - 1 */
} eq_requant8;

/* What all channels share. */
typedef struct eq_requant8_form {
  __m256i limit; /* products below it lose `unit` */
  __m256i unit;
  __m256i low, high; /* the bounds, as bytes */
} eq_requant8_form;

EQ_AVX2_INLINE eq_requant8_form eq_requant8_form_of(const eq_linear_s8 *l) {
  eq_requant8_form f;
  f.limit = _mm256_set1_epi64x(l->mode == EQ_MODE_DOUBLE ? -(INT64_C(1) << 30) : 0);
  f.unit = _mm256_set1_epi64x(l->mode == EQ_MODE_DOUBLE ? INT64_C(1) << 31 : l->mode == EQ_MODE_EXACT ? 1 : 0);
  f.low = _mm256_set1_epi8((char)l->act_min);
  f.high = _mm256_set1_epi8((char)l->act_max);
  return f;
}

static inline bool eq_shifts_right_avx2(const int8_t *shifts, int32_t n) {
  bool right = true;
  for (int32_t c = 0; c < n; c++) right &= shifts[c] < 0 && shifts[c] >= -EQ_MAX_RIGHT_AVX2;
  return right;
}

/* The constants of channels whose multipliers and shifts are given. */
EQ_AVX2_INLINE void eq_requant8_set(eq_requant8 *r, __m256i m, __m256i shifts, const eq_linear_s8 *l) {
  const __m256i scale = _mm256_set1_epi64x(2 * l->zero + 1); /* times 2^(30 + e) */
  const __m256i first = _mm256_set1_epi64x(l->mode == EQ_MODE_DOUBLE ? INT64_C(1) << 30 : 0);
  const __m256i bits = _mm256_sub_epi32(_mm256_set1_epi32(30), shifts);
  r->m = m;
  r->c_even = _mm256_add_epi64(first, _mm256_sllv_epi64(scale, _mm256_and_si256(bits, _mm256_set1_epi64x(0xFF))));
  r->c_odd = _mm256_add_epi64(first, _mm256_sllv_epi64(scale, _mm256_srli_epi64(bits, 32)));
  r->shift = _mm256_sub_epi32(_mm256_set1_epi32(-1), shifts);
}

/* zero + requant(x), not yet clamped. */
EQ_AVX2_INLINE __m256i eq_requant8_apply(__m256i x, const eq_requant8 *r, const eq_requant8_form *f) {
  const __m256i even = _mm256_mul_epi32(x, r->m);
  const __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(r->m, 32));
  const __m256i even_off = _mm256_and_si256(_mm256_cmpgt_epi64(f->limit, even), f->unit);
  const __m256i odd_off = _mm256_and_si256(_mm256_cmpgt_epi64(f->limit, odd), f->unit);
  const __m256i p = _mm256_sub_epi64(_mm256_add_epi64(even, r->c_even), even_off);
  const __m256i q = _mm256_sub_epi64(_mm256_add_epi64(odd, r->c_odd), odd_off);
  return _mm256_srav_epi32(_mm256_blend_epi32(_mm256_srli_epi64(p, 32), q, 0xAA), r->shift);
}

/* Bytes clamped to the bounds. */
EQ_AVX2_INLINE __m256i eq_clamp8(__m256i codes, const eq_requant8_form *f) {
  return _mm256_min_epi8(_mm256_max_epi8(codes, f->low), f->high);
}

#endif
