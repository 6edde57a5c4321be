/* SPDX-License-Identifier: Apache-2.0
 * Every kernel's type and contract, and the table that dispatches to the fastest twin of each.
 * Pointers never alias unless the contract says so. Every twin is exact. */
#ifndef EDGEQ_KERNELS_H
#define EDGEQ_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* out[i] = table[in[i]] for i < n. out may be in. */
typedef void eq_lut_u8_fn(uint8_t *out, const uint8_t *in, const uint8_t table[256], int32_t n);

/* What turns sums of int8 products into int8 codes, one entry per output channel, zero points folded into the bias:
 * y = clamp(zero + requant(bias[c] + sum, multipliers[c], shifts[c])), bounds act_min <= act_max, all four in int8.
 * mode is EQ_MODE_DOUBLE, SINGLE or EXACT; 0 <= multipliers, -31 <= shifts <= 30. The addition of the bias wraps. */
typedef struct eq_linear_s8 {
  const int32_t *bias;
  const int32_t *multipliers;
  const int8_t *shifts;
  int32_t weights_zero; /* int8; subtracted from every weight, 0 in all but legacy models */
  int32_t zero;
  int32_t act_min;
  int32_t act_max;
  int32_t mode;
} eq_linear_s8;

/* out[r][c] = y(sum_i x[r][i] * (w[c][i] - weights_zero)) for r < m, c < n, i < k; 0 <= k <= 65536.
 * Rows of x and out lie x_stride and out_stride bytes apart; w is n x k row-major. out overlaps nothing. */
typedef void eq_gemm_s8_fn(int8_t *out, size_t out_stride, const int8_t *x, size_t x_stride, const int8_t *w, int32_t m,
                           int32_t n, int32_t k, const eq_linear_s8 *linear);

/* The taps of a depthwise convolution that lie in the image, and the bytes from one to the next. */
typedef struct eq_depthwise_window {
  int32_t rows;
  int32_t columns; /* rows * columns <= 65536; either may be 0 */
  size_t x_row;
  size_t x_column;
  size_t x_pixel; /* from one output pixel's first tap to the next one's */
  size_t w_row;
  size_t w_column;
} eq_depthwise_window;

/* out[p][c] = y(sum_taps x[p][tap][c] * (w[tap][c] - weights_zero)) for p < m output pixels, c < channels.
 * out is dense and overlaps nothing. */
typedef void eq_depthwise_s8_fn(int8_t *out, const int8_t *x, const int8_t *w, int32_t m, int32_t channels,
                                const eq_depthwise_window *window, const eq_linear_s8 *linear);

/* What turns 64-bit sums of int16 x int8 products into int16 codes, zero points being 0:
 * y = clamp(requant(bias[c] + sum, multipliers[c], shifts[c])), |bias| <= 2^46, 0 <= multipliers, -31 <= shifts <= 14,
 * bounds in int16. mode is EQ_MODE_INT16 or EXACT. */
typedef struct eq_linear_s16 {
  const int64_t *bias;
  const int32_t *multipliers;
  const int8_t *shifts;
  int32_t act_min;
  int32_t act_max;
  int32_t mode;
} eq_linear_s16;

/* out[r][c] = y(sum_i x[r][i] * w[c][i]) for r < m, c < n, i < k; 0 <= k <= 2^22. Strides are in elements. */
typedef void eq_gemm_s16_fn(int16_t *out, size_t out_stride, const int16_t *x, size_t x_stride, const int8_t *w,
                            int32_t m, int32_t n, int32_t k, const eq_linear_s16 *linear);

/* out[i] = (sum over four taps of in[tap][i] * weights[tap]) / 2^20 for i < n, rounded to nearest, ties away from zero.
 * The weights are >= 0 and add up to 2^20. Taps may be the same memory; out overlaps none. */
typedef void eq_blend_s8_fn(int8_t *out, const int8_t *const in[4], const int32_t weights[4], int32_t n);

/* One member per kernel; kernels/<isa>/kernels.inc lists the members that an ISA speeds up. */
typedef struct eq_kernels {
  const char *isa;
  eq_lut_u8_fn *lut_u8;
  eq_gemm_s8_fn *gemm_s8;
  eq_depthwise_s8_fn *depthwise_s8;
  eq_gemm_s16_fn *gemm_s16;
  eq_blend_s8_fn *blend_s8;
} eq_kernels;

/* Choose the fastest table for this CPU once; EDGEQ_ISA is honoured by the port that has an environment. */
const eq_kernels *eq_kernels_select(const char *forced_isa);

#endif
