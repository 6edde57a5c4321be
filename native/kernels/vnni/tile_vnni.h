/* SPDX-License-Identifier: Apache-2.0
 * Tiles of a packed product: a few rows by up to 64 channels, their inputs and how their sums become codes. */
#ifndef EDGEQ_TILE_VNNI_H
#define EDGEQ_TILE_VNNI_H

#include "kernels/requant.h"
#include "kernels/vnni/requant_vnni.h"

enum {
  EQ_CHANNELS = 16,          /* of a group of weights */
  EQ_SLICE = 64,             /* channels whose constants are at hand: up to four groups */
  EQ_TILE_ROWS = 16,         /* of the tallest tile */
  EQ_TILE_VECTORS = 24,      /* sums of the largest tile */
  EQ_TILE_COPY_BYTES = 16 * 64 /* of a tile's rows */
};

/* Constants of up to four groups of channels. */
typedef struct eq_slice {
  const int8_t *w;
  size_t group_bytes;
  int32_t n;     /* channels */
  int32_t first; /* of them all */
  bool fast;
  __m512i bias[4];
  eq_requant16 requant[4];
} eq_slice;

/* Memory for one tile after the other. */
typedef struct eq_tile_memory {
  _Alignas(64) int8_t copy[EQ_TILE_COPY_BYTES];
  _Alignas(64) int32_t sums[EQ_TILE_VECTORS * EQ_CHANNELS];
} eq_tile_memory;

/* A tile's rows and where its codes go. */
typedef struct eq_tile {
  eq_tile_memory *memory;
  const eq_gemm_rows *x;
  size_t at;    /* from a run's first byte to that of the tile's first row */
  int32_t rows; /* that are there: the kind of tile may have more */
  int8_t *out;  /* the first row's codes, in the slice */
  size_t out_stride;
  const eq_slice *slice;
  const eq_linear_s8 *linear;
  const eq_requant_form *form;
} eq_tile;

/* Copy `bytes` bytes from x on of some rows, plus 128, rows `pitch` apart. */
EQ_VNNI_INLINE void eq_copy_rows(int8_t *copy, size_t pitch, const int8_t *x, size_t stride, int32_t rows, int32_t bytes) {
  const __m512i flip = _mm512_set1_epi8((char)0x80);
  for (int32_t at = 0; at < bytes; at += 64) {
    const __mmask64 present = eq_first64(bytes - at);
    for (int32_t r = 0; r < rows; r++) {
      const __m512i row = _mm512_maskz_loadu_epi8(present, x + (size_t)r * stride + at);
      _mm512_storeu_si512(copy + (size_t)r * pitch + at, _mm512_xor_si512(row, flip));
    }
  }
}

/* Codes of a tile's rows from their sums. The vectors of a row follow each other, and the next row's those, so that four at
 * a time fill a register. */
EQ_VNNI_INLINE void eq_finish_quickly(const eq_tile *t, const __m512i *sums, int32_t rows, int32_t groups, bool away) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const int32_t rows_at_once = groups == 1 ? 4 : groups == 2 ? 2 : 1;
  const int32_t left = t->rows;
  const size_t stride = t->out_stride;
  const __mmask64 channels = UINT64_MAX >> (64 - t->slice->n);
  int8_t *out = t->out;
  EQ_UNROLL for (int32_t r = 0; r < rows; r += rows_at_once, out += (size_t)rows_at_once * stride) {
    if (r >= left) break;
    __m512i y[4];
    y[0] = y[1] = y[2] = y[3] = _mm512_setzero_si512();
    EQ_UNROLL for (int32_t i = 0; i < 4; i++) {
      const int32_t v = r * groups + i;
      const bool none = (groups == 3 && i == 3) || v >= rows * groups;
      if (!none) y[i] = eq_requant16_apply(sums[v], &t->slice->requant[i % groups], t->form, away);
    }
    const __m512i codes = _mm512_permutexvar_epi32(order, eq_pack64(y, t->form));
    if (groups > 2) {
      _mm512_mask_storeu_epi8(out, channels, codes);
    } else if (groups == 2) {
      const __mmask32 present = (__mmask32)channels;
      _mm256_mask_storeu_epi8(out, present, _mm512_castsi512_si256(codes));
      if (r + 1 < left) _mm256_mask_storeu_epi8(out + stride, present, _mm512_extracti64x4_epi64(codes, 1));
    } else {
      const __mmask16 present = (__mmask16)channels;
      _mm_mask_storeu_epi8(out, present, _mm512_castsi512_si128(codes));
      if (r + 1 < left) _mm_mask_storeu_epi8(out + stride, present, _mm512_extracti32x4_epi32(codes, 1));
      if (r + 2 < left) _mm_mask_storeu_epi8(out + 2 * stride, present, _mm512_extracti32x4_epi32(codes, 2));
      if (r + 3 < left) _mm_mask_storeu_epi8(out + 3 * stride, present, _mm512_extracti32x4_epi32(codes, 3));
    }
  }
}

/* The same for shifts that the vectors do not take. */
static inline void eq_finish_slowly(const eq_tile *t, const int32_t *sums) {
  const eq_slice *s = t->slice;
  const int32_t vectors = (s->n + EQ_CHANNELS - 1) / EQ_CHANNELS;
  for (int32_t r = 0; r < t->rows; r++) {
    eq_requant_s8(t->out + (size_t)r * t->out_stride, sums + r * vectors * EQ_CHANNELS, s->first, s->n, t->linear);
  }
}

/* Codes from the sums of `rows` rows and `groups` groups, both constant: they stay in registers unless shifts are odd. */
EQ_VNNI_INLINE void eq_finish_tile(const eq_tile *t, const __m512i *sums, int32_t rows, int32_t groups) {
  if (!t->slice->fast) {
    int32_t *stored = t->memory->sums;
    EQ_UNROLL for (int32_t v = 0; v < rows * groups; v++) _mm512_store_si512(stored + v * EQ_CHANNELS, sums[v]);
    eq_finish_slowly(t, stored);
  } else if (t->form->away) {
    eq_finish_quickly(t, sums, rows, groups, true);
  } else {
    eq_finish_quickly(t, sums, rows, groups, false);
  }
}

#endif
