/* SPDX-License-Identifier: Apache-2.0
 * Products of rows with packed weights: four rows, widened once for 16 channels, or all of them when they are short. */
#if defined(__ARM_FEATURE_DSP) && __ARM_ARCH_PROFILE == 'M'
#include "edgeq/format.h"
#include "kernels/dsp/products_dsp.h"
#include "kernels/dsp/requant_dsp.h"
#include "kernels/kernels.h"
#include "kernels/packed.h"

enum {
  ROWS = EQ_ROWS_DSP,
  PAIRS = 8,  /* of channels, whose sums wait on the stack */
  CHUNK = 32, /* inputs of each row that are widened at a time */
  DEPTH = 4,  /* inputs of a block */
  BLOCK_BYTES = 8,
  FEW_ROWS = 2, /* at the end, that one row at a time is better for */
};

typedef struct product {
  const eq_gemm_rows *x;
  const int8_t *w;
  size_t group_bytes;
  int32_t n;
  const eq_linear_s8 *linear;
  eq_scale_dsp *scale; /* NULL where numbers are too large for it */
} product;

static inline int32_t blocks_of(int32_t inputs) { return (inputs + DEPTH - 1) / DEPTH; }

/* The products of up to 2 * PAIRS channels, `skipped` the weights in front of them: a run of a row at a time. */
static __attribute__((noinline)) void add_rows(int32_t *sums, eq_wide_dsp *wide, const product *p, const int8_t *w, int32_t row, int32_t pairs,
                     int32_t rows, bool is_wide) {
  const eq_gemm_rows *x = p->x;
  for (int32_t i = 0; i < x->n_runs; i++) {
    const int8_t *at[ROWS];
    for (int32_t r = 0; r < ROWS; r++) at[r] = x->runs[i] + (size_t)(row + eq_min32(r, rows - 1)) * x->stride;
    for (int32_t from = 0; from < x->run; from += CHUNK) {
      const int32_t blocks = blocks_of(eq_min32(x->run - from, CHUNK));
      const size_t bytes = (size_t)(blocks * BLOCK_BYTES);
      const eq_pairs_dsp of = {w, p->group_bytes - bytes, sums + pairs * 2 * ROWS, bytes};
      if (!is_wide) eq_widen_dsp(wide, at, (size_t)from, blocks);
      eq_add_products_dsp(sums, wide, &of);
      w += bytes;
    }
  }
}

/* Up to four rows. */
static __attribute__((noinline)) void multiply_rows(int8_t *out, size_t out_stride, const product *p, int32_t row, int32_t rows) {
  eq_wide_dsp wide[CHUNK / DEPTH];
  int32_t sums[PAIRS * 2 * ROWS];
  const bool stays = p->x->n_runs == 1 && p->x->run <= CHUNK; /* as it was widened */
  eq_tile_dsp tile = {.sums = sums, .zero = p->linear->zero};
  eq_set_rows_dsp(&tile, rows, out_stride);
  const int8_t *w = p->w;
  for (int32_t first = 0; first < p->n; first += 2 * PAIRS, w += PAIRS * p->group_bytes) {
    const int32_t count = eq_min32(p->n - first, 2 * PAIRS), pairs = (count + 1) / 2;
    int32_t *to = sums;
    for (int32_t c = 0; c < count; c++, to += ROWS) to[0] = to[1] = to[2] = to[3] = p->linear->bias[first + c];
    add_rows(sums, wide, p, w, row, pairs, rows, stays && first > 0);
    tile.multipliers = p->linear->multipliers + first;
    tile.shifts = p->linear->shifts + first;
    tile.n = count;
    eq_requant_tile_dsp(out + first, out_stride, &tile, rows, first, p->linear, p->scale);
  }
}

static inline void copy_sums(int32_t *to, const int32_t *from, int32_t n) {
  for (; n >= ROWS; n -= ROWS, to += ROWS, from += ROWS) to[0] = from[0], to[1] = from[1], to[2] = from[2], to[3] = from[3];
  for (; n > 0; n--) *to++ = *from++;
}

/* One row, four channels at a time. */
static __attribute__((noinline)) void multiply_row(int8_t *out, const product *p, int32_t row) {
  int32_t sums[2 * PAIRS + 2];
  const int8_t *w = p->w;
  for (int32_t first = 0; first < p->n; first += 2 * PAIRS, w += PAIRS * p->group_bytes) {
    const int32_t count = eq_min32(p->n - first, 2 * PAIRS), pairs = (count + 1) / 2;
    copy_sums(sums, p->linear->bias + first, count);
    size_t at = 0;
    for (int32_t i = 0; i < p->x->n_runs; i++) {
      const int8_t *x = p->x->runs[i] + (size_t)row * p->x->stride;
      const size_t bytes = (size_t)(blocks_of(p->x->run) * BLOCK_BYTES);
      const size_t last = (size_t)(pairs / 2 * 2); /* which is taken twice where its number is odd */
      eq_pairs_dsp of = {w + at, p->group_bytes - bytes, sums + 2 * last, bytes};
      if (pairs > 1) eq_add_dots_dsp(sums, x, &of, p->group_bytes);
      of = (eq_pairs_dsp){w + at + last * p->group_bytes, 0, sums + 2 * last + 4, bytes};
      if (pairs % 2 != 0) eq_add_dots_dsp(sums + 2 * last, x, &of, 0);
      at += bytes;
    }
    eq_requant_row_dsp(out + first, sums, first, count, p->linear, p->scale != NULL);
  }
}

void eq_packed_gemm_s8_dsp(int8_t *out, size_t out_stride, const eq_gemm_rows *x, const int8_t *w, int32_t m, int32_t n,
                           const eq_linear_s8 *linear) {
  const int32_t k = x->n_runs * x->run;
  const product p = {.x = x, .w = w, .group_bytes = eq_packed_group_bytes(EQ_LAYOUT_C2K4, k), .n = n, .linear = linear,
                     .scale = eq_is_fast_dsp(linear, n, k) ? eq_scale_of_dsp(linear) : NULL};
  int32_t row = 0;
  for (; m - row > FEW_ROWS; row += ROWS, out += ROWS * out_stride) {
    multiply_rows(out, out_stride, &p, row, eq_min32(m - row, ROWS));
  }
  for (; row < m; row++, out += out_stride) multiply_row(out, &p, row);
}
#endif
