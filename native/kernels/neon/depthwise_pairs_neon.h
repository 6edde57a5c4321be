/* SPDX-License-Identifier: Apache-2.0
 * Tiles of four output pixels of 16 channels of a depthwise convolution of any number of taps, where high products
 * can be cut before they are rounded.
 *
 * As with nine taps, the products of pixels 0 and 1 are in v8..v11, those of 2 and 3 in v12..v15, and while one half's
 * are made the other's are added. The next tile's first pair of all and second one of pixels 0 and 1 are multiplied
 * while a tile is narrowed and stored. */
#ifndef EDGEQ_DEPTHWISE_PAIRS_NEON_H
#define EDGEQ_DEPTHWISE_PAIRS_NEON_H

#include "kernels/neon/depthwise_nine_neon.h"

/* Weights of the first pair, whose first offset is 0, and its codes of pixels 0 and 1. */
#define EQ_DW_PAIRS_AHEAD                                                                                     \
  "ldr %[o1], [%[b], #2424]\nadd %[o], %[b], #2432\nadd %[w], %[b], #368\nldr q0, [%[x0]]\nldr q1, [%[x1]]\n" \
  EQ_DW_CONSTANT(6, 336) EQ_DW_LOAD(2, x0, "%[o1]") EQ_DW_LOAD(3, x1, "%[o1]") EQ_DW_CONSTANT(7, 352)
/* Its codes of pixels 2 and 3, and the second pair's offsets. */
#define EQ_DW_PAIRS_LATER                                                                    \
  "ldr q4, [%[x2]]\nldr q5, [%[x3]]\n" EQ_DW_LOAD(0, x2, "%[o1]") EQ_DW_LOAD(1, x3, "%[o1]") \
  "ldp %[o0], %[o1], [%[o]]\n"

/* A pair of pixels 2 and 3 and the next one of pixels 0 and 1. One pair of offsets more than there are is read. */
#define EQ_DW_PAIRS_NEXT(make_23, make_01)                                                              \
  make_23(smull, 4, 5, 6, 16, 17, 18, 19, 8, 9, EQ_DW_LOAD(2, x0, "%[o0]"), EQ_DW_LOAD(3, x1, "%[o0]")) \
  make_23(smlal, 0, 1, 7, 20, 21, 22, 23, 10, 11, "ldr q6, [%[w]]\n" EQ_DW_LOAD(4, x0, "%[o1]"),        \
      EQ_DW_LOAD(5, x1, "%[o1]"))                                                                       \
  make_01(smull, 2, 3, 6, 24, 25, 26, 27, 12, 13, "ldr q7, [%[w], #16]\nadd %[w], %[w], #32\n",         \
      EQ_DW_LOAD(0, x2, "%[o1]") EQ_DW_LOAD(1, x3, "%[o1]") "add %[o], %[o], #16\n")                    \
  make_01(smlal, 4, 5, 7, 28, 29, 30, 31, 14, 15, "", EQ_DW_LOAD(4, x2, "%[o0]"))                       \
  EQ_DW_LOAD(5, x3, "%[o0]") "ldp %[o0], %[o1], [%[o]]\ncmp %[o], %[end]\n"
#define EQ_DW_PAIRS_FIRST EQ_DW_PAIRS_NEXT(EQ_DW_BEGIN_23, EQ_DW_BEGIN_01)

#define EQ_DW_PAIRS_NONE(a)
#define EQ_DW_PAIRS_DOWN(a) "ssra v" #a ".4s, v" #a ".4s, #31\n"
#define EQ_DW_PAIRS_ZERO(a) "sqadd v" #a ".8h, v" #a ".8h, v14.8h\n"
#define EQ_DW_PAIRS_CUT(op, a, b) #op " v" #a ".4h, v" #b ".4s, #4\n"
#define EQ_DW_PAIRS_CUT_2(op, a, b) #op "2 v" #a ".8h, v" #b ".4s, #4\n"
#define EQ_DW_PAIRS_ROUND(op, a, b) #op " v" #a ".8h, v" #a ".8h, v" #b ".8h\n"
#define EQ_DW_PAIRS_TO_8(op, a, b) #op " v" #a ".8b, v" #b ".8h\n"
#define EQ_DW_PAIRS_TO_8_2(op, a, b) #op "2 v" #a ".16b, v" #b ".8h\n"

