/* SPDX-License-Identifier: Apache-2.0
 * The inner loops of matrix products with weights in layout C2K4. They are written in assembly, as compilers neither load
 * several words with one instruction nor keep as many sums in registers; a naked function is one that both GCC and LLVM
 * leave all registers to. */
#ifndef EDGEQ_PRODUCTS_DSP_H
#define EDGEQ_PRODUCTS_DSP_H

#include <stddef.h>
#include <stdint.h>

/* A block of four inputs of four rows, as pairs of int16. */
typedef struct eq_wide_dsp {
  int32_t even[4]; /* inputs 0 and 2 of each row */
  int32_t odd[4];  /* inputs 1 and 3 */
} eq_wide_dsp;

/* Widen `blocks` >= 1 blocks of four rows, `from` bytes behind their beginnings. */
void eq_widen_dsp(eq_wide_dsp *to, const int8_t *const rows[4], size_t from, int32_t blocks);

/* Blocks of the weights of some pairs of channels, and where their sums end. */
typedef struct eq_pairs_dsp {
  const int8_t *w;
  size_t w_skip; /* from behind the last block of a pair to the first of the next one */
  const int32_t *sums_end;
  size_t w_bytes; /* of the blocks of one pair, at least one of 8 bytes */
} eq_pairs_dsp;

/* sums[channel][row] += x[row] * w[channel] over the blocks, for four rows and every pair. */
void eq_add_products_dsp(int32_t *sums, const eq_wide_dsp *x, const eq_pairs_dsp *pairs);

/* sums[channel] += x * w[channel] over the blocks, for one row and every two pairs, the second of which lies `distance`
 * bytes behind the first; w_skip is counted from behind the second one's last block. */
void eq_add_dots_dsp(int32_t *sums, const int8_t *x, const eq_pairs_dsp *pairs, size_t distance);

#endif
