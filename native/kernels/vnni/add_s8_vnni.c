/* SPDX-License-Identifier: Apache-2.0
 * Sums and differences of int8 codes with AVX-512. */
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include "edgeq/ops.h"
#include "kernels/vnni/elementwise_vnni.h"

extern eq_add_s8_fn eq_add_s8_scalar;

/* One requantization of mode double with a shift to the right by e, of values that are doubled beforehand. For e >= 1 the
 * high word of 2 x * m + c is SRDHM(x, m) + 2^(e - 1), and a negative SRDHM(x, m) takes one unit off before the shift by
 * e. It may be taken off whenever x < 0, for SRDHM(x, m) = 0 yields 0 with it and without it. */
typedef struct quick_scale {
  __m512i m;
  __m512i c;
  __mmask16 away; /* no lane when e = 0 */
  __m128i right;
} quick_scale;

EQ_VNNI_INLINE quick_scale quick_scale_of(int32_t multiplier, int32_t shift, int64_t more) {
  quick_scale s;
  s.m = _mm512_set1_epi64(multiplier);
  s.c = _mm512_set1_epi64((INT64_C(1) << 31) + (shift == 0 ? 0 : INT64_C(1) << (31 - shift)) + more);
  s.away = shift == 0 ? 0 : UINT16_MAX;
  s.right = _mm_cvtsi32_si128(-shift);
  return s;
}

EQ_VNNI_INLINE __m512i quick_apply(__m512i x, __mmask16 negative, const quick_scale *s) {
  const __m512i even = _mm512_mul_epi32(x, s->m), odd = _mm512_mul_epi32(_mm512_srli_epi64(x, 32), s->m);
  const __m512i p = _mm512_add_epi64(even, s->c), q = _mm512_add_epi64(odd, s->c);
  const __m512i high = _mm512_mask_shuffle_epi32(q, 0x5555, p, (_MM_PERM_ENUM)0xF5);
  return _mm512_sra_epi32(_mm512_mask_sub_epi32(high, negative, high, _mm512_set1_epi32(1)), s->right);
}

/* 16 operands; what their zero point takes off is in the scale's c. */
EQ_VNNI_INLINE __m512i quick_operand(const int8_t *x, __m128i zero, __m128i left, const quick_scale *s) {
  const __m128i codes = _mm_loadu_si128((const __m128i *)(const void *)x);
  return quick_apply(_mm512_sll_epi32(_mm512_cvtepi8_epi32(codes), left), _mm_mask_cmplt_epi8_mask(s->away, codes, zero), s);
}

/* All whole 64 elements in mode double; returns how many there were. */
EQ_VNNI static int32_t add_quickly(int8_t *out, const int8_t *a, const int8_t *b, int32_t n, const eq_add_params *p) {
  const int32_t left = p->left_shift + 1;
  const int64_t off_a = -(int64_t)p->multiplier_a * p->zero_a * (INT64_C(1) << left);
  const int64_t off_b = -(int64_t)p->multiplier_b * p->zero_b * (INT64_C(1) << left);
  const quick_scale scale_a = quick_scale_of(p->multiplier_a, p->shift_a, off_a);
  const quick_scale scale_b = quick_scale_of(p->multiplier_b, p->shift_b, off_b);
  /* |2 x * m| < 2^61, |zero| * 2^(32 + e) <= 2^62 */
  const quick_scale scale = quick_scale_of(p->multiplier, p->shift, p->zero * (INT64_C(1) << (32 - p->shift)));
  const __m128i zero_a = _mm_set1_epi8((char)p->zero_a), zero_b = _mm_set1_epi8((char)p->zero_b);
  const __m128i bits = _mm_cvtsi32_si128(left);
  const __m512i low = _mm512_set1_epi8((char)p->act_min), high = _mm512_set1_epi8((char)p->act_max);
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const bool plus = p->sign > 0;
  int32_t i = 0;
  for (; i + 64 <= n; i += 64) {
    __m512i y[4];
    EQ_UNROLL for (int32_t v = 0; v < 4; v++) {
      const __m512i first = quick_operand(a + i + 16 * v, zero_a, bits, &scale_a);
      const __m512i second = quick_operand(b + i + 16 * v, zero_b, bits, &scale_b);
      const __m512i sum = plus ? _mm512_add_epi32(first, second) : _mm512_sub_epi32(first, second);
      const __mmask16 negative = _mm512_mask_cmplt_epi32_mask(scale.away, sum, _mm512_setzero_si512());
      y[v] = quick_apply(_mm512_add_epi32(sum, sum), negative, &scale);
    }
    const __m512i codes = _mm512_packs_epi16(_mm512_packs_epi32(y[0], y[1]), _mm512_packs_epi32(y[2], y[3]));
    const __m512i bounded = _mm512_min_epi8(_mm512_max_epi8(codes, low), high);
    _mm512_storeu_si512(out + i, _mm512_permutexvar_epi32(order, bounded));
  }
  return i;
}

EQ_VNNI void eq_add_s8_vnni(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                            const eq_add_params *p) {
  if (!eq_scale_legal(p->shift_a) || !eq_scale_legal(p->shift_b) || !eq_scale_legal(p->shift)) {
    eq_add_s8_scalar(out, a, a_step, b, b_step, n, p);
    return;
  }
  const eq_add_params q = *p; /* which out cannot alias */
  const eq_scale scale_a = eq_scale_of(q.multiplier_a, q.shift_a, q.mode);
  const eq_scale scale_b = eq_scale_of(q.multiplier_b, q.shift_b, q.mode);
  const eq_scale scale = eq_scale_of(q.multiplier, q.shift, q.mode);
  const bool quick = q.mode == EQ_MODE_DOUBLE && a_step == 1 && b_step == 1;
  for (int32_t i = quick ? add_quickly(out, a, b, n, &q) : 0; i < n; i += 16) {
    const __mmask16 present = (__mmask16)(UINT16_MAX >> (n - i < 16 ? 16 - (n - i) : 0));
    /* |x| <= 255 << 20 < 2^28 and multipliers are below 1, so the doubled sum is below 2^30 */
    const __m512i x = eq_scale_apply(eq_operand(a + i * a_step, a_step, present, q.zero_a, q.left_shift + 1), &scale_a);
    const __m512i y = eq_scale_apply(eq_operand(b + i * b_step, b_step, present, q.zero_b, q.left_shift + 1), &scale_b);
    const __m512i sum = q.sign > 0 ? _mm512_add_epi32(x, y) : _mm512_sub_epi32(x, y);
    const __m512i z = eq_scale_apply(_mm512_add_epi32(sum, sum), &scale);
    _mm_mask_storeu_epi8(out + i, present, eq_codes(z, q.zero, q.act_min, q.act_max));
  }
}

#endif
