/* SPDX-License-Identifier: Apache-2.0
 * Matrix product with packed weights by VPDPBUSD, 64 channels by a few rows at a time.
 *
 * The instruction multiplies unsigned by signed bytes, so inputs go in as x + 128, as a rule from a copy of the tile's
 * rows, and 128 * (sum of weights) is taken off the bias. */
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include "kernels/packed.h"
#include "kernels/vnni/tile_vnni.h"

enum {
  DIRECT_ROWS = 6,   /* of the lowest tile that may read its rows in place */
  DIRECT_BYTES = 16, /* of such a row at most: longer ones are copied in less time than their blocks take one by one */
};

/* Inputs of a row from `from` on, plus 128, to be multiplied by the weights of all channels. */
EQ_VNNI_INLINE __m512i spread_inputs(const int8_t *from) { return _mm512_set1_epi32(*(const int32_t *)(const void *)from); }

/* Zero in a register that no other sum begins in: gcc 12 otherwise moves sums that begin alike in every turn of a loop. */
EQ_VNNI_INLINE __m512i zero_alone(void) {
  __m512i zero = _mm512_setzero_si512();
  __asm__("" : "+v"(zero));
  return zero;
}

/* Codes of `rows` rows and `groups` groups of channels, both constant, of which only the first rows of the tile are there;
 * `phases` neighbouring blocks of inputs have sums of their own, to hide the instruction's latency in small tiles. */
EQ_VNNI_INLINE void run_tile(const eq_tile *t, int32_t rows, int32_t groups, int32_t phases) {
  const eq_gemm_rows *x = t->x;
  const size_t group_bytes = t->slice->group_bytes;
  __m512i acc[EQ_TILE_ROWS][4][4];
  EQ_UNROLL for (int32_t r = 0; r < rows; r++) {
    EQ_UNROLL for (int32_t g = 0; g < groups; g++) {
      acc[r][g][0] = t->slice->bias[g];
      EQ_UNROLL for (int32_t p = 1; p < phases; p++) acc[r][g][p] = zero_alone();
    }
  }
  const int8_t *w = t->slice->w + 4 * EQ_CHANNELS;
  const bool direct = rows >= DIRECT_ROWS && t->rows == rows && x->n_runs == 1 && x->run <= DIRECT_BYTES;
  if (direct) {
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    const int8_t *first = x->runs[0] + t->at;
    const int8_t *starts[3] = {first, first + 6 * x->stride, first + 12 * x->stride};
    for (int32_t block = 0; block < x->run; block += 4, w += 64) {
      EQ_UNROLL for (int32_t r = 0; r < rows; r++) {
        const __m512i codes = spread_inputs(starts[r / 6] + (size_t)(r % 6) * x->stride + block);
        const __m512i in = _mm512_xor_si512(codes, flip);
        EQ_UNROLL for (int32_t g = 0; g < groups; g++) {
          acc[r][g][0] = _mm512_dpbusd_epi32(acc[r][g][0], in, _mm512_loadu_si512(w + (size_t)g * group_bytes));
        }
      }
    }
  }
  int8_t *copy = t->memory->copy;
  const int32_t pitch = EQ_TILE_COPY_BYTES / rows / 64 * 64;
  for (int32_t run = 0; run < (direct ? 0 : x->n_runs); run++) {
    for (int32_t from = 0; from < x->run; from += pitch) {
      const int32_t bytes = x->run - from < pitch ? x->run - from : pitch;
      eq_copy_rows(copy, (size_t)pitch, x->runs[run] + t->at + from, x->stride, t->rows, bytes);
      const int8_t *block = copy, *end = copy + bytes;
      for (; block + 4 * phases <= end; block += 4 * phases, w += 64 * phases) {
        EQ_UNROLL for (int32_t p = 0; p < phases; p++) {
          __m512i weights[4];
          EQ_UNROLL for (int32_t g = 0; g < groups; g++) {
            weights[g] = _mm512_loadu_si512(w + (size_t)g * group_bytes + 64 * p);
          }
          EQ_UNROLL for (int32_t r = 0; r < rows; r++) {
            const __m512i in = spread_inputs(block + r * pitch + 4 * p);
            EQ_UNROLL for (int32_t g = 0; g < groups; g++) {
              acc[r][g][p] = _mm512_dpbusd_epi32(acc[r][g][p], in, weights[g]);
            }
          }
        }
      }
      for (; block < end; block += 4, w += 64) {
        EQ_UNROLL for (int32_t r = 0; r < rows; r++) {
          const __m512i in = spread_inputs(block + r * pitch);
          EQ_UNROLL for (int32_t g = 0; g < groups; g++) {
            acc[r][g][0] = _mm512_dpbusd_epi32(acc[r][g][0], in, _mm512_loadu_si512(w + (size_t)g * group_bytes));
          }
        }
      }
    }
  }
  __m512i sums[EQ_TILE_VECTORS];
  EQ_UNROLL for (int32_t r = 0; r < rows; r++) {
    EQ_UNROLL for (int32_t g = 0; g < groups; g++) {
      __m512i sum = acc[r][g][0];
      EQ_UNROLL for (int32_t p = 1; p < phases; p++) sum = _mm512_add_epi32(sum, acc[r][g][p]);
      sums[r * groups + g] = sum;
    }
  }
  eq_finish_tile(t, sums, rows, groups);
}

