/* SPDX-License-Identifier: Apache-2.0
 * Matrix product with packed weights by VPDPBUSD, 64 channels by a few rows at a time.
 *
 * The instruction multiplies unsigned by signed bytes, so inputs go in as x + 128 from a copy of the tile's rows, and
 * 128 * (sum of weights) is taken off the bias. */
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include "kernels/packed.h"
#include "kernels/requant.h"
#include "kernels/vnni/requant_vnni.h"

enum {
  CHANNELS = 16,       /* of a group of weights */
  SLICE = 64,          /* channels whose constants are at hand: up to four groups */
  TILE_ROWS = 16,      /* of the tallest tile */
  TILE_VECTORS = 24,   /* sums of the largest tile */
  COPY_BYTES = 16 * 64 /* of a tile's rows */
};

/* Constants of up to four groups of channels. */
typedef struct slice {
  const int8_t *w;
  size_t group_bytes;
  int32_t n;     /* channels */
  int32_t first; /* of them all */
  bool fast;
  __m512i bias[4];
  eq_requant16 requant[4];
} slice;

typedef struct tile {
  _Alignas(64) int8_t copy[COPY_BYTES];
  _Alignas(64) int32_t sums[TILE_VECTORS * CHANNELS]; /* row by row, the slice's groups in each */
} tile;

/* Copy bytes from .. from + bytes of one run of some rows, plus 128, rows `pitch` apart. */
EQ_VNNI_INLINE void copy_rows(int8_t *copy, size_t pitch, const int8_t *x, size_t stride, int32_t rows, int32_t bytes) {
  const __m512i flip = _mm512_set1_epi8((char)0x80);
  for (int32_t at = 0; at < bytes; at += 64) {
    const __mmask64 present = eq_first64(bytes - at);
    for (int32_t r = 0; r < rows; r++) {
      const __m512i row = _mm512_maskz_loadu_epi8(present, x + (size_t)r * stride + at);
      _mm512_storeu_si512(copy + (size_t)r * pitch + at, _mm512_xor_si512(row, flip));
    }
  }
}

/* The sums of `rows` rows and `groups` groups of channels, both constant, of which only the first `present` rows are there;
 * `phases` neighbouring blocks of inputs have sums of their own, to hide the instruction's latency in small tiles. */
EQ_VNNI_INLINE void sum_tile(tile *t, const eq_gemm_rows *x, size_t at, int32_t present, const slice *s, int32_t rows,
                             int32_t groups, int32_t phases) {
  __m512i acc[TILE_ROWS][4][4];
  EQ_UNROLL for (int32_t r = 0; r < rows; r++) {
    EQ_UNROLL for (int32_t g = 0; g < groups; g++) {
      acc[r][g][0] = s->bias[g];
      EQ_UNROLL for (int32_t p = 1; p < phases; p++) acc[r][g][p] = _mm512_setzero_si512();
    }
  }
  const int32_t pitch = COPY_BYTES / rows / 64 * 64;
  const int8_t *w = s->w + 4 * CHANNELS;
  for (int32_t run = 0; run < x->n_runs; run++) {
    for (int32_t from = 0; from < x->run; from += pitch) {
      const int32_t bytes = x->run - from < pitch ? x->run - from : pitch;
      copy_rows(t->copy, (size_t)pitch, x->runs[run] + at + from, x->stride, present, bytes);
      const int8_t *block = t->copy, *end = t->copy + bytes;
      for (; block + 4 * phases <= end; block += 4 * phases, w += 64 * phases) {
        EQ_UNROLL for (int32_t p = 0; p < phases; p++) {
          __m512i weights[4];
          EQ_UNROLL for (int32_t g = 0; g < groups; g++) {
            weights[g] = _mm512_loadu_si512(w + (size_t)g * s->group_bytes + 64 * p);
          }
          EQ_UNROLL for (int32_t r = 0; r < rows; r++) {
            const __m512i in = _mm512_set1_epi32(*(const int32_t *)(const void *)(block + r * pitch + 4 * p));
            EQ_UNROLL for (int32_t g = 0; g < groups; g++) {
              acc[r][g][p] = _mm512_dpbusd_epi32(acc[r][g][p], in, weights[g]);
            }
          }
        }
      }
      for (; block < end; block += 4, w += 64) {
        EQ_UNROLL for (int32_t r = 0; r < rows; r++) {
          const __m512i in = _mm512_set1_epi32(*(const int32_t *)(const void *)(block + r * pitch));
          EQ_UNROLL for (int32_t g = 0; g < groups; g++) {
            acc[r][g][0] = _mm512_dpbusd_epi32(acc[r][g][0], in, _mm512_loadu_si512(w + (size_t)g * s->group_bytes));
          }
        }
      }
    }
  }
  EQ_UNROLL for (int32_t r = 0; r < rows; r++) {
    EQ_UNROLL for (int32_t g = 0; g < groups; g++) {
      __m512i sum = acc[r][g][0];
      EQ_UNROLL for (int32_t p = 1; p < phases; p++) sum = _mm512_add_epi32(sum, acc[r][g][p]);
      _mm512_storeu_si512(t->sums + (r * groups + g) * CHANNELS, sum);
    }
  }
}

