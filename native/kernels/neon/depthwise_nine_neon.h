/* SPDX-License-Identifier: Apache-2.0
 * Four output pixels of 16 channels of a depthwise convolution of nine taps.
 *
 * Every multiplication stands beside an instruction that does not multiply, as cores multiply in one pipe of two.
 * Taps are taken two by two, and pixels, too: the products of pixels 0 and 1 are in v8..v11, those of 2 and 3 in
 * v12..v15, and while one half's are made the other's are added. The first two taps of pixels 0 and 1 are multiplied
 * while the four pixels before are narrowed, and loops go on to the fourth tap (_HEAD) before they begin again: what is
 * stored then stands among multiplications, too. */
#ifndef EDGEQ_DEPTHWISE_NINE_NEON_H
#define EDGEQ_DEPTHWISE_NINE_NEON_H

#include "kernels/neon/depthwise_neon.h"

#define EQ_DW_LOW(op, d, x, w) #op " v" #d ".8h, v" #x ".8b, v" #w ".8b\n"
#define EQ_DW_HIGH(op, d, x, w) #op "2 v" #d ".8h, v" #x ".16b, v" #w ".16b\n"
#define EQ_DW_WIDEN(a, from, low) "saddw v" #a ".4s, v" #from ".4s, v" #low ".4h\n"
#define EQ_DW_WIDEN_2(a, from, low) "saddw2 v" #a ".4s, v" #from ".4s, v" #low ".8h\n"

/* Products of codes xa and xb with the weights w, in d0..d3; among them sums a..d = from + products in low and high. */
#define EQ_DW_GROUP(op, d0, d1, d2, d3, xa, xb, w, a, b, c, d, from_a, from_b, from_c, from_d, low, high, load,     \
      load_2)                                                                                                       \
  EQ_DW_LOW(op, d0, xa, w) EQ_DW_WIDEN(a, from_a, low) load EQ_DW_HIGH(op, d1, xa, w) EQ_DW_WIDEN_2(b, from_b, low) \
  EQ_DW_LOW(op, d2, xb, w) EQ_DW_WIDEN(c, from_c, high) load_2 EQ_DW_HIGH(op, d3, xb, w)                            \
  EQ_DW_WIDEN_2(d, from_d, high)
/* Products of one half, sums of a pixel of the other: its first ones, to which the bias in v28..v31 comes, or later. */
#define EQ_DW_MAKE_01(op, xa, xb, w, a, b, c, d, low, high, load, load_2) \
  EQ_DW_GROUP(op, 8, 9, 10, 11, xa, xb, w, a, b, c, d, a, b, c, d, low, high, load, load_2)
#define EQ_DW_MAKE_23(op, xa, xb, w, a, b, c, d, low, high, load, load_2) \
  EQ_DW_GROUP(op, 12, 13, 14, 15, xa, xb, w, a, b, c, d, a, b, c, d, low, high, load, load_2)
#define EQ_DW_BEGIN_01(op, xa, xb, w, a, b, c, d, low, high, load, load_2) \
  EQ_DW_GROUP(op, 8, 9, 10, 11, xa, xb, w, a, b, c, d, 28, 29, 30, 31, low, high, load, load_2)
#define EQ_DW_BEGIN_23(op, xa, xb, w, a, b, c, d, low, high, load, load_2) \
  EQ_DW_GROUP(op, 12, 13, 14, 15, xa, xb, w, a, b, c, d, 28, 29, 30, 31, low, high, load, load_2)

#define EQ_DW_LOAD(x, from, at) "ldr q" #x ", [%[" #from "], " at "]\n"
#define EQ_DW_CONSTANT(x, at) "ldr q" #x ", [%[b], #" #at "]\n"

/* The last products and the sums of both pixels of the other half. */
#define EQ_DW_LAST(d0, d1, d2, d3, xa, xb, a, b, c, d, low, high, e, f, g, h, low_2, high_2, load, load_2)      \
  EQ_DW_LOW(smull, d0, xa, 6) EQ_DW_WIDEN(a, a, low) EQ_DW_WIDEN_2(b, b, low) load EQ_DW_HIGH(smull, d1, xa, 6) \
  EQ_DW_WIDEN(c, c, high) EQ_DW_WIDEN_2(d, d, high) EQ_DW_LOW(smull, d2, xb, 6) EQ_DW_WIDEN(e, e, low_2)        \
  EQ_DW_WIDEN_2(f, f, low_2) load_2 EQ_DW_HIGH(smull, d3, xb, 6) EQ_DW_WIDEN(g, g, high_2) EQ_DW_WIDEN_2(h, h,  \
      high_2)

