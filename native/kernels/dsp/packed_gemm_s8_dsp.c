/* SPDX-License-Identifier: Apache-2.0
 * Products of rows with packed weights: four rows, widened once for 16 channels, or all of them when they are short. */
#if defined(__ARM_FEATURE_DSP) && __ARM_ARCH_PROFILE == 'M'
#include "edgeq/format.h"
#include "kernels/dsp/products_dsp.h"
#include "kernels/dsp/requant_dsp.h"
#include "kernels/kernels.h"
#include "kernels/packed.h"

enum {
  ROWS = 4,
  PAIRS = 8,  /* of channels, whose sums wait on the stack */
  CHUNK = 32, /* inputs of each row that are widened at a time */
  DEPTH = 4,  /* inputs of a block */
  BLOCK_BYTES = 8,
  FEW_ROWS = 2,       /* at the end, that one row at a time is better for */
  LONGEST = 1 << 15,  /* inputs whose products add up to less than 2^29 */
};

typedef struct product {
  const eq_gemm_rows *x;
  const int8_t *w;
  size_t group_bytes;
  int32_t n;
  const eq_linear_s8 *linear;
  bool fast;
} product;

/* What the sums of channel c begin with; there is none behind the last channel of an odd number. */
static inline int32_t start_of(const product *p, int32_t c) { return p->fast && c < p->n ? p->linear->bias[c] : 0; }

static inline int32_t blocks_of(int32_t inputs) { return (inputs + DEPTH - 1) / DEPTH; }

/* The products of up to 2 * PAIRS channels, `skipped` the weights in front of them: a run of a row at a time. */
static void add_rows(int32_t *sums, eq_wide_dsp *wide, const product *p, const int8_t *w, int32_t row, int32_t pairs,
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
static void multiply_rows(int8_t *out, size_t out_stride, const product *p, int32_t row, int32_t rows) {
  eq_wide_dsp wide[CHUNK / DEPTH];
  int32_t sums[PAIRS * 2 * ROWS];
  const bool stays = p->x->n_runs == 1 && p->x->run <= CHUNK; /* as it was widened */
  const int8_t *w = p->w;
  for (int32_t first = 0; first < p->n; first += 2 * PAIRS, w += PAIRS * p->group_bytes) {
    const int32_t count = eq_min32(p->n - first, 2 * PAIRS), pairs = (count + 1) / 2;
    int32_t *to = sums;
    for (int32_t c = first; c < first + count; c += 2) {
      const int32_t even = start_of(p, c), odd = start_of(p, c + 1);
      for (int32_t r = 0; r < ROWS; r++, to += 2) to[0] = even, to[1] = odd;
    }
    add_rows(sums, wide, p, w, row, pairs, rows, stays && first > 0);
    const eq_sums_dsp of = {sums, 2, 2 * ROWS, rows, count};
    eq_requant_s8_dsp(out + first, out_stride, &of, first, p->linear, p->fast);
  }
}

/* One row, four channels at a time. */
static void multiply_row(int8_t *out, const product *p, int32_t row) {
  int32_t sums[2 * PAIRS];
  const int8_t *w = p->w;
  for (int32_t first = 0; first < p->n; first += 2 * PAIRS) {
    const int32_t count = eq_min32(p->n - first, 2 * PAIRS);
    for (int32_t c = 0; c < count; c += 4) {
      for (int32_t i = 0; i < 4; i++) sums[c + i] = start_of(p, first + c + i);
      const size_t next = count - c > 2 ? p->group_bytes : 0; /* the last pair alone is taken twice */
      size_t at = 0;
      for (int32_t i = 0; i < p->x->n_runs; i++) {
        const int32_t blocks = blocks_of(p->x->run);
        const int8_t *x = p->x->runs[i] + (size_t)row * p->x->stride;
        if (blocks > 0) eq_add_dots_dsp(sums + c, x, w + at, w + at + next, blocks);
        at += (size_t)(blocks * BLOCK_BYTES);
      }
      w += 2 * p->group_bytes;
    }
    const eq_sums_dsp of = {sums, 0, 2, 1, count};
    eq_requant_s8_dsp(out + first, 0, &of, first, p->linear, p->fast);
  }
}

void eq_packed_gemm_s8_dsp(int8_t *out, size_t out_stride, const eq_gemm_rows *x, const int8_t *w, int32_t m, int32_t n,
                           const eq_linear_s8 *linear) {
  const int32_t k = x->n_runs * x->run;
  const product p = {.x = x, .w = w, .group_bytes = eq_packed_group_bytes(EQ_LAYOUT_C2K4, k), .n = n, .linear = linear,
                     .fast = k <= LONGEST && eq_is_fast_dsp(linear, n)};
  int32_t row = 0;
  for (; m - row > FEW_ROWS; row += ROWS, out += ROWS * out_stride) {
    multiply_rows(out, out_stride, &p, row, eq_min32(m - row, ROWS));
  }
  for (; row < m; row++, out += out_stride) multiply_row(out, &p, row);
}
#endif