#define TILE(rows, groups, phases)                                                                        \
  EQ_VNNI static void sum_##rows##x##groups(tile *t, const eq_gemm_rows *x, size_t at, int32_t present, \
                                            const slice *s) {                                            \
    sum_tile(t, x, at, present, s, rows, groups, phases);                                                \
  }
TILE(16, 1, 1)
TILE(12, 2, 1)
TILE(8, 1, 2)
TILE(8, 2, 1)
TILE(8, 3, 1)
TILE(6, 4, 1)
TILE(4, 1, 4)
TILE(4, 2, 2)
TILE(4, 3, 1)
TILE(4, 4, 1)
TILE(2, 3, 2)
TILE(2, 4, 2)
TILE(1, 1, 4)
TILE(1, 2, 4)
TILE(1, 3, 4)
TILE(1, 4, 4)

/* Codes of `rows` rows from their sums. The vectors of a row follow each other, and the next row's those, so that four at
 * a time fill a register. */
EQ_VNNI_INLINE void finish_rows(int8_t *out, size_t out_stride, const tile *t, const slice *s, int32_t rows,
                                int32_t groups, const eq_requant_form *f, bool away) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const int32_t rows_at_once = groups == 1 ? 4 : groups == 2 ? 2 : 1;
  for (int32_t r = 0; r < rows; r += rows_at_once) {
    __m512i y[4];
    EQ_UNROLL for (int32_t i = 0; i < 4; i++) {
      const int32_t g = i % groups;
      if (groups == 3 && i == 3) {
        y[3] = y[2];
      } else {
        y[i] = eq_requant16_apply(_mm512_loadu_si512(t->sums + (r * groups + i) * CHANNELS), &s->requant[g], f, away);
      }
    }
    const __m512i codes = _mm512_permutexvar_epi32(order, eq_pack64(y, f));
    int8_t *to = out + (size_t)r * out_stride;
    if (groups > 2) {
      _mm512_mask_storeu_epi8(to, UINT64_MAX >> (64 - s->n), codes);
    } else if (groups == 2) {
      const __mmask32 present = UINT32_MAX >> (32 - s->n);
      _mm256_mask_storeu_epi8(to, present, _mm512_castsi512_si256(codes));
      if (r + 1 < rows) _mm256_mask_storeu_epi8(to + out_stride, present, _mm512_extracti64x4_epi64(codes, 1));
    } else {
      const __mmask16 present = (__mmask16)(UINT16_MAX >> (16 - s->n));
      _mm_mask_storeu_epi8(to, present, _mm512_castsi512_si128(codes));
      if (r + 1 < rows) _mm_mask_storeu_epi8(to + out_stride, present, _mm512_extracti32x4_epi32(codes, 1));
      if (r + 2 < rows) _mm_mask_storeu_epi8(to + 2 * out_stride, present, _mm512_extracti32x4_epi32(codes, 2));
      if (r + 3 < rows) _mm_mask_storeu_epi8(to + 3 * out_stride, present, _mm512_extracti32x4_epi32(codes, 3));
    }
  }
}

#define FINISH(groups)                                                                                                  \
  EQ_VNNI static void finish_##groups(int8_t *out, size_t out_stride, const tile *t, const slice *s, int32_t rows,      \
                                      const eq_requant_form *f) {                                                       \
    if (f->away) {                                                                                                      \
      finish_rows(out, out_stride, t, s, rows, groups, f, true);                                                        \
    } else {                                                                                                            \
      finish_rows(out, out_stride, t, s, rows, groups, f, false);                                                       \
    }                                                                                                                   \
  }
FINISH(1)
FINISH(2)
FINISH(3)
FINISH(4)