/* Behind the last tile, codes ahead are loaded where its own are. */
#define EQ_DW_TILE_END "csel %[by], %[by], xzr, ne\n"

/* A 3x3 window for four neighbours along one axis, with stride 1 there: six taps along that axis serve them all. x0, x1
 * and x2 are the first taps across, `a` times 1 to 5 the distance along. */
#define EQ_DW_ALONG_AHEAD                                                                         \
  "ldr q0, [%[x0]]\n" EQ_DW_LOAD(1, x0, "%[a]") EQ_DW_CONSTANT(6, 336) EQ_DW_LOAD(2, x0, "%[a2]") \
  EQ_DW_CONSTANT(7, 352) EQ_DW_LOAD(3, x0, "%[a3]")
#define EQ_DW_ALONG_LATER EQ_DW_LOAD(4, x0, "%[a4]") EQ_DW_LOAD(5, x0, "%[a5]")
/* Counts come among the sums, far behind what they need. */
#define EQ_DW_ALONG_HEAD                                                                                   \
  EQ_DW_BEGIN_23(smull, 2, 3, 6, 16, 17, 18, 19, 8, 9, "", "")                                             \
  EQ_DW_BEGIN_23(smlal, 3, 4, 7, 20, 21, 22, 23, 10, 11, EQ_DW_CONSTANT(6, 368), "ldr q0, [%[x1]]\n"       \
      EQ_DW_TILE_COUNT)                                                                                    \
  EQ_DW_BEGIN_01(smull, 2, 3, 6, 24, 25, 26, 27, 12, 13, EQ_DW_CONSTANT(7, 384), EQ_DW_LOAD(1, x1, "%[a]") \
      EQ_DW_TILE_WRAP)
#define EQ_DW_ALONG_SUMS                                                                                        \
  EQ_DW_BEGIN_01(smlal, 0, 1, 7, 28, 29, 30, 31, 14, 15, EQ_DW_LOAD(2, x1, "%[a2]"), EQ_DW_LOAD(3, x1, "%[a3]") \
      EQ_DW_TILE_WRAP_2)                                                                                        \
  EQ_DW_MAKE_23(smull, 4, 5, 6, 16, 17, 18, 19, 8, 9, "", "")                                                   \
  EQ_DW_MAKE_23(smlal, 2, 3, 7, 20, 21, 22, 23, 10, 11, EQ_DW_CONSTANT(6, 400), EQ_DW_LOAD(4, x1, "%[a4]"))     \
  EQ_DW_MAKE_01(smull, 1, 2, 6, 24, 25, 26, 27, 12, 13, EQ_DW_CONSTANT(7, 416), EQ_DW_LOAD(5, x1, "%[a5]")      \
      EQ_DW_TILE_END)                                                                                           \
  EQ_DW_MAKE_01(smlal, 2, 3, 7, 28, 29, 30, 31, 14, 15, "ldr q0, [%[x2]]\n", EQ_DW_LOAD(1, x2, "%[a]"))         \
  EQ_DW_MAKE_23(smull, 3, 4, 6, 16, 17, 18, 19, 8, 9, EQ_DW_LOAD(2, x2, "%[a2]"), "")                           \
  EQ_DW_MAKE_23(smlal, 4, 5, 7, 20, 21, 22, 23, 10, 11, EQ_DW_CONSTANT(6, 432), EQ_DW_LOAD(3, x2, "%[a3]"))     \
  EQ_DW_MAKE_01(smull, 0, 1, 6, 24, 25, 26, 27, 12, 13, EQ_DW_CONSTANT(7, 448), EQ_DW_LOAD(4, x2, "%[a4]"))     \
  EQ_DW_MAKE_01(smlal, 1, 2, 7, 28, 29, 30, 31, 14, 15, EQ_DW_LOAD(5, x2, "%[a5]"), EQ_DW_CONSTANT(0, 64))      \
  EQ_DW_MAKE_23(smull, 2, 3, 6, 16, 17, 18, 19, 8, 9, "", "")                                                   \
  EQ_DW_MAKE_23(smlal, 3, 4, 7, 20, 21, 22, 23, 10, 11, EQ_DW_CONSTANT(6, 464), EQ_DW_CONSTANT(1, 80))          \
      EQ_DW_LAST_TWO

