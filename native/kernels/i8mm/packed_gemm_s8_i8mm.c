/* SPDX-License-Identifier: Apache-2.0
 * Product of int8 rows with packed weights by SMMLA, two rows by two channels at a time; of a single row by SDOT. */
#if defined(__aarch64__)
#include "edgeq/format.h"
#include "kernels/neon/requant_neon.h"

#define TARGET __attribute__((target("arch=armv8.2-a+dotprod+i8mm")))
#define TILE_INLINE TARGET EQ_ALWAYS_INLINE

enum { GROUP = 8, HEAD_BYTES = 4 * GROUP, BLOCK_BYTES = 8 * GROUP, ROWS = 8, PAIRS = 4, CHAINS = 8, LAYOUT = EQ_LAYOUT_C8K8 };

TILE_INLINE int8x16_t low_halves(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

TILE_INLINE int8x16_t high_halves(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s64(vzip2q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

/* squares += eight inputs of each pair of rows times those of eight channels. */
TILE_INLINE void add_block(int32x4_t squares[ROWS / 2][PAIRS], const int8x16_t pairs[ROWS / 2], const int8_t *w, int rows) {
#pragma GCC unroll 4
  for (int c = 0; c < PAIRS; c++) {
    const int8x16_t weights = vld1q_s8(w + 16 * c);
#pragma GCC unroll 4
    for (int r = 0; r < rows / 2; r++) squares[r][c] = vmmlaq_s32(squares[r][c], pairs[r], weights);
  }
}

/* sums = bias + the products of rows first .. first + rows - 1 with one group of channels, whose blocks begin at w. */
TILE_INLINE void multiply_rows(int32x4_t sums[2 * ROWS], const int32_t *bias, const eq_gemm_rows *x, size_t first,
                               const int8_t *w, int rows) {
  int32x4_t squares[ROWS / 2][PAIRS]; /* a row's two channels, then the next row's */
#pragma GCC unroll 4
  for (int c = 0; c < PAIRS; c++) {
    const int32x2_t two = vld1_s32(bias + 2 * c);
#pragma GCC unroll 4
    for (int r = 0; r < rows / 2; r++) squares[r][c] = vcombine_s32(two, two);
  }
  int32_t i = 0;
  do {
    const int8_t *row[ROWS];
    row[0] = x->runs[i] + first * x->stride;
#pragma GCC unroll 8
    for (int r = 1; r < rows; r++) row[r] = row[r - 1] + x->stride;
    /* inputs beyond the run meet weights of zero */
    for (int32_t at = 0; at < x->run; at += 16) {
      int8x16_t low[ROWS / 2], high[ROWS / 2];
#pragma GCC unroll 4
      for (int r = 0; r < rows / 2; r++) {
        const int8x16_t even = vld1q_s8(row[2 * r] + at), odd = vld1q_s8(row[2 * r + 1] + at);
        low[r] = low_halves(even, odd);
        high[r] = high_halves(even, odd);
      }
      add_block(squares, low, w, rows);
      w += BLOCK_BYTES;
      if (x->run - at <= 8) break;
      add_block(squares, high, w, rows);
      w += BLOCK_BYTES;
    }
  } while (++i < x->n_runs);
#pragma GCC unroll 8
  for (int r = 0; r < rows / 2; r++) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
      const int64x2_t a = vreinterpretq_s64_s32(squares[r][2 * h]), b = vreinterpretq_s64_s32(squares[r][2 * h + 1]);
      sums[4 * r + h] = vreinterpretq_s32_s64(vzip1q_s64(a, b));
      sums[4 * r + 2 + h] = vreinterpretq_s32_s64(vzip2q_s64(a, b));
    }
  }
}

TILE_INLINE void multiply_few(int32x4_t sums[2 * ROWS], const int32_t *bias, const eq_gemm_rows *x, size_t first,
                              const int8_t *w) {
  multiply_rows(sums, bias, x, first, w, ROWS);
}

/* chains += the products of row number `row` with 4, 2 or 1 groups of channels; two chains for each group. */
TILE_INLINE void add_row(int32x4_t chains[CHAINS], const eq_gemm_rows *x, size_t row, const int8_t *w, size_t group_bytes,
                         int groups) {
  int32x4_t halves[CHAINS / 2][PAIRS]; /* of two channels, two sums each */
#pragma GCC unroll 4
  for (int g = 0; g < groups; g++) {
#pragma GCC unroll 4
    for (int c = 0; c < PAIRS; c++) halves[g][c] = vdupq_n_s32(0);
  }
  int32_t i = 0;
  do {
    const int8_t *from = x->runs[i] + row * x->stride;
    for (int32_t left = x->run; left > 0; left -= 8, from += 8, w += BLOCK_BYTES) {
      const int8x8_t eight = vld1_s8(from);
      const int8x16_t inputs = vcombine_s8(eight, eight);
#pragma GCC unroll 4
      for (int g = 0; g < groups; g++) {
#pragma GCC unroll 4
        for (int c = 0; c < PAIRS; c++) {
          halves[g][c] = vdotq_s32(halves[g][c], vld1q_s8(w + (size_t)g * group_bytes + 16 * c), inputs);
        }
      }
    }
  } while (++i < x->n_runs);
#pragma GCC unroll 4
  for (int g = 0; g < groups; g++) {
    chains[2 * g] = vaddq_s32(chains[2 * g], vpaddq_s32(halves[g][0], halves[g][1]));
    chains[2 * g + 1] = vaddq_s32(chains[2 * g + 1], vpaddq_s32(halves[g][2], halves[g][3]));
  }
}

#include "kernels/dotprod/product_dotprod.h"

void eq_packed_gemm_s8_i8mm(int8_t *out, size_t out_stride, const eq_gemm_rows *x, const int8_t *w, int32_t m, int32_t n,
                            const eq_linear_s8 *linear) {
  run_product(out, out_stride, x, w, m, n, linear);
}
#endif