/* The same for shifts that the vectors do not take. */
static void finish_slowly(int8_t *out, size_t out_stride, const tile *t, const slice *s, int32_t rows,
                          const eq_linear_s8 *linear) {
  const int32_t vectors = (s->n + CHANNELS - 1) / CHANNELS;
  for (int32_t r = 0; r < rows; r++) {
    eq_requant_s8(out + (size_t)r * out_stride, t->sums + r * vectors * CHANNELS, s->first, s->n, linear);
  }
}

EQ_VNNI static void set_slice(slice *s, const int8_t *w, int32_t first, int32_t n, const eq_linear_s8 *linear) {
  s->w = w;
  s->first = first;
  s->n = n;
  s->fast = eq_shifts_right(linear->shifts + first, n);
  for (int32_t g = 0; g * CHANNELS < n; g++) {
    const int32_t from = first + g * CHANNELS, left = n - g * CHANNELS;
    const __mmask16 present = (__mmask16)(UINT16_MAX >> (left < CHANNELS ? CHANNELS - left : 0));
    const __m512i sums = _mm512_loadu_si512(w + (size_t)g * s->group_bytes);
    const __m512i bias = s->fast ? _mm512_maskz_loadu_epi32(present, linear->bias + from) : _mm512_setzero_si512();
    s->bias[g] = _mm512_sub_epi32(bias, _mm512_slli_epi32(sums, 7));
    const __m512i m = _mm512_maskz_loadu_epi32(present, linear->multipliers + from);
    const __m512i shift = eq_right_shifts(_mm_maskz_loadu_epi8(present, linear->shifts + from));
    eq_requant16_set(&s->requant[g], m, shift, linear);
  }
}

/* Rows from .. to of one slice of channels, in tiles of nearly the same height. */
#define RUN(groups, tallest, middle, low)                                                                             \
  EQ_VNNI static void run_##groups(int8_t *out, size_t out_stride, const eq_gemm_rows *x, const slice *s, int32_t from, \
                                   int32_t to, const eq_linear_s8 *linear, const eq_requant_form *form) {             \
    tile t;                                                                                                           \
    int32_t tiles = (to - from + tallest - 1) / tallest;                                                              \
    for (int32_t row = from, rows; row < to; row += rows, tiles--) {                                                  \
      const size_t at = (size_t)row * x->stride;                                                                      \
      rows = (to - row + tiles - 1) / tiles;                                                                          \
      if (rows > middle) {                                                                                            \
        sum_##tallest##x##groups(&t, x, at, rows, s);                                                                 \
      } else if (rows > low) {                                                                                        \
        sum_##middle##x##groups(&t, x, at, rows, s);                                                                  \
      } else if (rows > 1) {                                                                                          \
        sum_##low##x##groups(&t, x, at, rows, s);                                                                     \
      } else {                                                                                                        \
        sum_1x##groups(&t, x, at, rows, s);                                                                           \
      }                                                                                                               \
      int8_t *codes = out + (size_t)row * out_stride + s->first;                                                      \
      if (s->fast) {                                                                                                  \
        finish_##groups(codes, out_stride, &t, s, rows, form);                                                        \
      } else {                                                                                                        \
        finish_slowly(codes, out_stride, &t, s, rows, linear);                                                        \
      }                                                                                                               \
    }                                                                                                                 \
  }
RUN(1, 16, 8, 4)
RUN(2, 12, 8, 4)
RUN(3, 8, 4, 2)
RUN(4, 6, 4, 2)

/* SLICE codes of one row whose inputs, plus 128, are at x. Every weight is read once, so that constants are best made where
 * they are used: nothing but the codes is stored. */