/* The ninth tap; multipliers come into v0, v1, v7 and v2. */
#define EQ_DW_LAST_TWO                                                                                      \
  EQ_DW_LAST(8, 9, 10, 11, 2, 3, 24, 25, 26, 27, 12, 13, 28, 29, 30, 31, 14, 15, EQ_DW_CONSTANT(7, 96), "") \
  EQ_DW_LAST(12, 13, 14, 15, 4, 5, 16, 17, 18, 19, 8, 9, 20, 21, 22, 23, 10, 11, EQ_DW_CONSTANT(2, 112), "")

/* Any four pixels, with the taps' offsets in the registers named; codes are loaded two groups ahead. */
#define EQ_DW_NINE_AHEAD                                                                                      \
  "ldr q0, [%[x0]]\nldr q1, [%[x1]]\n" EQ_DW_CONSTANT(6, 336) EQ_DW_LOAD(2, x0, "x9") EQ_DW_LOAD(3, x1, "x9") \
  EQ_DW_CONSTANT(7, 352)
#define EQ_DW_NINE_HEAD                                                                                      \
  EQ_DW_BEGIN_23(smull, 4, 5, 6, 16, 17, 18, 19, 8, 9, EQ_DW_LOAD(2, x0, "x10"), EQ_DW_LOAD(3, x1, "x10"))   \
  EQ_DW_BEGIN_23(smlal, 0, 1, 7, 20, 21, 22, 23, 10, 11, EQ_DW_CONSTANT(6, 368) EQ_DW_LOAD(4, x0, "x11"),    \
      EQ_DW_LOAD(5, x1, "x11") EQ_DW_TILE_COUNT)                                                             \
  EQ_DW_BEGIN_01(smull, 2, 3, 6, 24, 25, 26, 27, 12, 13, EQ_DW_CONSTANT(7, 384) EQ_DW_LOAD(0, x2, "x10"),    \
      EQ_DW_LOAD(1, x3, "x10") EQ_DW_TILE_WRAP)
#define EQ_DW_NINE_SUMS                                                                                     \
  EQ_DW_BEGIN_01(smlal, 4, 5, 7, 28, 29, 30, 31, 14, 15, EQ_DW_LOAD(2, x2, "x11"), EQ_DW_LOAD(3, x3, "x11") \
      EQ_DW_TILE_WRAP_2)                                                                                    \
  EQ_DW_MAKE_23(smull, 0, 1, 6, 16, 17, 18, 19, 8, 9, EQ_DW_LOAD(4, x0, "x12"), EQ_DW_LOAD(5, x1, "x12"))   \
  EQ_DW_MAKE_23(smlal, 2, 3, 7, 20, 21, 22, 23, 10, 11, EQ_DW_CONSTANT(6, 400) EQ_DW_LOAD(0, x0, "x13"),    \
      EQ_DW_LOAD(1, x1, "x13"))                                                                             \
  EQ_DW_MAKE_01(smull, 4, 5, 6, 24, 25, 26, 27, 12, 13, EQ_DW_CONSTANT(7, 416) EQ_DW_LOAD(2, x2, "x12"),    \
      EQ_DW_LOAD(3, x3, "x12") EQ_DW_TILE_END)                                                              \
  EQ_DW_MAKE_01(smlal, 0, 1, 7, 28, 29, 30, 31, 14, 15, EQ_DW_LOAD(4, x2, "x13"), EQ_DW_LOAD(5, x3, "x13")) \
  EQ_DW_MAKE_23(smull, 2, 3, 6, 16, 17, 18, 19, 8, 9, EQ_DW_LOAD(0, x0, "x14"), EQ_DW_LOAD(1, x1, "x14"))   \
  EQ_DW_MAKE_23(smlal, 4, 5, 7, 20, 21, 22, 23, 10, 11, EQ_DW_CONSTANT(6, 432) EQ_DW_LOAD(2, x0, "x15"),    \
      EQ_DW_LOAD(3, x1, "x15"))                                                                             \
  EQ_DW_MAKE_01(smull, 0, 1, 6, 24, 25, 26, 27, 12, 13, EQ_DW_CONSTANT(7, 448) EQ_DW_LOAD(4, x2, "x14"),    \
      EQ_DW_LOAD(5, x3, "x14"))                                                                             \
  EQ_DW_MAKE_01(smlal, 2, 3, 7, 28, 29, 30, 31, 14, 15, EQ_DW_LOAD(0, x2, "x15"), EQ_DW_LOAD(1, x3, "x15")) \
  EQ_DW_MAKE_23(smull, 4, 5, 6, 16, 17, 18, 19, 8, 9, EQ_DW_LOAD(2, x0, "x16"), EQ_DW_LOAD(3, x1, "x16"))   \
  EQ_DW_MAKE_23(smlal, 0, 1, 7, 20, 21, 22, 23, 10, 11, EQ_DW_CONSTANT(6, 464) EQ_DW_LOAD(4, x2, "x16"),    \
      EQ_DW_LOAD(5, x3, "x16"))                                                                             \
  EQ_DW_CONSTANT(0, 64) EQ_DW_CONSTANT(1, 80) EQ_DW_LAST_TWO

