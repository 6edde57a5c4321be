/* SPDX-License-Identifier: Apache-2.0
 * Product of int8 rows with packed weights by SDOT: tiles of up to eight rows by eight channels, a single row by 32. */
#if defined(__aarch64__)
#include "edgeq/format.h"
#include "kernels/neon/requant_neon.h"

#define TARGET __attribute__((target("arch=armv8.2-a+dotprod")))
#define TILE_INLINE TARGET EQ_ALWAYS_INLINE

enum { GROUP = 8, HEAD_BYTES = 4 * GROUP, BLOCK_BYTES = 4 * GROUP, ROWS = 8, WIDE = 4, CHAINS = 8, LAYOUT = EQ_LAYOUT_C8K4 };

/* sums += four inputs of each row, at lane `lane` of its 16, times those of eight channels. */
#define ADD_BLOCK(lane, low, high)                                      \
  do {                                                                  \
    _Pragma("GCC unroll 8") for (int r = 0; r < rows; r++) {            \
      sums[2 * r] = vdotq_laneq_s32(sums[2 * r], low, inputs[r], lane);   \
      sums[2 * r + 1] = vdotq_laneq_s32(sums[2 * r + 1], high, inputs[r], lane);  \
    }                                                                   \
  } while (0)
#define ADD_LAST_BLOCK(lane) ADD_BLOCK(lane, vld1q_s8(w + lane * BLOCK_BYTES), vld1q_s8(w + lane * BLOCK_BYTES + 16))

/* Where the rows of a tile lie in one run. */
TILE_INLINE void find_rows(const int8_t *row[ROWS], const int8_t *run, size_t stride, int rows) {
  row[0] = run;
#pragma GCC unroll 8
  for (int r = 1; r < rows; r++) {
    row[r] = row[r - 1] + stride;
    __asm__ volatile("" : "+r"(row[r])); /* in a register of its own: compilers would add strides up in the loop */
  }
}

/* sums = bias, loaded for each row: copies between registers would take the multipliers' time. */
TILE_INLINE void load_bias(int32x4_t sums[2 * ROWS], const int32_t *bias, int rows) {
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
    __asm__ volatile("ldp %q0, %q1, [%2]"
                     : "=w"(sums[2 * r]), "=w"(sums[2 * r + 1])
                     : "r"(bias), "m"(*(const int32_t(*)[GROUP])bias));
  }
}

/* sums = bias + the products of rows first .. first + rows - 1 with one group of channels, whose blocks begin at w. */
TILE_INLINE void multiply_rows(int32x4_t sums[2 * ROWS], const int32_t *bias, const eq_gemm_rows *x, size_t first,
                               const int8_t *w, int rows) {
  const size_t stride = x->stride;
  const size_t run = (size_t)x->run, whole = run & ~(size_t)15, left = run & 15;
  const int8_t *row[ROWS];
  int8x16_t inputs[ROWS];
  size_t at = 0;
  if (whole == 0) {
    find_rows(row, x->runs[0] + first * stride, stride, rows);
    load_bias(sums, bias, rows);
  } else {
    load_bias(sums, bias, rows);
    int32_t i = 0;
    do {
      find_rows(row, x->runs[i] + first * stride, stride, rows);
      at = 0;
      do {
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) inputs[r] = vld1q_s8(row[r] + at);
        const int8x16x4_t even = vld1q_s8_x4(w);
        w += 2 * BLOCK_BYTES;
        __asm__ volatile("" : "+r"(w)); /* so that both loads move it on */
        const int8x16x4_t odd = vld1q_s8_x4(w);
        w += 2 * BLOCK_BYTES;
        ADD_BLOCK(0, even.val[0], even.val[1]);
        ADD_BLOCK(1, even.val[2], even.val[3]);
        ADD_BLOCK(2, odd.val[0], odd.val[1]);
        ADD_BLOCK(3, odd.val[2], odd.val[3]);
        at += 16;
      } while (at != whole);
    } while (++i < x->n_runs);
  }
  if (left == 0) return;
  /* inputs beyond the run meet weights of zero */
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) inputs[r] = vld1q_s8(row[r] + at);
  ADD_LAST_BLOCK(0);
  if (left > 4) ADD_LAST_BLOCK(1);
  if (left > 8) ADD_LAST_BLOCK(2);
  if (left > 12) ADD_LAST_BLOCK(3);
}

/* The same of eight rows of one run of 5 to 8 inputs, which takes no branch. */
TILE_INLINE void multiply_few(int32x4_t sums[2 * ROWS], const int32_t *bias, const eq_gemm_rows *x, size_t first,
                              const int8_t *w) {
  enum { rows = ROWS };
  const int8_t *row[ROWS];
  int8x16_t inputs[ROWS];
  find_rows(row, x->runs[0] + first * x->stride, x->stride, ROWS);
  load_bias(sums, bias, ROWS);
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) inputs[r] = vld1q_s8(row[r]);
  ADD_LAST_BLOCK(0);
  ADD_LAST_BLOCK(1);
}
#undef ADD_BLOCK
#undef ADD_LAST_BLOCK

/* chains += the products of row number `row` with 4, 2 or 1 groups of channels. Eight sums at a time hide the latency of
 * SDOT, so that a group has 1, 2 or 4 for each of its halves; they are joined in the first ones. */
TILE_INLINE void add_row(int32x4_t chains[CHAINS], const eq_gemm_rows *x, size_t row, const int8_t *w,
                         size_t group_bytes, int groups) {
#define ADD_BLOCK(lane)                                                                            \
  do {                                                                                             \
    _Pragma("GCC unroll 4") for (int g = 0; g < groups; g++) {                                     \
      const int8_t *block = w + (size_t)g * group_bytes + lane * BLOCK_BYTES;                      \
      const int chain = 2 * (g + groups * (lane % (WIDE / groups)));                               \
      chains[chain] = vdotq_laneq_s32(chains[chain], vld1q_s8(block), inputs, lane);               \
      chains[chain + 1] = vdotq_laneq_s32(chains[chain + 1], vld1q_s8(block + 16), inputs, lane);  \
    }                                                                                              \
  } while (0)
  int32_t i = 0;
  do {
    const int8_t *from = x->runs[i] + row * x->stride;
    int32_t left = x->run;
    for (; left >= 16; left -= 16, from += 16, w += 4 * BLOCK_BYTES) {
      const int8x16_t inputs = vld1q_s8(from);
      ADD_BLOCK(0);
      ADD_BLOCK(1);
      ADD_BLOCK(2);
      ADD_BLOCK(3);
    }
    if (left == 0) continue;
    const int8x16_t inputs = vld1q_s8(from);
    ADD_BLOCK(0);
    if (left > 4) ADD_BLOCK(1);
    if (left > 8) ADD_BLOCK(2);
    if (left > 12) ADD_BLOCK(3);
  } while (++i < x->n_runs);
#undef ADD_BLOCK
#pragma GCC unroll 2
  for (int apart = CHAINS / 2; apart >= 2 * groups; apart /= 2) {
#pragma GCC unroll 4
    for (int j = 0; j < apart; j++) chains[j] = vaddq_s32(chains[j], chains[j + apart]);
  }
}

#include "kernels/dotprod/product_dotprod.h"

void eq_packed_gemm_s8_dotprod(int8_t *out, size_t out_stride, const eq_gemm_rows *x, const int8_t *w, int32_t m,
                               int32_t n, const eq_linear_s8 *linear) {
  run_product(out, out_stride, x, w, m, n, linear);
}
#endif
