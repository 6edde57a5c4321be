/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution by VPMADDWD: two taps of 16 sign-extended channels at a time. */
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include "kernels/avx2/requant_avx2.h"

extern eq_depthwise_s8_fn eq_depthwise_s8_scalar;

enum { BLOCK = 16, MAX_PAIRS = 25 };

/* Constants of a block of channels; vectors come in twos, of channels 0 to 3 and 8 to 11, and of the others. */
typedef struct block {
  __m256i weights[MAX_PAIRS][2];
  __m256i bias[2];
  eq_requant8 requant[2];
  size_t offsets[MAX_PAIRS][2]; /* of the taps from a pixel's first one */
  int32_t pairs;
} block;

/* 16 channels, or 8 and zeros. */
EQ_AVX2_INLINE __m256i widen(const int8_t *x, bool half) {
  const __m128i *from = (const __m128i *)(const void *)x;
  return _mm256_cvtepi8_epi16(half ? _mm_loadl_epi64(from) : _mm_loadu_si128(from));
}

EQ_AVX2_INLINE void make_pixel(int8_t *out, const int8_t *x, const block *b, const eq_requant8_form *f, bool half) {
  __m256i low = b->bias[0], high = b->bias[1];
  for (int32_t i = 0; i < b->pairs; i++) {
    const __m256i first = widen(x + b->offsets[i][0], half), second = widen(x + b->offsets[i][1], half);
    low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_unpacklo_epi16(first, second), b->weights[i][0]));
    high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_unpackhi_epi16(first, second), b->weights[i][1]));
  }
  const __m256i words = _mm256_packs_epi32(eq_requant8_apply(low, &b->requant[0], f),
                                           eq_requant8_apply(high, &b->requant[1], f));
  const __m256i bytes = eq_clamp8(_mm256_packs_epi16(words, words), f);
  const __m128i codes = _mm256_castsi256_si128(_mm256_permute4x64_epi64(bytes, 0x08));
  if (half) {
    _mm_storel_epi64((__m128i *)(void *)out, codes);
  } else {
    _mm_storeu_si128((__m128i *)(void *)out, codes);
  }
}

/* Int32 of 16 channels, or of 8, in the order of the block's vectors. */
EQ_AVX2_INLINE void spread(__m256i out[2], const int32_t *from, bool half) {
  const __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)from);
  const __m256i b = half ? _mm256_setzero_si256() : _mm256_loadu_si256((const __m256i *)(const void *)(from + 8));
  out[0] = _mm256_permute2x128_si256(a, b, 0x20);
  out[1] = _mm256_permute2x128_si256(a, b, 0x31);
}

EQ_AVX2 static void set_block(block *b, const int8_t *w, int32_t first, const eq_depthwise_window *window,
                              const eq_linear_s8 *linear, bool half) {
  const int32_t taps = window->rows * window->columns;
  b->pairs = (taps + 1) / 2;
  for (int32_t i = 0; i < b->pairs; i++) {
    __m256i two[2];
    for (int32_t j = 0; j < 2; j++) {
      const int32_t tap = 2 * i + j < taps ? 2 * i + j : 2 * i; /* one that is not there weighs nothing */
      const size_t row = (size_t)(tap / window->columns), column = (size_t)(tap % window->columns);
      b->offsets[i][j] = row * window->x_row + column * window->x_column;
      two[j] = tap == 2 * i + j ? widen(w + first + row * window->w_row + column * window->w_column, half)
                                : _mm256_setzero_si256();
    }
    b->weights[i][0] = _mm256_unpacklo_epi16(two[0], two[1]);
    b->weights[i][1] = _mm256_unpackhi_epi16(two[0], two[1]);
  }
  int32_t wide[BLOCK] = {0};
  for (int32_t c = 0; c < (half ? 8 : BLOCK); c++) wide[c] = linear->shifts[first + c];
  __m256i m[2], shifts[2];
  spread(b->bias, linear->bias + first, half);
  spread(m, linear->multipliers + first, half);
  spread(shifts, wide, half);
  eq_requant8_set(&b->requant[0], m[0], shifts[0], linear);
  eq_requant8_set(&b->requant[1], m[1], shifts[1], linear);
}

EQ_AVX2 void eq_depthwise_s8_avx2(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                                  const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  const int32_t taps = window->rows * window->columns;
  if ((channels < BLOCK && channels != 8) || linear->weights_zero != 0 || taps == 0 || taps > 2 * MAX_PAIRS ||
      !eq_shifts_right_avx2(linear->shifts, channels)) {
    eq_depthwise_s8_scalar(out, x, w, channels, window, linear);
    return;
  }
  const eq_requant8_form form = eq_requant8_form_of(linear);
  const bool half = channels == 8;
  block b;
  for (int32_t start = 0; start < channels; start += BLOCK) {
    /* the last block ends with the last channel, and repeats some of the one before it */
    const int32_t first = half || start + BLOCK <= channels ? start : channels - BLOCK;
    set_block(&b, w, first, window, linear, half);
    for (int32_t line = 0; line < window->lines; line++) {
      int8_t *to = out + (size_t)line * window->out_line + first;
      const int8_t *from = x + (size_t)line * window->x_line + first;
      for (int32_t pixel = 0; pixel < window->pixels; pixel++, to += channels, from += window->x_pixel) {
        if (half) {
          make_pixel(to, from, &b, &form, true);
        } else {
          make_pixel(to, from, &b, &form, false);
        }
      }
    }
  }
}

#endif