/* The first two taps of pixels 0 and 1. */
#define EQ_DW_FIRST_TWO(xa, xb)                                                                               \
  EQ_DW_LOW(smull, 8, 0, 6) EQ_DW_HIGH(smull, 9, 0, 6) EQ_DW_LOW(smull, 10, 1, 6) EQ_DW_HIGH(smull, 11, 1, 6) \
  EQ_DW_LOW(smlal, 8, xa, 7) EQ_DW_HIGH(smlal, 9, xa, 7) EQ_DW_LOW(smlal, 10, xb, 7) EQ_DW_HIGH(smlal, 11, xb, 7)
#define EQ_DW_NINE_LATER \
  "ldr q4, [%[x2]]\nldr q5, [%[x3]]\n" EQ_DW_LOAD(0, x2, "x9") EQ_DW_LOAD(1, x3, "x9")

#define EQ_DW_PRODUCT(a, b) "sqrdmulh v" #a ".4s, v" #a ".4s, v" #b ".4s\n"
#define EQ_DW_CUT(a, b) "sqshrun v" #a ".4h, v" #b ".4s, #4\n"
#define EQ_DW_CUT_2(a, b) "sqshrun2 v" #a ".8h, v" #b ".4s, #4\n"
#define EQ_DW_ROUND(a, b) "urshl v" #a ".8h, v" #a ".8h, v" #b ".8h\n"
#define EQ_DW_TO_8(a, b) "uqxtn v" #a ".8b, v" #b ".8h\n"
#define EQ_DW_TO_8_2(a, b) "uqxtn2 v" #a ".16b, v" #b ".8h\n"
#define EQ_DW_CODE(a) "eor v" #a ".16b, v" #a ".16b, v14.16b\n"

/* The end of the sums of pixels 2 and 3, and codes of all four to v16..v19 where negative results all become code -128
 * and shifts go on from products that have lost EQ_DEPTHWISE_CUT bits, so that a register rounds eight. Once
 * `move` has gone to the next four, `ahead` loads what their first two taps begin with, the second with codes xa and
 * xb; `later` loads what the taps after them do. */
