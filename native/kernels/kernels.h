/* SPDX-License-Identifier: Apache-2.0
 * Every kernel's type and contract, and the table that dispatches to the fastest twin of each.
 * Pointers never alias unless the contract says so. Every twin is exact. */
#ifndef EDGEQ_KERNELS_H
#define EDGEQ_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* out[i] = table[in[i]] for i < n. out may be in. */
typedef void eq_lut_u8_fn(uint8_t *out, const uint8_t *in, const uint8_t table[256], int32_t n);

/* What turns sums of int8 products into int8 codes, one entry per output channel, zero points folded into the bias:
 * y = clamp(zero + requant(bias[c] + sum, multipliers[c], shifts[c])), bounds act_min <= act_max, all four in int8.
 * mode is EQ_MODE_DOUBLE, SINGLE, EXACT or SHIFT; 0 <= multipliers, -31 <= shifts <= 30. The addition of the bias wraps.
 * In mode SHIFT all multipliers are EQ_HALF, so that a twin may treat it as SINGLE, which gives the same. */
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

/* out[r][c] = sum_i x[r][i] * w[c][i] for r < m, c < n, i < k; 0 <= k <= 65536. Rows of x lie x_stride bytes apart, those of
 * out out_stride elements; w is n x k row-major. out overlaps nothing. */
typedef void eq_sums_s8_fn(int32_t *out, size_t out_stride, const int8_t *x, size_t x_stride, const int8_t *w, int32_t m,
                           int32_t n, int32_t k);

/* Rows of an image with a margin around them; all but the counts of rows are bytes. */
typedef struct eq_padded_rows {
  int32_t above; /* rows of fill alone, then `inside` rows of the image, then `below` rows of fill alone */
  int32_t inside;
  int32_t below;
  uint8_t fill;
  size_t left; /* an inside row is `left` bytes of fill, `middle` of the image and `right` of fill */
  size_t middle;
  size_t right;
  size_t pitch; /* from one row of the image to the next */
} eq_padded_rows;

/* Write the rows, dense, to `to`; from points at the image's first byte that is read and is not used when inside or middle
 * is 0. Up to 15 bytes behind the last row are written. to and from do not overlap. */
typedef void eq_pad_rows_u8_fn(uint8_t *to, const uint8_t *from, const eq_padded_rows *rows);

/* Where the rows of a packed product lie: row r is its runs i in turn, each `run` bytes at runs[i] + r * stride. Every
 * run may be read up to a multiple of 16 bytes; what lies there beyond `run` does not matter. Several runs have
 * lengths that are multiples of 16. */
typedef struct eq_gemm_rows {
  const int8_t *const *runs;
  int32_t n_runs;
  int32_t run;
  size_t stride;
} eq_gemm_rows;

/* As gemm_s8, with weights_zero 0, for r < m and c < n: w is packed in the table's layout (kernels/packed.h), k is
 * x->n_runs * x->run. Groups of rows are finished in ascending order, at most EQ_GEMM_ROWS at a time: once a group is
 * being written, no row before it is read, and out may lie over those. Otherwise out overlaps nothing. */
enum { EQ_GEMM_ROWS = 16 };
typedef void eq_packed_gemm_s8_fn(int8_t *out, size_t out_stride, const eq_gemm_rows *x, const int8_t *w, int32_t m,
                                  int32_t n, const eq_linear_s8 *linear);

/* A block of output pixels of a depthwise convolution, `lines` lines of `pixels` each, whose windows have the same taps in
 * the image: rows * columns of them. Distances are in bytes. */
typedef struct eq_depthwise_window {
  int32_t lines;
  int32_t pixels;
  int32_t rows;
  int32_t columns; /* rows * columns <= 65536; either may be 0 */
  size_t x_row;    /* from a tap to the one below it */
  size_t x_column; /* from a tap to its right neighbour */
  size_t x_pixel;  /* from an output pixel's first tap to the next one's */
  size_t x_line;   /* from an output line's first tap to the next one's */
  size_t w_row;
  size_t w_column;
  size_t out_line;
  const uint8_t *chains; /* NULL, or for every 8 channels a number of taps: the |w| of as many neighbours, in the row-major
                            order of the whole kernel, add up to at most 255, so that their products can be added in
                            int16. In a window whose columns do not fill w_row, taps of two rows are no neighbours. */
} eq_depthwise_window;

/* out[l][p][c] = y(sum_taps x[l][p][tap][c] * (w[tap][c] - weights_zero)) for each line l, pixel p and c < channels; pixels
 * of out are `channels` bytes apart. out overlaps nothing. */