/* The last pair of pixels 2 and 3 and codes of all four to v16..v19: `down` takes one off negative products, so that
 * their ties go away from zero, `last` loads v14, `zero` adds the zero point there, `code` turns codes of 0..255 into
 * signed ones by it. */
#define EQ_DW_PAIRS_END(down, cut, round, last, zero, to_8, code)                                                     \
  EQ_DW_MAKE_23(smull, 4, 5, 6, 16, 17, 18, 19, 8, 9, EQ_DW_CONSTANT(2, 64), EQ_DW_CONSTANT(3, 80) EQ_DW_TILE_COUNT)  \
  EQ_DW_MAKE_23(smlal, 0, 1, 7, 20, 21, 22, 23, 10, 11, EQ_DW_CONSTANT(4, 96) EQ_DW_TILE_WRAP,                        \
      EQ_DW_CONSTANT(5, 112) EQ_DW_TILE_WRAP_2)                                                                       \
  EQ_DW_PRODUCT(16, 2) EQ_DW_WIDEN(24, 24, 12) EQ_DW_PRODUCT(17, 3) EQ_DW_WIDEN_2(25, 25, 12)                         \
  EQ_DW_PRODUCT(18, 4) EQ_DW_WIDEN(26, 26, 13) EQ_DW_PRODUCT(19, 5) EQ_DW_WIDEN_2(27, 27, 13)                         \
  EQ_DW_TILE_END EQ_DW_CONSTANT(12, 3456) EQ_DW_CONSTANT(13, 3472)                                                    \
  EQ_DW_PRODUCT(20, 2) EQ_DW_WIDEN(28, 28, 14) down(16) EQ_DW_PRODUCT(21, 3) EQ_DW_WIDEN_2(29, 29, 14) down(17)       \
  EQ_DW_PRODUCT(22, 4) EQ_DW_WIDEN(30, 30, 15) down(18) EQ_DW_PRODUCT(23, 5) EQ_DW_WIDEN_2(31, 31, 15) down(19)       \
  EQ_DW_TILE_MOVE last                                                                                                \
  EQ_DW_PRODUCT(24, 2) EQ_DW_PAIRS_CUT(cut, 16, 16) down(20) EQ_DW_PRODUCT(25, 3) EQ_DW_PAIRS_CUT(cut, 18, 18)        \
  down(21) EQ_DW_PRODUCT(26, 4) EQ_DW_PAIRS_CUT_2(cut, 16, 17) down(22) EQ_DW_PRODUCT(27, 5)                          \
  EQ_DW_PAIRS_CUT_2(cut, 18, 19) down(23) EQ_DW_PRODUCT(28, 2) EQ_DW_PAIRS_CUT(cut, 20, 20)                           \
  EQ_DW_PAIRS_ROUND(round, 16, 12) EQ_DW_PRODUCT(29, 3) EQ_DW_PAIRS_CUT(cut, 22, 22) EQ_DW_PAIRS_ROUND(round, 18, 13) \
  EQ_DW_PRODUCT(30, 4) EQ_DW_PAIRS_CUT_2(cut, 20, 21) down(24) EQ_DW_PRODUCT(31, 5)                                   \
  EQ_DW_PAIRS_CUT_2(cut, 22, 23) down(25) EQ_DW_PAIRS_AHEAD                                                           \
  zero(16) EQ_DW_PAIRS_ROUND(round, 20, 12) down(26) zero(18) EQ_DW_PAIRS_ROUND(round, 22, 13) down(27)               \
  EQ_DW_LOW(smull, 8, 0, 6) EQ_DW_PAIRS_CUT(cut, 24, 24) down(28) EQ_DW_HIGH(smull, 9, 0, 6)                          \
  EQ_DW_PAIRS_CUT(cut, 26, 26) down(29) EQ_DW_LOW(smull, 10, 1, 6) EQ_DW_PAIRS_CUT_2(cut, 24, 25) down(30)            \
  EQ_DW_HIGH(smull, 11, 1, 6) EQ_DW_PAIRS_CUT_2(cut, 26, 27) down(31)                                                 \
  EQ_DW_LOW(smlal, 8, 2, 7) EQ_DW_PAIRS_TO_8(to_8, 16, 16) EQ_DW_PAIRS_CUT(cut, 28, 28) EQ_DW_HIGH(smlal, 9, 2, 7)    \
  EQ_DW_PAIRS_ROUND(round, 24, 12) EQ_DW_PAIRS_CUT(cut, 30, 30) EQ_DW_LOW(smlal, 10, 3, 7)                            \
  EQ_DW_PAIRS_TO_8_2(to_8, 16, 18) EQ_DW_PAIRS_CUT_2(cut, 28, 29) EQ_DW_HIGH(smlal, 11, 3, 7)                         \
  EQ_DW_PAIRS_ROUND(round, 26, 13) EQ_DW_PAIRS_CUT_2(cut, 30, 31) zero(20) zero(22) EQ_DW_PAIRS_LATER                 \
  EQ_DW_PAIRS_TO_8(to_8, 17, 20) EQ_DW_PAIRS_ROUND(round, 28, 12) zero(24) code(16) EQ_DW_PAIRS_TO_8_2(to_8, 17, 22)  \
  EQ_DW_PAIRS_ROUND(round, 30, 13) zero(26) EQ_DW_PAIRS_TO_8(to_8, 18, 24) zero(28) code(17)                          \
  EQ_DW_PAIRS_TO_8_2(to_8, 18, 26) zero(30) EQ_DW_PAIRS_TO_8(to_8, 19, 28) EQ_DW_TILE_STORE_01(16, 17) code(18)       \
  EQ_DW_PAIRS_TO_8_2(to_8, 19, 30) EQ_DW_BIAS code(19) EQ_DW_TILE_STORE_23(18, 19) EQ_DW_PAIRS_FIRST