/* True when rows are windows that move by a third of their runs, as those of 3x3 convolutions, of which a copy of a tile's
 * bytes holds 16 in one group or 8 in two. */
static bool are_thirds(const eq_gemm_rows *x, int32_t n) {
  const size_t third = x->stride, rows = n > EQ_CHANNELS ? 8 : 16;
  return third * 3 == (size_t)x->run && third % 4 == 0 && third * (rows + 2) <= EQ_TILE_COPY_BYTES;
}

/* As run_tile for such rows: a third of a run is read once for the three rows that have it. */
EQ_VNNI_INLINE void run_thirds(const eq_tile *t, int32_t rows, int32_t groups) {
  const eq_gemm_rows *x = t->x;
  const size_t group_bytes = t->slice->group_bytes, third = x->stride;
  __m512i sums[EQ_TILE_VECTORS];
  EQ_UNROLL for (int32_t v = 0; v < rows * groups; v++) sums[v] = t->slice->bias[v % groups];
  int8_t *copy = t->memory->copy;
  const int8_t *starts[3] = {copy, copy + 6 * third, copy + 12 * third};
  const int8_t *w = t->slice->w + 4 * EQ_CHANNELS;
  for (int32_t run = 0; run < x->n_runs; run++, w += 32 * third) {
    eq_copy_rows(copy, 0, x->runs[run] + t->at, 0, 1, (t->rows + 2) * (int32_t)third);
    for (size_t block = 0; block < third; block += 4, w += 64) {
      __m512i weights[3][2];
      EQ_UNROLL for (int32_t i = 0; i < 3; i++) {
        EQ_UNROLL for (int32_t g = 0; g < groups; g++) {
          weights[i][g] = _mm512_loadu_si512(w + (size_t)g * group_bytes + 16 * (size_t)i * third);
        }
      }
      EQ_UNROLL for (int32_t j = 0; j < rows + 2; j++) {
        const __m512i in = spread_inputs(starts[j / 6] + (size_t)(j % 6) * third + block);
        EQ_UNROLL for (int32_t i = 0; i < 3; i++) {
          const int32_t r = j - i;
          if (r < 0 || r >= rows) continue;
          EQ_UNROLL for (int32_t g = 0; g < groups; g++) {
            sums[r * groups + g] = _mm512_dpbusd_epi32(sums[r * groups + g], in, weights[i][g]);
          }
        }
      }
    }
  }
  eq_finish_tile(t, sums, rows, groups);
}

/* Functions of their own, so that each has all registers to itself. */
#define ALONE __attribute__((noinline)) EQ_VNNI static
#define TILE(rows, groups, phases) \
  ALONE void tile_##rows##x##groups(const eq_tile *t) { run_tile(t, rows, groups, phases); }
#define THIRDS(rows, groups) \
  ALONE void thirds_##rows##x##groups(const eq_tile *t) { run_thirds(t, rows, groups); }
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
THIRDS(16, 1)
THIRDS(8, 2)