#define EQ_DW_NINE_RELU(move, ahead, xa, xb, later, store)                                                    \
  EQ_DW_PRODUCT(16, 0) EQ_DW_WIDEN(24, 24, 12) EQ_DW_PRODUCT(17, 1) EQ_DW_WIDEN_2(25, 25, 12)                 \
  EQ_DW_PRODUCT(18, 7) EQ_DW_WIDEN(26, 26, 13) EQ_DW_PRODUCT(19, 2) EQ_DW_WIDEN_2(27, 27, 13)                 \
  EQ_DW_PRODUCT(20, 0) EQ_DW_WIDEN(28, 28, 14) EQ_DW_PRODUCT(21, 1) EQ_DW_WIDEN_2(29, 29, 14)                 \
  EQ_DW_CUT(16, 16) EQ_DW_CONSTANT(12, 3456) EQ_DW_CONSTANT(13, 3472) move                                    \
  EQ_DW_PRODUCT(22, 7) EQ_DW_WIDEN(30, 30, 15) EQ_DW_CUT(18, 18) EQ_DW_PRODUCT(23, 2)                         \
  EQ_DW_WIDEN_2(31, 31, 15) EQ_DW_PRODUCT(24, 0) EQ_DW_CUT_2(16, 17) EQ_DW_PRODUCT(25, 1) EQ_DW_CUT_2(18, 19) \
  EQ_DW_PRODUCT(26, 7) EQ_DW_CUT(20, 20) EQ_DW_PRODUCT(27, 2) EQ_DW_CUT(22, 22)                               \
  EQ_DW_PRODUCT(28, 0) EQ_DW_ROUND(16, 12) EQ_DW_PRODUCT(29, 1) EQ_DW_CUT_2(20, 21) EQ_DW_ROUND(18, 13)       \
  EQ_DW_PRODUCT(30, 7) EQ_DW_CUT_2(22, 23) EQ_DW_CUT(24, 24) EQ_DW_PRODUCT(31, 2) EQ_DW_CUT(26, 26)           \
  ahead EQ_DW_ROUND(20, 12) EQ_DW_CUT_2(24, 25) EQ_DW_ROUND(22, 13) EQ_DW_CUT_2(26, 27) EQ_DW_CUT(28, 28)     \
  EQ_DW_LOW(smull, 8, 0, 6) EQ_DW_TO_8(16, 16) EQ_DW_CUT(30, 30) EQ_DW_HIGH(smull, 9, 0, 6)                   \
  EQ_DW_ROUND(24, 12) EQ_DW_LOW(smull, 10, 1, 6) EQ_DW_CUT_2(28, 29) EQ_DW_TO_8_2(16, 18)                     \
  EQ_DW_HIGH(smull, 11, 1, 6) EQ_DW_ROUND(26, 13) "movi v14.16b, #128\n" EQ_DW_LOW(smlal, 8, xa, 7)           \
  EQ_DW_CUT_2(30, 31) EQ_DW_TO_8(17, 20) EQ_DW_HIGH(smlal, 9, xa, 7) EQ_DW_ROUND(28, 12)                      \
  EQ_DW_LOW(smlal, 10, xb, 7) EQ_DW_TO_8(18, 24) EQ_DW_TO_8_2(17, 22) EQ_DW_HIGH(smlal, 11, xb, 7)            \
  EQ_DW_ROUND(30, 13) EQ_DW_CODE(16) later EQ_DW_TO_8(19, 28) EQ_DW_TO_8_2(18, 26) EQ_DW_CODE(17)             \
  EQ_DW_TO_8_2(19, 30) EQ_DW_BIAS store EQ_DW_CODE(18) EQ_DW_CODE(19)

/* The same for other bounds and modes, to v0, v2, v4 and v6. */
#define EQ_DW_NINE_GENERAL(move, ahead, xa, xb, later, store)                                           \
  EQ_DW_ADD_4(24, 25, 26, 27, 12, 13) EQ_DW_ADD_4(28, 29, 30, 31, 14, 15) EQ_DW_FINISH move store ahead \
  EQ_DW_FIRST_TWO(xa, xb) later EQ_DW_BIAS

/* Nine taps of all tiles of t. */
EQ_ALWAYS_INLINE void eq_depthwise_nine(int8_t *out, const int8_t *x, const eq_depthwise_tiles *t,
                                        const eq_depthwise_lanes *b, int32_t form) {
  EQ_DW_TILE_STATE;
#define EQ_DW_NINE(place, finish)                                                                   \
  __asm__ volatile(place "add x16, %[b], #2416\nldp x9, x10, [x16, #8]\nldp x11, x12, [x16, #24]\n" \
                   "ldp x13, x14, [x16, #40]\nldp x15, x16, [x16, #56]\n" /* the first one is 0 */  \
                   EQ_DW_NINE_AHEAD EQ_DW_BIAS EQ_DW_FIRST_TWO(2, 3) EQ_DW_NINE_LATER               \
                   EQ_DW_NINE_HEAD "1:\n" EQ_DW_NINE_SUMS finish EQ_DW_NINE_HEAD                    \
                   "cbnz %w[left], 1b\n"                                                            \
                   : EQ_DW_TILE_POINTERS                                                            \
                   : EQ_DW_TILE_INPUTS, [form] "r"(form)                                            \
                   : "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", EQ_DW_CLOBBERS)
  if (form == 0) {
    EQ_DW_NINE(EQ_DW_WITHIN_A_PAGE, EQ_DW_NINE_RELU(EQ_DW_TILE_MOVE, EQ_DW_NINE_AHEAD, 2, 3, EQ_DW_NINE_LATER,
                                                    EQ_DW_TILE_STORE_01(16, 17)) EQ_DW_TILE_STORE_23(18, 19));
  } else {
    EQ_DW_NINE("", EQ_DW_NINE_GENERAL(EQ_DW_TILE_MOVE, EQ_DW_NINE_AHEAD, 2, 3, EQ_DW_NINE_LATER,
                                      EQ_DW_TILE_STORE_01(0, 2) EQ_DW_TILE_STORE_23(4, 6)));
  }
}

