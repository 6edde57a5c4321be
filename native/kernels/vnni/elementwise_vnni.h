/* SPDX-License-Identifier: Apache-2.0
 * Elementwise int8 operators with AVX-512, 16 elements at a time.
 *
 * Requantization is that of requant_vnni.h with one multiplier for all, of values doubled beforehand, so that shifts by
 * e >= 0 to the right do: y = (2 x * m + c) >> (32 + e). |x| < 2^30, and e <= EQ_MAX_RIGHT. */
#ifndef EDGEQ_ELEMENTWISE_VNNI_H
#define EDGEQ_ELEMENTWISE_VNNI_H

#include "kernels/vnni/requant_vnni.h"

/* The constants of one requantization. */
typedef struct eq_scale {
  __m512i m;
  __m512i c;
  __m512i limit; /* products below it lose `unit`: ties away from zero */
  __m512i unit;
  __m128i right; /* e */
} eq_scale;

/* True when a vector can do it. */
static inline bool eq_scale_legal(int32_t shift) { return shift <= 0 && shift >= -EQ_MAX_RIGHT; }

EQ_VNNI_INLINE eq_scale eq_scale_of(int32_t multiplier, int32_t shift, int32_t mode) {
  const int32_t e = -shift;
  const bool twice = mode == EQ_MODE_DOUBLE;
  eq_scale s;
  s.m = _mm512_set1_epi64(multiplier);
  s.c = _mm512_set1_epi64(!twice ? INT64_C(1) << (31 + e)
                          : e == 0 ? INT64_C(1) << 31
                                   : (INT64_C(1) << 31) + (INT64_C(1) << (31 + e)));
  s.limit = _mm512_set1_epi64(mode == EQ_MODE_DOUBLE ? -(INT64_C(1) << 31) : 0);
  s.unit = _mm512_set1_epi64(mode == EQ_MODE_EXACT ? 1 : mode == EQ_MODE_DOUBLE && e > 0 ? INT64_C(1) << 32 : 0);
  s.right = _mm_cvtsi32_si128(e);
  return s;
}

/* requant(x / 2). */
EQ_VNNI_INLINE __m512i eq_scale_apply(__m512i x, const eq_scale *s) {
  const __m512i even = _mm512_mul_epi32(x, s->m), odd = _mm512_mul_epi32(_mm512_srli_epi64(x, 32), s->m);
  __m512i p = _mm512_add_epi64(even, s->c), q = _mm512_add_epi64(odd, s->c);
  p = _mm512_mask_sub_epi64(p, _mm512_cmplt_epi64_mask(even, s->limit), p, s->unit);
  q = _mm512_mask_sub_epi64(q, _mm512_cmplt_epi64_mask(odd, s->limit), q, s->unit);
  return _mm512_sra_epi32(_mm512_mask_shuffle_epi32(q, 0x5555, p, (_MM_PERM_ENUM)0xF5), s->right);
}

/* 16 operands less their zero point, doubled and shifted. */
EQ_VNNI_INLINE __m512i eq_operand(const int8_t *x, int32_t step, __mmask16 present, int32_t zero, int32_t left) {
  const __m128i codes = step == 0 ? _mm_set1_epi8(*x) : _mm_maskz_loadu_epi8(present, x);
  const __m512i value = _mm512_sub_epi32(_mm512_cvtepi8_epi32(codes), _mm512_set1_epi32(zero));
  return _mm512_sll_epi32(value, _mm_cvtsi32_si128(left));
}

/* clamp(zero + y) as bytes. */
EQ_VNNI_INLINE __m128i eq_codes(__m512i y, int32_t zero, int32_t low, int32_t high) {
  const __m512i bounded = _mm512_min_epi32(_mm512_max_epi32(y, _mm512_set1_epi32(low - zero)), _mm512_set1_epi32(high - zero));
  return _mm512_cvtepi32_epi8(_mm512_add_epi32(bounded, _mm512_set1_epi32(zero)));
}

#endif
