/* SPDX-License-Identifier: Apache-2.0
 * Requantization of 16 channels at a time with AVX-512.
 *
 * For a shift to the right by e >= 1 every mode is y = (x * m + c) >> (31 + e) in 64 bits: a floor of a floor is the floor
 * of the whole quotient, so the two roundings of mode double add up to c = 2^30 + 2^(30 + e), and one rounding is
 * c = 2^(30 + e). The zero point comes in as zero * 2^(31 + e). |x * m| < 2^62 and, for e <= MAX_RIGHT, |c| < 2^62, so
 * nothing overflows. The high word of the sum, shifted by e - 1 more, is y.
 *
 * Ties away from zero take one unit of the last bit rounded from negative values. That changes results below zero only,
 * hence none where they are clamped to zero or more. */
#ifndef EDGEQ_REQUANT_VNNI_H
#define EDGEQ_REQUANT_VNNI_H

#include <immintrin.h>
#include <stdbool.h>

#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"

#define EQ_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define EQ_VNNI_INLINE static inline __attribute__((always_inline)) EQ_VNNI
#if defined(__clang__)
#define EQ_UNROLL _Pragma("unroll")
#else
#define EQ_UNROLL _Pragma("GCC unroll 18")
#endif

enum { EQ_MAX_RIGHT = 23 };

/* The constants of 16 channels. Products need even and odd channels apart. */
typedef struct eq_requant16 {
  __m512i m_even, m_odd;
  __m512i c_even, c_odd;
  __m512i shift; /* e - 1 */
} eq_requant16;

/* What all channels share. */
typedef struct eq_requant_form {
  __m512i limit; /* products below it lose `unit` */
  __m512i unit;
  __m512i low, high; /* the bounds, as bytes */
  bool away;
} eq_requant_form;

EQ_VNNI_INLINE eq_requant_form eq_requant_form_of(const eq_linear_s8 *l) {
  const bool twice = l->mode == EQ_MODE_DOUBLE;
  eq_requant_form f;
  f.away = (twice || l->mode == EQ_MODE_EXACT) && l->act_min < l->zero;
  f.limit = _mm512_set1_epi64(twice ? -(INT64_C(1) << 30) : 0);
  f.unit = _mm512_set1_epi64(twice ? INT64_C(1) << 31 : 1);
  f.low = _mm512_set1_epi8((char)l->act_min);
  f.high = _mm512_set1_epi8((char)l->act_max);
  return f;
}

/* The first n of 64 lanes, all of them for larger n; n >= 0. */
EQ_VNNI_INLINE __mmask64 eq_first64(int32_t n) { return n < 64 ? (UINT64_C(1) << n) - 1 : UINT64_MAX; }

/* True when the shifts of n channels are all within -EQ_MAX_RIGHT .. -1. */
EQ_VNNI_INLINE bool eq_shifts_right(const int8_t *shifts, int32_t n) {
  for (int32_t c = 0; c < n; c += 64) {
    const __mmask64 present = eq_first64(n - c);
    const __m512i s = _mm512_maskz_loadu_epi8(present, shifts + c);
    /* -e - 1 as an unsigned byte, 0 for e = 1 */
    const __m512i e = _mm512_sub_epi8(_mm512_set1_epi8(-1), s);
    if (_mm512_mask_cmpge_epu8_mask(present, e, _mm512_set1_epi8(EQ_MAX_RIGHT)) != 0) return false;
  }
  return true;
}

/* The constants of channels whose multipliers and values e - 1 are given, all of eq_shifts_right. */
EQ_VNNI_INLINE void eq_requant16_set(eq_requant16 *r, __m512i m, __m512i shift, const eq_linear_s8 *l) {
  const __m512i scale = _mm512_set1_epi64(2 * l->zero + 1); /* times 2^(30 + e) */
  const __m512i first = _mm512_set1_epi64(l->mode == EQ_MODE_DOUBLE ? INT64_C(1) << 30 : 0);
  const __m512i bits = _mm512_add_epi32(shift, _mm512_set1_epi32(31));
  r->m_even = m;
  r->m_odd = _mm512_srli_epi64(m, 32);
  r->c_even = _mm512_add_epi64(first, _mm512_sllv_epi64(scale, _mm512_and_si512(bits, _mm512_set1_epi64(0xFF))));
  r->c_odd = _mm512_add_epi64(first, _mm512_sllv_epi64(scale, _mm512_srli_epi64(bits, 32)));
  r->shift = shift;
}

/* e - 1 of 16 channels, from their shifts. */
EQ_VNNI_INLINE __m512i eq_right_shifts(__m128i shifts) {
  return _mm512_sub_epi32(_mm512_set1_epi32(-1), _mm512_cvtepi8_epi32(shifts));
}

/* zero + requant(x), not yet clamped. */
EQ_VNNI_INLINE __m512i eq_requant16_apply(__m512i x, const eq_requant16 *r, const eq_requant_form *f, bool away) {
  const __m512i even = _mm512_mul_epi32(x, r->m_even), odd = _mm512_mul_epi32(_mm512_srli_epi64(x, 32), r->m_odd);
  __m512i p = _mm512_add_epi64(even, r->c_even), q = _mm512_add_epi64(odd, r->c_odd);
  if (away) {
    p = _mm512_mask_sub_epi64(p, _mm512_cmplt_epi64_mask(even, f->limit), p, f->unit);
    q = _mm512_mask_sub_epi64(q, _mm512_cmplt_epi64_mask(odd, f->limit), q, f->unit);
  }
  return _mm512_srav_epi32(_mm512_mask_shuffle_epi32(q, 0x5555, p, (_MM_PERM_ENUM)0xF5), r->shift);
}

/* Four vectors as clamped codes: in every 128 bits, four codes of each in turn. */
EQ_VNNI_INLINE __m512i eq_pack64(const __m512i y[4], const eq_requant_form *f) {
  const __m512i codes = _mm512_packs_epi16(_mm512_packs_epi32(y[0], y[1]), _mm512_packs_epi32(y[2], y[3]));
  return _mm512_min_epi8(_mm512_max_epi8(codes, f->low), f->high);
}

#endif