/* Tiles of four neighbours along one axis for a 3x3 window with a stride of 1 along it: the taps of the window lie as
 * far apart as the pixels. The weights are in the order along, then across. */
EQ_ALWAYS_INLINE void eq_depthwise_along(int8_t *out, const int8_t *x, const eq_depthwise_tiles *t,
                                         const eq_depthwise_lanes *b, int32_t form) {
  const size_t a = t->x_next, across = b->offsets[3], step = t->out_next;
  const int8_t *x0 = x, *x1 = x0 + across, *x2 = x1 + across;
  int32_t left = t->count, in_line = t->in_line;
  size_t by, out_by;
#define EQ_DW_ALONG_MOVE "add %[x0], %[x0], %[by]\nadd %[x1], %[x1], %[by]\nadd %[x2], %[x2], %[by]\n"
#define EQ_DW_ALONG_STORE_01(a, b) "str q" #a ", [%[out]]\nstr q" #b ", [%[out], %[step]]\n"
#define EQ_DW_ALONG_STORE_23(a, b) \
  "str q" #a ", [%[out], %[step2]]\nstr q" #b ", [%[out], %[step3]]\nadd %[out], %[out], %[out_by]\n"
#define EQ_DW_ALONG(place, finish)                                                                                    \
  __asm__ volatile(place EQ_DW_ALONG_AHEAD EQ_DW_BIAS EQ_DW_FIRST_TWO(1, 2) EQ_DW_ALONG_LATER EQ_DW_ALONG_HEAD "1:\n" \
                   EQ_DW_ALONG_SUMS finish EQ_DW_ALONG_HEAD                                                           \
                   "cbnz %w[left], 1b\n"                                                                              \
                   : [x0] "+&r"(x0), [x1] "+&r"(x1), [x2] "+&r"(x2), [out] "+&r"(out), [left] "+&r"(left),            \
                     [in_line] "+&r"(in_line), [by] "=&r"(by), [out_by] "=&r"(out_by)                                 \
                   : [b] "r"(b), [a] "r"(a), [a2] "r"(2 * a), [a3] "r"(3 * a), [a4] "r"(4 * a), [a5] "r"(5 * a),      \
                     [step] "r"(step), [step2] "r"(2 * step), [step3] "r"(3 * step), [x_step] "r"(t->x_step),         \
                     [out_step] "r"(t->out_step), [x_wrap] "r"(t->x_wrap), [out_wrap] "r"(t->out_wrap),               \
                     [tiles] "r"(t->in_line), [form] "r"(form)                                                        \
                   : EQ_DW_CLOBBERS)
  if (form == 0) {
    EQ_DW_ALONG(EQ_DW_WITHIN_A_PAGE, EQ_DW_NINE_RELU(EQ_DW_ALONG_MOVE, EQ_DW_ALONG_AHEAD, 1, 2, EQ_DW_ALONG_LATER,
                                                     EQ_DW_ALONG_STORE_01(16, 17)) EQ_DW_ALONG_STORE_23(18, 19));
  } else {
    EQ_DW_ALONG("", EQ_DW_NINE_GENERAL(EQ_DW_ALONG_MOVE, EQ_DW_ALONG_AHEAD, 1, 2, EQ_DW_ALONG_LATER,
                                       EQ_DW_ALONG_STORE_01(0, 2) EQ_DW_ALONG_STORE_23(4, 6)));
  }
}

#endif
