/* SPDX-License-Identifier: Apache-2.0
 * Matrix product with packed weights by VPMADDWD on sign-extended bytes, four rows by eight channels at a time. */
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include "edgeq/memory.h"
#include "kernels/avx2/requant_avx2.h"
#include "kernels/packed.h"
#include "kernels/requant.h"

enum {
  ROWS = 4,
  CHANNELS = 8, /* of a group of weights */
  SLICE = 64,   /* channels whose sums and constants are at hand */
  CHUNK = 256   /* inputs of a row that are widened at a time */
};

typedef struct tile {
  _Alignas(32) int16_t rows[ROWS][CHUNK];
  _Alignas(32) int32_t sums[ROWS][SLICE];
} tile;

/* Constants of up to 64 channels. */
typedef struct slice {
  const int8_t *w;
  size_t group_bytes;
  int32_t first;
  int32_t n;
  bool fast;
  __m256i bias[SLICE / CHANNELS];
  eq_requant8 requant[SLICE / CHANNELS];
} slice;

EQ_AVX2_INLINE __m256i widen(const int8_t *x) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)x));
}

/* Add the products of `bytes` inputs of the tile's rows with one group of channels to its sums. */
EQ_AVX2 static void add_products(tile *t, const int8_t *w, int32_t bytes, int32_t channel) {
  /* every channel has two sums; low holds channels 0 to 3, high the others */
  __m256i low[ROWS], high[ROWS];
  for (int32_t r = 0; r < ROWS; r++) low[r] = high[r] = _mm256_setzero_si256();
  for (int32_t i = 0; i < bytes; i += 4, w += 4 * CHANNELS) {
    const __m256i w_low = widen(w), w_high = widen(w + 16);
    for (int32_t r = 0; r < ROWS; r++) {
      const __m256i in = _mm256_set1_epi64x(*(const int64_t *)(const void *)(t->rows[r] + i));
      low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(in, w_low));
      high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(in, w_high));
    }
  }
  for (int32_t r = 0; r < ROWS; r++) {
    __m256i *sums = (__m256i *)(void *)(t->sums[r] + channel);
    const __m256i found = _mm256_permute4x64_epi64(_mm256_hadd_epi32(low[r], high[r]), 0xD8);
    *sums = _mm256_add_epi32(*sums, found);
  }
}

/* The sums of `present` <= ROWS rows that begin at `at`. */
EQ_AVX2 static void sum_rows(tile *t, const eq_gemm_rows *x, size_t at, int32_t present, const slice *s) {
  const int32_t groups = (s->n + CHANNELS - 1) / CHANNELS;
  for (int32_t r = 0; r < ROWS; r++) {
    for (int32_t g = 0; g < groups; g++) *(__m256i *)(void *)(t->sums[r] + CHANNELS * g) = s->bias[g];
  }
  const int8_t *w = s->w + 4 * CHANNELS;
  for (int32_t run = 0; run < x->n_runs; run++) {
    for (int32_t from = 0; from < x->run; from += CHUNK) {
      const int32_t bytes = eq_min32(CHUNK, x->run - from);
      for (int32_t r = 0; r < present; r++) {
        const int8_t *row = x->runs[run] + at + (size_t)r * x->stride + from;
        for (int32_t i = 0; i < bytes; i += 16) *(__m256i *)(void *)(t->rows[r] + i) = widen(row + i);
      }
      for (int32_t g = 0; g < groups; g++) add_products(t, w + (size_t)g * s->group_bytes, bytes, CHANNELS * g);
      w += (bytes + 3) / 4 * 4 * CHANNELS;
    }
  }
}

/* Codes of one row: 32 channels at a time. */
EQ_AVX2 static void finish_row(int8_t *out, const int32_t *sums, const slice *s, const eq_requant8_form *f) {
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  for (int32_t c = 0; c < s->n; c += 32) {
    __m256i y[4];
    for (int32_t i = 0; i < 4; i++) {
      const int32_t g = c / CHANNELS + i;
      if (g * CHANNELS < s->n) {
        y[i] = eq_requant8_apply(*(const __m256i *)(const void *)(sums + CHANNELS * g), &s->requant[g], f);
      } else {
        y[i] = _mm256_setzero_si256();
      }
    }
    const __m256i words = _mm256_packs_epi16(_mm256_packs_epi32(y[0], y[1]), _mm256_packs_epi32(y[2], y[3]));
    const __m256i codes = _mm256_permutevar8x32_epi32(eq_clamp8(words, f), order);
    if (c + 32 <= s->n) {
      _mm256_storeu_si256((__m256i *)(void *)(out + c), codes);
    } else {
      _Alignas(32) int8_t all[32];
      _mm256_store_si256((__m256i *)(void *)all, codes);
      eq_copy(out + c, all, (size_t)(s->n - c));
    }
  }
}

EQ_AVX2 static void set_slice(slice *s, const eq_linear_s8 *linear) {
  s->fast = eq_shifts_right_avx2(linear->shifts + s->first, s->n);
  for (int32_t g = 0; g * CHANNELS < s->n; g++) {
    _Alignas(32) int32_t bias[CHANNELS] = {0}, multipliers[CHANNELS] = {0}, shifts[CHANNELS] = {0};
    for (int32_t c = 0; c < CHANNELS && g * CHANNELS + c < s->n; c++) {
      const int32_t channel = s->first + g * CHANNELS + c;
      bias[c] = s->fast ? linear->bias[channel] : 0;
      multipliers[c] = linear->multipliers[channel];
      shifts[c] = linear->shifts[channel];
    }
    s->bias[g] = *(const __m256i *)(const void *)bias;
    eq_requant8_set(&s->requant[g], *(const __m256i *)(const void *)multipliers, *(const __m256i *)(const void *)shifts,
                    linear);
  }
}

/* True when out lies over rows of x. */
static bool overlaps(const int8_t *out, size_t out_stride, const eq_gemm_rows *x, int32_t m) {
  const uintptr_t start = (uintptr_t)out, end = start + (size_t)m * out_stride;
  const uintptr_t first = (uintptr_t)x->runs[0], last = first + (size_t)m * x->stride + (size_t)x->run;
  return start < last && first < end;
}

EQ_AVX2 void eq_packed_gemm_s8_avx2(int8_t *out, size_t out_stride, const eq_gemm_rows *x, const int8_t *w, int32_t m,
                                    int32_t n, const eq_linear_s8 *linear) {
  const eq_requant8_form form = eq_requant8_form_of(linear);
  slice s = {.group_bytes = eq_packed_group_bytes(EQ_LAYOUT_C8K4, x->n_runs * x->run)};
  tile t;
  /* rows that out follows through memory are finished a tile after the other */
  const int32_t step = n > SLICE && overlaps(out, out_stride, x, m) ? ROWS : m;
  for (int32_t start = 0; start < m; start += step) {
    for (s.first = 0; s.first < n; s.first += SLICE) {
      s.n = eq_min32(SLICE, n - s.first);
      s.w = w + (size_t)(s.first / CHANNELS) * s.group_bytes;
      set_slice(&s, linear);
      for (int32_t row = start; row < m && row < start + step; row += ROWS) {
        const int32_t present = eq_min32(ROWS, m - row);
        sum_rows(&t, x, (size_t)row * x->stride, present, &s);
        for (int32_t r = 0; r < present; r++) {
          int8_t *codes = out + (size_t)(row + r) * out_stride + s.first;
          if (s.fast) {
            finish_row(codes, t.sums[r], &s, &form);
          } else {
            eq_requant_s8(codes, t.sums[r], s.first, s.n, linear);
          }
        }
      }
    }
  }
}

#endif