EQ_VNNI_INLINE void row_slice(int8_t *out, const int8_t *x, int32_t k, const int8_t *w, size_t group_bytes, int32_t first,
                              const eq_linear_s8 *linear, const eq_requant_form *f, bool away) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512i acc[4][4], y[4];
  EQ_UNROLL for (int32_t g = 0; g < 4; g++) {
    const __m512i sums = _mm512_loadu_si512(w + (size_t)g * group_bytes);
    acc[g][0] = _mm512_sub_epi32(_mm512_loadu_si512(linear->bias + first + g * CHANNELS), _mm512_slli_epi32(sums, 7));
    EQ_UNROLL for (int32_t p = 1; p < 4; p++) acc[g][p] = _mm512_setzero_si512();
  }
  w += 4 * CHANNELS;
  const int8_t *end = x + k;
  for (; x + 16 <= end; x += 16, w += 256) {
    EQ_UNROLL for (int32_t p = 0; p < 4; p++) {
      const __m512i in = _mm512_set1_epi32(*(const int32_t *)(const void *)(x + 4 * p));
      EQ_UNROLL for (int32_t g = 0; g < 4; g++) {
        acc[g][p] = _mm512_dpbusd_epi32(acc[g][p], in, _mm512_loadu_si512(w + (size_t)g * group_bytes + 64 * p));
      }
    }
  }
  for (; x < end; x += 4, w += 64) {
    const __m512i in = _mm512_set1_epi32(*(const int32_t *)(const void *)x);
    EQ_UNROLL for (int32_t g = 0; g < 4; g++) {
      acc[g][0] = _mm512_dpbusd_epi32(acc[g][0], in, _mm512_loadu_si512(w + (size_t)g * group_bytes));
    }
  }
  EQ_UNROLL for (int32_t g = 0; g < 4; g++) {
    const int32_t from = first + g * CHANNELS;
    const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(acc[g][0], acc[g][1]), _mm512_add_epi32(acc[g][2], acc[g][3]));
    const __m128i shifts = _mm_loadu_si128((const __m128i *)(const void *)(linear->shifts + from));
    eq_requant16 r;
    eq_requant16_set(&r, _mm512_loadu_si512(linear->multipliers + from), eq_right_shifts(shifts), linear);
    y[g] = eq_requant16_apply(sum, &r, f, away);
  }
  _mm512_storeu_si512(out + first, _mm512_permutexvar_epi32(order, eq_pack64(y, f)));
}

/* The first channels of a product of one row that is one short run, in whole slices as long as their shifts allow; returns
 * how many there were. */
EQ_VNNI static int32_t run_row(int8_t *out, const eq_gemm_rows *x, const int8_t *w, size_t group_bytes, int32_t n,
                               const eq_linear_s8 *linear, const eq_requant_form *form) {
  if (x->n_runs != 1 || x->run > COPY_BYTES) return 0;
  _Alignas(64) int8_t copy[COPY_BYTES];
  copy_rows(copy, COPY_BYTES, x->runs[0], 0, 1, x->run);
  int32_t first = 0;
  for (; first + SLICE <= n && eq_shifts_right(linear->shifts + first, SLICE); first += SLICE) {
    const int8_t *weights = w + (size_t)(first / CHANNELS) * group_bytes;
    if (form->away) {
      row_slice(out, copy, x->run, weights, group_bytes, first, linear, form, true);
    } else {
      row_slice(out, copy, x->run, weights, group_bytes, first, linear, form, false);
    }
  }
  return first;
}

/* True when out lies over rows of x. */
static bool overlaps(const int8_t *out, size_t out_stride, const eq_gemm_rows *x, int32_t m) {
  const uintptr_t start = (uintptr_t)out, end = start + (size_t)m * out_stride;
  const uintptr_t first = (uintptr_t)x->runs[0], last = first + (size_t)m * x->stride + (size_t)x->run;
  return start < last && first < end;
}

EQ_VNNI void eq_packed_gemm_s8_vnni(int8_t *out, size_t out_stride, const eq_gemm_rows *x, const int8_t *w, int32_t m,
                                    int32_t n, const eq_linear_s8 *linear) {
  const eq_requant_form form = eq_requant_form_of(linear);
  slice s;
  s.group_bytes = eq_packed_group_bytes(EQ_LAYOUT_C16K4, x->n_runs * x->run);
  const int32_t done = m == 1 ? run_row(out, x, w, s.group_bytes, n, linear, &form) : 0;
  /* rows that out follows through memory are finished a tile after the other */
  const int32_t step = n > SLICE && overlaps(out, out_stride, x, m) ? 6 : m;
  for (int32_t row = 0; row < m; row += step) {
    const int32_t to = m - row < step ? m : row + step;
    for (int32_t first = done; first < n; first += SLICE) {
      const int32_t count = n - first < SLICE ? n - first : SLICE;
      set_slice(&s, w + (size_t)(first / CHANNELS) * s.group_bytes, first, count, linear);
      if (count > 3 * CHANNELS) {
        run_4(out, out_stride, x, &s, row, to, linear, &form);
      } else if (count > 2 * CHANNELS) {
        run_3(out, out_stride, x, &s, row, to, linear, &form);
      } else if (count > CHANNELS) {
        run_2(out, out_stride, x, &s, row, to, linear, &form);
      } else {
        run_1(out, out_stride, x, &s, row, to, linear, &form);
      }
    }
  }
}

#endif
