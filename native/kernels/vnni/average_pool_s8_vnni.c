/* SPDX-License-Identifier: Apache-2.0
 * Means of int8 windows with AVX-512: the division by the number of taps is a multiplication.
 *
 * For taps < 2^b and v < 2^24 the floor of v / taps is (v * m) >> (24 + b) with m = 2^(24 + b) / taps rounded up: the
 * quotient comes out too large by less than v / 2^(24 + b) < 1 / taps. Here v <= 255 * 65535 + 32767 < 2^24. */
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include "kernels/vnni/requant_vnni.h"

/* Floors of v / taps. */
EQ_VNNI_INLINE __m512i divide(__m512i v, __m512i m, __m128i bits) {
  const __m512i even = _mm512_srl_epi64(_mm512_mul_epu32(v, m), bits);
  const __m512i odd = _mm512_srl_epi64(_mm512_mul_epu32(_mm512_srli_epi64(v, 32), m), bits);
  return _mm512_mask_shuffle_epi32(even, 0xAAAA, odd, (_MM_PERM_ENUM)0xA0);
}

EQ_VNNI void eq_average_pool_s8_vnni(int8_t *out, const int8_t *x, const eq_pool_window *w) {
  const int32_t taps = w->rows * w->columns;
  int32_t b = 1;
  while (taps >> b != 0) b++;
  const __m512i m = _mm512_set1_epi64(((INT64_C(1) << (24 + b)) + taps - 1) / taps);
  const __m128i bits = _mm_cvtsi32_si128(24 + b);
  const __m512i half = _mm512_set1_epi32(taps / 2), lift = _mm512_set1_epi32(128 * taps);
  const __m512i low = _mm512_set1_epi32(w->act_min), high = _mm512_set1_epi32(w->act_max);
  for (int32_t first = 0; first < w->channels; first += 16) {
    const int32_t left = w->channels - first;
    const __mmask16 present = (__mmask16)(UINT16_MAX >> (left < 16 ? 16 - left : 0));
    __m512i sum = _mm512_setzero_si512();
    for (int32_t row = 0; row < w->rows; row++) {
      const int8_t *tap = x + (size_t)row * w->x_row + first;
      for (int32_t column = 0; column < w->columns; column++, tap += w->channels) {
        sum = _mm512_add_epi32(sum, _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(present, tap)));
      }
    }
    __m512i mean;
    if (w->ties_up) {
      const __m512i positive = _mm512_add_epi32(sum, _mm512_add_epi32(lift, half));
      mean = _mm512_sub_epi32(divide(positive, m, bits), _mm512_set1_epi32(128));
    } else {
      const __m512i magnitude = divide(_mm512_add_epi32(_mm512_abs_epi32(sum), half), m, bits);
      mean = _mm512_mask_sub_epi32(magnitude, _mm512_movepi32_mask(sum), _mm512_setzero_si512(), magnitude);
    }
    mean = _mm512_min_epi32(_mm512_max_epi32(mean, low), high);
    _mm_mask_storeu_epi8(out + first, present, _mm512_cvtepi32_epi8(mean));
  }
}

#endif