#define EQ_DW_PAIRS_RELU \
  EQ_DW_PAIRS_END(EQ_DW_PAIRS_NONE, sqshrun, urshl, "movi v14.16b, #128\n", EQ_DW_PAIRS_NONE, uqxtn, EQ_DW_CODE)
#define EQ_DW_PAIRS_SIGNED \
  EQ_DW_PAIRS_END(EQ_DW_PAIRS_DOWN, sqshrn, srshl, EQ_DW_CONSTANT(14, 304), EQ_DW_PAIRS_ZERO, sqxtn, EQ_DW_PAIRS_NONE)

/* All tiles of t with the first `taps` offsets and weights of b, an even number above 2; form is 0 or EQ_DW_SIGNED. */
EQ_ALWAYS_INLINE void eq_depthwise_pairs(int8_t *out, const int8_t *x, const eq_depthwise_tiles *t,
                                         const eq_depthwise_lanes *b, int32_t taps, int32_t form) {
  EQ_DW_TILE_STATE;
  const size_t *o, *end = b->offsets + taps;
  size_t o0, o1;
  const int8_t *w;
#define EQ_DW_PAIRS_ALL(finish)                                                                              \
  __asm__ volatile(EQ_DW_WITHIN_A_PAGE EQ_DW_PAIRS_AHEAD EQ_DW_FIRST_TWO(2, 3) EQ_DW_BIAS EQ_DW_PAIRS_LATER  \
                   EQ_DW_PAIRS_FIRST                                                                         \
                   "1:\nb.eq 3f\n2:\n" EQ_DW_PAIRS_NEXT(EQ_DW_MAKE_23, EQ_DW_MAKE_01) "b.ne 2b\n3:\n" finish \
                   "cbnz %w[left], 1b\n"                                                                     \
                   : EQ_DW_TILE_POINTERS, [o] "=&r"(o), [w] "=&r"(w), [o0] "=&r"(o0), [o1] "=&r"(o1)         \
                   : EQ_DW_TILE_INPUTS, [end] "r"(end)                                                       \
                   : EQ_DW_CLOBBERS)
  if (form == 0) {
    EQ_DW_PAIRS_ALL(EQ_DW_PAIRS_RELU);
  } else {
    EQ_DW_PAIRS_ALL(EQ_DW_PAIRS_SIGNED);
  }
}

#endif