typedef void eq_depthwise_s8_fn(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
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

/* Kinds of codes of low-bit weights; permanent codes of the model file. A code stands for an integer: */
enum {
  EQ_CODE_TWOS = 0,      /* itself in two's complement */
  EQ_CODE_UNSIGNED = 1,  /* itself */
  EQ_CODE_LEVELS = 2,    /* the entry of a table */
  EQ_CODE_TERNARY = 3,   /* -1, 0, 1, 1, of 2 bits */
  EQ_CODE_SHIFTS = 4,    /* in a table's entry bits 0-4, 5-9, 10-14 are exponents e of up to three powers of two that are
                            added, 31 being none, and bit 15 is their sign */
  EQ_CODE_MINIFLOAT = 5, /* sign, exponent e, mantissa f from the top bit down: f for e = 0, else (2^bits(f) + f) << (e - 1) */
};

/* n rows of k codes. w[c][i] = scales[c][g] * (meaning of code (c, i) - zeros[c][g]) with g = i / group. */
typedef struct eq_coded_weights {
  int32_t kind;
  int32_t bits;          /* of a code, 1 .. 8; a row begins in the lowest bit of its first byte and fills up its last */
  int32_t mantissa_bits; /* of MINIFLOAT, whose integers have at most 40 bits: mantissa bits + largest exponent <= 40 */
  int32_t group;         /* inputs, the last group of a row may have fewer; 0: there are neither scales nor zeros */
  const uint8_t *codes;
  const int16_t *levels; /* of LEVELS and SHIFTS: 2^bits entries */
  size_t levels_step;    /* entries from a row's table to the next row's; 0 when all share one */
  const uint8_t *scales;
  const uint8_t *zeros;       /* NULL for none, as of all kinds but UNSIGNED */
  const int64_t *wide_biases; /* NULL, or instead of the biases of eq_linear_s8 */
} eq_coded_weights;

/* out[r][c] = y(sum_i x[r][i] * w[c][i]) as in gemm_s8, for r < m, c < n, i < k; 0 <= k <= 65536. Sums wrap at 32
 * bits; with wide_biases they are below 2^47, linear's shifts are <= 14 and its mode is SINGLE or EXACT. linear's weights_zero is not
 * used. Rows are finished in groups and out may lie over x as for packed_gemm_s8. Sums of TERNARY take additions and
 * subtractions alone, those of SHIFTS shifts and additions: the only products are with scales. */
typedef void eq_coded_gemm_s8_fn(int8_t *out, size_t out_stride, const int8_t *x, size_t x_stride,
                                 const eq_coded_weights *w, int32_t m, int32_t n, int32_t k, const eq_linear_s8 *linear);

/* out[i] = (sum over four taps of in[tap][i] * weights[tap]) / 2^20 for i < n, rounded to nearest, ties away from zero.
 * The weights are >= 0 and add up to 2^20. Taps may be the same memory; out overlaps none. */
typedef void eq_blend_s8_fn(int8_t *out, const int8_t *const in[4], const int32_t weights[4], int32_t n);

/* out[i] = table[256 + (in[i] >> 7)], interpolated linearly by the low 7 bits and rounded, for i < n. out may be in. */
typedef void eq_lut_s16_fn(int16_t *out, const int16_t *in, const int16_t table[513], int32_t n);

/* out[i] = sigmoid or tanh of in[i] in Q0.15 for i < n; table[i] = sigmoid(i / 24) - 1/2 in Q0.16. out may be in. */
struct eq_sigmoid_s16_params;
typedef void eq_sigmoid_s16_fn(int16_t *out, const int16_t *in, const int16_t table[256], int32_t n,
                               const struct eq_sigmoid_s16_params *p);

/* Elementwise: out[i] = f(a[i * a_step], b[i * b_step]) for i < n, with the step's formula f and its parameters p. The
 * steps are 0 or 1. out may be an operand whose step is 1, and overlaps neither otherwise. */
struct eq_add_params;
struct eq_mul_params;
struct eq_squared_difference_params;
struct eq_prelu_params;
typedef void eq_add_s8_fn(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                          const struct eq_add_params *p);
typedef void eq_add_s16_fn(int16_t *out, const int16_t *a, int32_t a_step, const int16_t *b, int32_t b_step, int32_t n,
                           const struct eq_add_params *p);
typedef void eq_mul_s8_fn(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                          const struct eq_mul_params *p);
typedef void eq_mul_s16_fn(int16_t *out, const int16_t *a, int32_t a_step, const int16_t *b, int32_t b_step, int32_t n,
                           const struct eq_mul_params *p);
typedef void eq_squared_difference_s8_fn(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step,
                                         int32_t n, const struct eq_squared_difference_params *p);
typedef void eq_prelu_s8_fn(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                            const struct eq_prelu_params *p);
typedef void eq_minmax_s8_fn(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                             bool maximum);

/* The part of an image under one pooling window; pixels are `channels` elements, lines x_row elements apart. */
typedef struct eq_pool_window {
  int32_t rows;
  int32_t columns; /* 1 <= rows * columns <= 65535 */
  int32_t channels;
  size_t x_row;
  int32_t act_min;
  int32_t act_max;
  bool ties_up;
} eq_pool_window;

/* out[c] = clamp(mean or maximum of x[tap][c] over the window) for c < channels; means round to nearest, ties up or
 * else away from zero. x points at the window's first tap. out overlaps nothing. */
typedef void eq_average_pool_s8_fn(int8_t *out, const int8_t *x, const eq_pool_window *window);
typedef void eq_average_pool_s16_fn(int16_t *out, const int16_t *x, const eq_pool_window *window);
typedef void eq_max_pool_s8_fn(int8_t *out, const int8_t *x, const eq_pool_window *window);
typedef void eq_max_pool_s16_fn(int16_t *out, const int16_t *x, const eq_pool_window *window);

/* out = 256 * e / sum(e) - 128 along each of `rows` rows of `depth` codes, e = exps[max - in]; 1 <= depth <= 4095.
 * exps >= 0 in Q0.31, exps[0] = INT32_MAX. Quotients are gemmlowp's, see eq_recip1p. out may be in. */
typedef void eq_softmax_s8_fn(int8_t *out, const int8_t *in, const int32_t exps[256], int32_t rows, int32_t depth);

/* out = e / sum(e) in Q0.15 along each row, e = exps at (in - max), by tables interpolated as in lut_s16; rows, depth,
 * multiplier and shift are those of p. 1 <= depth <= 65535, entries >= 0, exps' last two >= 2^14. out overlaps
 * nothing: it holds e for a while. */
struct eq_softmax_s16_params;
typedef void eq_softmax_s16_fn(int16_t *out, const int16_t *in, const int16_t exps[513], const int16_t reciprocals[513],
                               const struct eq_softmax_s16_params *p);

/* out = requant((in - zero) << left_shift, eq_invsqrt(sum of (in - zero)^2) * 2^(7 - left_shift)) along each row; rows,
 * depth, zero, left_shift and mode are those of p. 1 <= depth <= 33025, 0 <= left_shift <= 7. out may be in. */
struct eq_l2_normalization_params;
typedef void eq_l2_normalize_s8_fn(int8_t *out, const int8_t *in, const struct eq_l2_normalization_params *p);

/* Kinds of reduction; permanent codes of the model file. */
enum { EQ_REDUCE_SUM = 0, EQ_REDUCE_MAX = 1, EQ_REDUCE_MIN = 2 };

/* m results of n elements each; distances are in elements. */
typedef struct eq_reduce_block {
  int32_t m;
  int32_t n;
  size_t x_kept;
  size_t x_reduced;
  int32_t kind;
} eq_reduce_block;

/* found[i] = found[i] + sum, or the largest or smallest, of x[i * x_kept + j * x_reduced] over j < n, for i < m. The caller
 * sees to it that sums stay within int32. found overlaps nothing. */
typedef void eq_reduce_s8_fn(int32_t *found, const int8_t *x, const eq_reduce_block *block);
typedef void eq_reduce_s16_fn(int32_t *found, const int16_t *x, const eq_reduce_block *block);

/* One member per kernel; kernels/<isa>/kernels.inc lists the members that an ISA speeds up. */
typedef struct eq_kernels {
  const char *isa;
  uint32_t layout; /* of packed_gemm_s8's weights; EQ_LAYOUT_PORTABLE when it has none */
  eq_lut_u8_fn *lut_u8;
  eq_pad_rows_u8_fn *pad_rows_u8;
  eq_gemm_s8_fn *gemm_s8;
  eq_packed_gemm_s8_fn *packed_gemm_s8; /* NULL in a table whose layout is portable */
  eq_depthwise_s8_fn *depthwise_s8;
  eq_sums_s8_fn *sums_s8;
  eq_gemm_s16_fn *gemm_s16;
  eq_coded_gemm_s8_fn *coded_gemm_s8;
  eq_blend_s8_fn *blend_s8;
  eq_lut_s16_fn *lut_s16;
  eq_sigmoid_s16_fn *sigmoid_s16;
  eq_add_s8_fn *add_s8;
  eq_add_s16_fn *add_s16;
  eq_mul_s8_fn *mul_s8;
  eq_mul_s16_fn *mul_s16;
  eq_minmax_s8_fn *minmax_s8;
  eq_squared_difference_s8_fn *squared_difference_s8;
  eq_prelu_s8_fn *prelu_s8;
  eq_average_pool_s8_fn *average_pool_s8;
  eq_average_pool_s16_fn *average_pool_s16;
  eq_max_pool_s8_fn *max_pool_s8;
  eq_max_pool_s16_fn *max_pool_s16;
  eq_softmax_s8_fn *softmax_s8;
  eq_softmax_s16_fn *softmax_s16;
  eq_l2_normalize_s8_fn *l2_normalize_s8;
  eq_reduce_s8_fn *reduce_s8;
  eq_reduce_s16_fn *reduce_s16;
} eq_kernels;

/* The fastest table of this CPU, or the one called forced_isa; NULL when the build or the CPU lacks that one. EDGEQ_ISA is
 * honoured by the ports that have an environment. */
const eq_kernels *eq_kernels_select(const char *forced_isa);

/* The fastest table of this CPU that reads packed weights of a layout; NULL when there is none. */
const eq_kernels *eq_kernels_for_layout(uint32_t layout);

/* Table number i of this CPU, slowest first; NULL beyond the last. */
const eq_kernels *eq_kernels_at(uint32_t i);

#endif