/* Kinds of tiles for one number of groups, the tallest first and the last with one row. */
typedef struct kinds {
  int32_t rows[4];
  void (*run[4])(const eq_tile *t);
} kinds;

static const kinds any_rows[4] = {
    {{16, 8, 4, 1}, {tile_16x1, tile_8x1, tile_4x1, tile_1x1}},
    {{12, 8, 4, 1}, {tile_12x2, tile_8x2, tile_4x2, tile_1x2}},
    {{8, 4, 2, 1}, {tile_8x3, tile_4x3, tile_2x3, tile_1x3}},
    {{6, 4, 2, 1}, {tile_6x4, tile_4x4, tile_2x4, tile_1x4}},
};
static const kinds third_rows[2] = {
    {{16, 8, 4, 1}, {thirds_16x1, tile_8x1, tile_4x1, tile_1x1}},
    {{8, 4, 1, 1}, {thirds_8x2, tile_4x2, tile_1x2, tile_1x2}},
};

EQ_VNNI static void set_slice(eq_slice *s, const int8_t *w, int32_t first, int32_t n, const eq_linear_s8 *linear) {
  s->w = w;
  s->first = first;
  s->n = n;
  s->fast = eq_shifts_right(linear->shifts + first, n);
  for (int32_t g = 0; g * EQ_CHANNELS < n; g++) {
    const int32_t from = first + g * EQ_CHANNELS, left = n - g * EQ_CHANNELS;
    const __mmask16 present = (__mmask16)(UINT16_MAX >> (left < EQ_CHANNELS ? EQ_CHANNELS - left : 0));
    const __m512i sums = _mm512_loadu_si512(w + (size_t)g * s->group_bytes);
    const __m512i bias = s->fast ? _mm512_maskz_loadu_epi32(present, linear->bias + from) : _mm512_setzero_si512();
    s->bias[g] = _mm512_sub_epi32(bias, _mm512_slli_epi32(sums, 7));
    const __m512i m = _mm512_maskz_loadu_epi32(present, linear->multipliers + from);
    const __m512i shift = eq_right_shifts(_mm_maskz_loadu_epi8(present, linear->shifts + from));
    eq_requant16_set(&s->requant[g], m, shift, linear);
  }
}

/* `count` rows from `t`'s first on, in tiles of nearly the same height. */
static void run_rows(eq_tile t, int32_t count, const kinds *k) {
  for (int32_t tiles = (count + k->rows[0] - 1) / k->rows[0]; tiles > 0; tiles--) {
    t.rows = (count + tiles - 1) / tiles;
    int32_t kind = 0;
    while (kind < 3 && t.rows <= k->rows[kind + 1]) kind++;
    k->run[kind](&t);
    count -= t.rows;
    t.at += (size_t)t.rows * t.x->stride;
    t.out += (size_t)t.rows * t.out_stride;
  }
}

/* Codes of one row in `groups` groups of channels, 4 or 8. Every weight is read once, so that constants are best made where
 * they are used: nothing but the codes is stored. */
