/* SPDX-License-Identifier: Apache-2.0
 * Maxima of int8 windows with AVX-512. */
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include "kernels/vnni/requant_vnni.h"

EQ_VNNI void eq_max_pool_s8_vnni(int8_t *out, const int8_t *x, const eq_pool_window *w) {
  const __m512i low = _mm512_set1_epi8((char)w->act_min), high = _mm512_set1_epi8((char)w->act_max);
  for (int32_t first = 0; first < w->channels; first += 64) {
    const int32_t left = w->channels - first;
    const __mmask64 present = UINT64_MAX >> (left < 64 ? 64 - left : 0);
    __m512i found = _mm512_set1_epi8(INT8_MIN);
    for (int32_t row = 0; row < w->rows; row++) {
      const int8_t *tap = x + (size_t)row * w->x_row + first;
      for (int32_t column = 0; column < w->columns; column++, tap += w->channels) {
        found = _mm512_max_epi8(found, _mm512_maskz_loadu_epi8(present, tap));
      }
    }
    _mm512_mask_storeu_epi8(out + first, present, _mm512_min_epi8(_mm512_max_epi8(found, low), high));
  }
}

#endif