EQ_VNNI_INLINE void run_row(int8_t *out, const int8_t *x, int32_t k, const int8_t *w, size_t group_bytes, int32_t first,
                            const eq_linear_s8 *linear, const eq_requant_form *f, int32_t groups) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i flip = _mm512_set1_epi8((char)0x80);
  const int32_t phases = 16 / groups; /* neighbouring blocks with sums of their own, to hide latency */
  const int8_t *weights[8];
  __m512i acc[8][4];
  EQ_UNROLL for (int32_t g = 0; g < groups; g++) {
    weights[g] = w + (size_t)g * group_bytes;
    const __m512i sums = _mm512_loadu_si512(weights[g]);
    weights[g] += 4 * EQ_CHANNELS;
    acc[g][0] = _mm512_sub_epi32(_mm512_loadu_si512(linear->bias + first + g * EQ_CHANNELS), _mm512_slli_epi32(sums, 7));
    EQ_UNROLL for (int32_t p = 1; p < phases; p++) acc[g][p] = zero_alone();
  }
  const int8_t *end = x + k;
  for (const int8_t *whole = x + k % (4 * phases); x < whole; x += 4) {
    const __m512i in = _mm512_xor_si512(spread_inputs(x), flip);
    EQ_UNROLL for (int32_t g = 0; g < groups; g++) {
      acc[g][0] = _mm512_dpbusd_epi32(acc[g][0], in, _mm512_loadu_si512(weights[g]));
      weights[g] += 64;
    }
  }
  for (; x < end; x += 4 * phases) {
    EQ_UNROLL for (int32_t p = 0; p < phases; p++) {
      const __m512i in = _mm512_xor_si512(spread_inputs(x + 4 * p), flip);
      EQ_UNROLL for (int32_t g = 0; g < groups; g++) {
        acc[g][p] = _mm512_dpbusd_epi32(acc[g][p], in, _mm512_loadu_si512(weights[g] + 64 * p));
      }
    }
    EQ_UNROLL for (int32_t g = 0; g < groups; g++) weights[g] += 64 * phases;
  }
  EQ_UNROLL for (int32_t slice = 0; slice < groups; slice += 4) {
    __m512i y[4];
    EQ_UNROLL for (int32_t i = 0; i < 4; i++) {
      const int32_t g = slice + i, channel = first + g * EQ_CHANNELS;
      __m512i sum = acc[g][0];
      EQ_UNROLL for (int32_t p = 1; p < phases; p++) sum = _mm512_add_epi32(sum, acc[g][p]);
      const __m128i shifts = _mm_loadu_si128((const __m128i *)(const void *)(linear->shifts + channel));
      eq_requant16 r;
      eq_requant16_set(&r, _mm512_loadu_si512(linear->multipliers + channel), eq_right_shifts(shifts), linear);
      y[i] = f->away ? eq_requant16_apply(sum, &r, f, true) : eq_requant16_apply(sum, &r, f, false);
    }
    _mm512_storeu_si512(out + first + slice * EQ_CHANNELS, _mm512_permutexvar_epi32(order, eq_pack64(y, f)));
  }
}

/* The first channels of a product of one row that is one run, in whole slices as long as their shifts allow; returns how
 * many there were. */
EQ_VNNI static int32_t run_one_row(int8_t *out, const eq_gemm_rows *x, const int8_t *w, size_t group_bytes, int32_t n,
                                   const eq_linear_s8 *linear, const eq_requant_form *form) {
  if (x->n_runs != 1 || !eq_shifts_right(linear->shifts, n)) return 0;
  const size_t slice_bytes = group_bytes * (EQ_SLICE / EQ_CHANNELS);
  int32_t first = 0;
  for (; first + 2 * EQ_SLICE <= n; first += 2 * EQ_SLICE, w += 2 * slice_bytes) {
    run_row(out, x->runs[0], x->run, w, group_bytes, first, linear, form, 8);
  }
  for (; first + EQ_SLICE <= n; first += EQ_SLICE, w += slice_bytes) {
    run_row(out, x->runs[0], x->run, w, group_bytes, first, linear, form, 4);
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
  eq_slice s;
  eq_tile_memory memory;
  s.group_bytes = eq_packed_group_bytes(EQ_LAYOUT_C16K4, x->n_runs * x->run);
  const int32_t done = m == 1 ? run_one_row(out, x, w, s.group_bytes, n, linear, &form) : 0;
  const bool thirds = m > 4 && are_thirds(x, n);
  const int32_t slice = thirds ? 2 * EQ_CHANNELS : EQ_SLICE;
  /* rows that out follows through memory are finished a tile after the other */
  const int32_t step = n > slice && overlaps(out, out_stride, x, m) ? 6 : m;
  for (int32_t row = 0; row < m; row += step) {
    for (int32_t first = done; first < n; first += slice) {
      const int32_t count = n - first < slice ? n - first : slice;
      set_slice(&s, w + (size_t)(first / EQ_CHANNELS) * s.group_bytes, first, count, linear);
      const eq_tile t = {
          .memory = &memory, .x = x, .at = (size_t)row * x->stride, .out = out + (size_t)row * out_stride + first, .out_stride = out_stride,
          .slice = &s, .linear = linear, .form = &form,
      };
      run_rows(t, m - row < step ? m - row : step, &(thirds ? third_rows : any_rows)[(count - 1) / EQ_CHANNELS]);
    }
  }
}

#endif
