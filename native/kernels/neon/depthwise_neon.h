/* SPDX-License-Identifier: Apache-2.0
 * Four output pixels of 16 channels of a depthwise convolution.
 *
 * In assembly because order matters: on an in-order core a result is there six cycles after its instruction, so every
 * instruction stands at least that far behind the one it needs, loads stand together, and all 32 registers are in use.
 * v16..v31 hold the sums, four registers a pixel; v8..v15 products in int16; v6 and v7 the weights of two taps. */
#ifndef EDGEQ_DEPTHWISE_NEON_H
#define EDGEQ_DEPTHWISE_NEON_H

#include "kernels/neon/requant_neon.h"

enum { EQ_DEPTHWISE_LANES = 16, EQ_DEPTHWISE_TAPS = 64, EQ_DEPTHWISE_SLOTS = 2 * EQ_DEPTHWISE_TAPS + 2 };
enum { EQ_DEPTHWISE_CUT = 4 }; /* bits that high products lose before their rounding shifts, where none is seen */

/* A block of channels: what follows the sums, and taps in pairs whose products add up in int16. The assembly knows the
 * distances of the members. */
typedef struct eq_depthwise_lanes {
  int32_t bias[EQ_DEPTHWISE_LANES];        /* at 0 */
  int32_t multipliers[EQ_DEPTHWISE_LANES]; /* at 64 */
  int32_t shifts[EQ_DEPTHWISE_LANES];      /* at 128; <= 0 */
  int32_t away[EQ_DEPTHWISE_LANES];        /* at 192; as shifts where ties go away from zero, 0 elsewhere */
  uint8_t top[EQ_DEPTHWISE_LANES];         /* at 256; act_max + 128 */
  int8_t high[EQ_DEPTHWISE_LANES];         /* at 272; act_max */
  int8_t low[EQ_DEPTHWISE_LANES];          /* at 288; act_min */
  int16_t zero[EQ_DEPTHWISE_LANES];        /* at 304; twice the same eight */
  int8_t weights[EQ_DEPTHWISE_SLOTS][EQ_DEPTHWISE_LANES]; /* at 336 */
  size_t offsets[EQ_DEPTHWISE_SLOTS];                     /* at 2416; of taps from a pixel's first one */
  int16_t shifts_cut[EQ_DEPTHWISE_LANES];                 /* at 3456; shifts of what has lost EQ_DEPTHWISE_CUT bits */
} eq_depthwise_lanes;
_Static_assert(offsetof(eq_depthwise_lanes, weights) == 336 && offsetof(eq_depthwise_lanes, offsets) == 2416 &&
                   offsetof(eq_depthwise_lanes, shifts_cut) == 3456,
               "the assembly below relies on it");

/* Products of 16 codes in x with the weights in w; mull starts a pair of taps, mlal adds its second. */
#define EQ_DW_MUL(op, low, high, x, w)          \
  #op " v" #low ".8h, v" #x ".8b, v" #w ".8b\n" \
  #op "2 v" #high ".8h, v" #x ".16b, v" #w ".16b\n"

/* Sums a..d of a pixel = from.. + products. */
#define EQ_DW_ADD_LOW(a, b, from_a, from_b, low)      \
  "saddw v" #a ".4s, v" #from_a ".4s, v" #low ".4h\n" \
  "saddw2 v" #b ".4s, v" #from_b ".4s, v" #low ".8h\n"
#define EQ_DW_ADD_4(a, b, c, d, low, high) EQ_DW_ADD_LOW(a, b, a, b, low) EQ_DW_ADD_LOW(c, d, c, d, high)
/* The bias is in the fourth pixel's sums at first. */
#define EQ_DW_BIAS "ldr q28, [%[b]]\nldr q29, [%[b], #16]\nldr q30, [%[b], #32]\nldr q31, [%[b], #48]\n"
#define EQ_DW_BEGIN_4(a, b, c, d, low, high) EQ_DW_ADD_LOW(a, b, 28, 29, low) EQ_DW_ADD_LOW(c, d, 30, 31, high)

#define EQ_DW_WEIGHTS(at) "ldp q6, q7, [%[b], #" #at "]\n"

/* Sums of any four pixels, with the taps' offsets in the registers named. The fourth pixel's products lie where the
 * first two's taps were, and are taken in before the next pair's taps arrive. */
#define EQ_DW_TAP(a, b, c, d, offset)                                    \
  "ldr q" #a ", [%[x0], " offset "]\nldr q" #b ", [%[x1], " offset "]\n" \
  "ldr q" #c ", [%[x2], " offset "]\nldr q" #d ", [%[x3], " offset "]\n"
#define EQ_DW_LOAD_PAIR(o, o2) EQ_DW_TAP(0, 1, 2, 3, o) EQ_DW_TAP(4, 5, 14, 15, o2)
#define EQ_DW_FIRST_ANY                                       \
  EQ_DW_MUL(smull, 8, 9, 0, 6) EQ_DW_MUL(smull, 10, 11, 1, 6) \
  EQ_DW_MUL(smull, 0, 1, 3, 6) EQ_DW_MUL(smull, 12, 13, 2, 6)
#define EQ_DW_SECOND_ANY                                     \
  EQ_DW_MUL(smlal, 8, 9, 4, 7) EQ_DW_MUL(smlal, 0, 1, 15, 7) \
  EQ_DW_MUL(smlal, 10, 11, 5, 7) EQ_DW_MUL(smlal, 12, 13, 14, 7) EQ_DW_ADD_FOURTH
#define EQ_DW_ADD_FOURTH EQ_DW_ADD_4(28, 29, 30, 31, 0, 1)
#define EQ_DW_ADD_THREE(add) add(16, 17, 18, 19, 8, 9) add(20, 21, 22, 23, 10, 11) add(24, 25, 26, 27, 12, 13)
#define EQ_DW_BEGIN_ANY                                                      \
  EQ_DW_FIRST_ANY EQ_DW_MUL(smlal, 8, 9, 4, 7) EQ_DW_MUL(smlal, 0, 1, 15, 7) \
  EQ_DW_MUL(smlal, 10, 11, 5, 7) EQ_DW_MUL(smlal, 12, 13, 14, 7)             \
  EQ_DW_ADD_THREE(EQ_DW_BEGIN_4) EQ_DW_ADD_FOURTH
/* The same for any number of pairs of taps, whose offsets end at `end`. One pair of offsets more is read. */
#define EQ_DW_SUMS_PAIRS                                                                              \
  "add %[o], %[b], #2416\nadd %[w], %[b], #368\nldp %[at], %[o1], [%[o]]\n"                           \
  EQ_DW_LOAD_PAIR("%[at]", "%[o1]") EQ_DW_WEIGHTS(336) EQ_DW_BIAS                                     \
  "add %[o], %[o], #16\nldp %[at], %[o1], [%[o]]\ncmp %[o], %[end]\n" EQ_DW_BEGIN_ANY "b.eq 3f\n2:\n" \
  EQ_DW_LOAD_PAIR("%[at]", "%[o1]") "ldp q6, q7, [%[w]]\n"                                            \
  "add %[o], %[o], #16\nadd %[w], %[w], #32\nldp %[at], %[o1], [%[o]]\ncmp %[o], %[end]\n"            \
  EQ_DW_FIRST_ANY EQ_DW_SECOND_ANY EQ_DW_ADD_THREE(EQ_DW_ADD_4) "b.ne 2b\n3:\n"

/* Sums to results: high product and rounding shift. Multipliers are in v0..v3, shifts in v4..v7. */
#define EQ_DW_EACH(op, a, b, c, d, f)                                                         \
  #op " v" #a ".4s, v" #a ".4s, v" f(0) ".4s\n" #op " v" #b ".4s, v" #b ".4s, v" f(1) ".4s\n" \
  #op " v" #c ".4s, v" #c ".4s, v" f(2) ".4s\n" #op " v" #d ".4s, v" #d ".4s, v" f(3) ".4s\n"
#define EQ_DW_MULTIPLIER(i) #i
#define EQ_DW_SHIFT(i) "1" #i
#define EQ_DW_ALL(op, f)                                                                                \
  EQ_DW_EACH(op, 16, 17, 18, 19, f) EQ_DW_EACH(op, 20, 21, 22, 23, f) EQ_DW_EACH(op, 24, 25, 26, 27, f) \
  EQ_DW_EACH(op, 28, 29, 30, 31, f)
#define EQ_DW_CONSTANTS \
  "ldp q0, q1, [%[b], #64]\nldp q2, q3, [%[b], #96]\nldp q10, q11, [%[b], #128]\nldp q12, q13, [%[b], #160]\n"

/* Less one where negative and to be shifted, which rounds ties down: sum += (sum & away) >> 31. */
#define EQ_DW_DOWN_4(a, b, c, d)                                       \
  "and v4.16b, v" #a ".16b, v0.16b\nand v5.16b, v" #b ".16b, v1.16b\n" \
  "and v6.16b, v" #c ".16b, v2.16b\nand v7.16b, v" #d ".16b, v3.16b\n" \
  "ssra v" #a ".4s, v4.4s, #31\nssra v" #b ".4s, v5.4s, #31\n"         \
  "ssra v" #c ".4s, v6.4s, #31\nssra v" #d ".4s, v7.4s, #31\n"
#define EQ_DW_DOWN                                                                       \
  "ldp q0, q1, [%[b], #192]\nldp q2, q3, [%[b], #224]\n"                                 \
  EQ_DW_DOWN_4(16, 17, 18, 19) EQ_DW_DOWN_4(20, 21, 22, 23) EQ_DW_DOWN_4(24, 25, 26, 27) \
  EQ_DW_DOWN_4(28, 29, 30, 31)

/* Where negative results all become code -128: saturated to 0 .. 255, then moved. */
#define EQ_DW_NARROW_RELU                                                                        \
  "sqxtun v0.4h, v16.4s\nsqxtun v1.4h, v18.4s\nsqxtun v2.4h, v20.4s\nsqxtun v3.4h, v22.4s\n"     \
  "sqxtun v4.4h, v24.4s\nsqxtun v5.4h, v26.4s\nsqxtun v6.4h, v28.4s\nsqxtun v7.4h, v30.4s\n"     \
  "sqxtun2 v0.8h, v17.4s\nsqxtun2 v1.8h, v19.4s\nsqxtun2 v2.8h, v21.4s\nsqxtun2 v3.8h, v23.4s\n" \
  "sqxtun2 v4.8h, v25.4s\nsqxtun2 v5.8h, v27.4s\nsqxtun2 v6.8h, v29.4s\nsqxtun2 v7.8h, v31.4s\n" \
  "uqxtn v0.8b, v0.8h\nuqxtn v2.8b, v2.8h\nuqxtn v4.8b, v4.8h\nuqxtn v6.8b, v6.8h\n"             \
  "movi v9.16b, #128\n"                                                                          \
  "uqxtn2 v0.16b, v1.8h\nuqxtn2 v2.16b, v3.8h\nuqxtn2 v4.16b, v5.8h\nuqxtn2 v6.16b, v7.8h\n"     \
  "umin v0.16b, v0.16b, v8.16b\numin v2.16b, v2.16b, v8.16b\numin v4.16b, v4.16b, v8.16b\n"      \
  "umin v6.16b, v6.16b, v8.16b\n"                                                                \
  "eor v0.16b, v0.16b, v9.16b\neor v2.16b, v2.16b, v9.16b\neor v4.16b, v4.16b, v9.16b\neor v6.16b, v6.16b, v9.16b\n"

#define EQ_DW_NARROW                                                                                                 \
  "sqxtn v0.4h, v16.4s\nsqxtn v1.4h, v18.4s\nsqxtn v2.4h, v20.4s\nsqxtn v3.4h, v22.4s\n"                             \
  "sqxtn v4.4h, v24.4s\nsqxtn v5.4h, v26.4s\nsqxtn v6.4h, v28.4s\nsqxtn v7.4h, v30.4s\n"                             \
  "sqxtn2 v0.8h, v17.4s\nsqxtn2 v1.8h, v19.4s\nsqxtn2 v2.8h, v21.4s\nsqxtn2 v3.8h, v23.4s\n"                         \
  "sqxtn2 v4.8h, v25.4s\nsqxtn2 v5.8h, v27.4s\nsqxtn2 v6.8h, v29.4s\nsqxtn2 v7.8h, v31.4s\n"                         \
  "ldp q8, q9, [%[b], #272]\nldr q10, [%[b], #304]\n"                                                                \
  "sqadd v0.8h, v0.8h, v10.8h\nsqadd v1.8h, v1.8h, v10.8h\nsqadd v2.8h, v2.8h, v10.8h\nsqadd v3.8h, v3.8h, v10.8h\n" \
  "sqadd v4.8h, v4.8h, v10.8h\nsqadd v5.8h, v5.8h, v10.8h\nsqadd v6.8h, v6.8h, v10.8h\nsqadd v7.8h, v7.8h, v10.8h\n" \
  "sqxtn v0.8b, v0.8h\nsqxtn v2.8b, v2.8h\nsqxtn v4.8b, v4.8h\nsqxtn v6.8b, v6.8h\n"                                 \
  "sqxtn2 v0.16b, v1.8h\nsqxtn2 v2.16b, v3.8h\nsqxtn2 v4.16b, v5.8h\nsqxtn2 v6.16b, v7.8h\n"                         \
  "smin v0.16b, v0.16b, v8.16b\nsmin v2.16b, v2.16b, v8.16b\nsmin v4.16b, v4.16b, v8.16b\n"                          \
  "smin v6.16b, v6.16b, v8.16b\n"                                                                                    \
  "smax v0.16b, v0.16b, v9.16b\nsmax v2.16b, v2.16b, v9.16b\nsmax v4.16b, v4.16b, v9.16b\n"                          \
  "smax v6.16b, v6.16b, v9.16b\n"

/* From sums to codes in v0, v2, v4 and v6. */
#define EQ_DW_FINISH                                                                  \
  EQ_DW_CONSTANTS "ldr q8, [%[b], #256]\ntbz %w[form], #1, 6f\n"                      \
  "tbnz %w[form], #3, 7f\n" EQ_DW_ALL(sqdmulh, EQ_DW_MULTIPLIER) "b 7f\n"                                       \
  "6:\n" EQ_DW_ALL(sqrdmulh, EQ_DW_MULTIPLIER) EQ_DW_DOWN                             \
  "7:\n" EQ_DW_ALL(srshl, EQ_DW_SHIFT) "tbz %w[form], #0, 8f\n" EQ_DW_NARROW "b 9f\n" \
  "8:\n" EQ_DW_NARROW_RELU "9:\n"

/* On to the next tile, in the line or behind it. */
#define EQ_DW_TILE_COUNT "subs %w[in_line], %w[in_line], #1\n"
#define EQ_DW_TILE_WRAP "csel %w[in_line], %w[tiles], %w[in_line], eq\ncsel %[by], %[x_step], %[x_wrap], ne\n"
#define EQ_DW_TILE_WRAP_2 "csel %[out_by], %[out_step], %[out_wrap], ne\nsubs %w[left], %w[left], #1\n"
#define EQ_DW_TILE_MOVE                                                                       \
  "add %[x0], %[x0], %[by]\nadd %[x1], %[x1], %[by]\nadd %[x2], %[x2], %[by]\n"               \
  "add %[x3], %[x3], %[by]\n"
#define EQ_DW_TILE_STORE_01(a, b) \
  "str q" #a ", [%[out]]\nstr q" #b ", [%[out], %[out_next]]\nadd %[at], %[out], %[out_second]\n"
#define EQ_DW_TILE_STORE_23(a, b) \
  "str q" #a ", [%[at]]\nstr q" #b ", [%[at], %[out_next]]\nadd %[out], %[out], %[out_by]\n"

#define EQ_DW_CLOBBERS                                                                                           \
  "cc", "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", \
      "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29",   \
      "v30",                                                                                                     \
      "v31"

/* In front of what is less than 2048 bytes long, so that it lies in one page; where size counts, that is not worth the
 * padding. */
#if defined(__OPTIMIZE_SIZE__)
#define EQ_DW_WITHIN_A_PAGE ""
#else
#define EQ_DW_WITHIN_A_PAGE "b 0f\n.p2align 11\n0:\n"
#endif

/* How the assembly makes codes of sums. */
enum {
  EQ_DW_GENERAL = 1,                /* negative results may stay; otherwise they all become code -128, that of 0 */
  EQ_DW_SINGLE = 2,                 /* mode single, shifts < 0; otherwise mode double */
  EQ_DW_SHIFTED = EQ_DW_SINGLE | 8, /* mode shift: no products, and shifts less one */
  EQ_DW_SIGNED = EQ_DW_GENERAL | 4, /* no code is out of bounds, and products can be cut, as where all this is 0 */
  EQ_DW_OTHER = -1,                 /* not at all: eq_requant_s8 does */
};

/* Tiles of four pixels: the second lies `next` behind the first, the third `second`, the fourth `next` behind that.
 * From tile to tile x and out go on by the steps, at the end of a line by the wraps. */
typedef struct eq_depthwise_tiles {
  size_t x_step;
  size_t x_wrap;
  size_t out_step;
  size_t out_wrap;
  size_t x_next;
  size_t x_second;
  size_t out_next;
  size_t out_second;
  int32_t in_line; /* >= 1 */
  int32_t count;   /* in all lines; >= 1 */
} eq_depthwise_tiles;

#define EQ_DW_TILE_STATE                                                                                        \
  const int8_t *x0 = x, *x1 = x0 + t->x_next, *x2 = x0 + t->x_second, *x3 = x2 + t->x_next;                     \
  int32_t left = t->count, in_line = t->in_line;                                                                \
  size_t by, out_by, at
#define EQ_DW_TILE_POINTERS                                                                                 \
  [x0] "+&r"(x0), [x1] "+&r"(x1), [x2] "+&r"(x2), [x3] "+&r"(x3), [out] "+&r"(out), [left] "+&r"(left),     \
      [in_line] "+&r"(in_line), [by] "=&r"(by), [out_by] "=&r"(out_by), [at] "=&r"(at)
#define EQ_DW_TILE_INPUTS                                                                                \
  [b] "r"(b), [out_next] "r"(t->out_next), [out_second] "r"(t->out_second), [tiles] "r"(t->in_line),     \
      [x_step] "r"(t->x_step), [x_wrap] "r"(t->x_wrap), [out_step] "r"(t->out_step),                     \
      [out_wrap] "r"(t->out_wrap)

/* All tiles of t with the first `taps` offsets and weights of b, an even number above 0. */
EQ_ALWAYS_INLINE void eq_depthwise_any(int8_t *out, const int8_t *x, const eq_depthwise_tiles *t,
                                       const eq_depthwise_lanes *b, int32_t taps, int32_t form) {
  EQ_DW_TILE_STATE;
  const size_t *o, *end = b->offsets + taps;
  size_t o1; /* an even tap's offset is where the third pixel's codes go later: compilers take 30 operands */
  const int8_t *w;
#define EQ_DW_ANY(finish)                                                                                            \
  __asm__ volatile("1:\n" EQ_DW_SUMS_PAIRS EQ_DW_TILE_COUNT EQ_DW_TILE_WRAP EQ_DW_TILE_WRAP_2 EQ_DW_TILE_MOVE finish \
                       EQ_DW_TILE_STORE_01(0, 2) EQ_DW_TILE_STORE_23(4, 6) "cbnz %w[left], 1b\n"                     \
                   : EQ_DW_TILE_POINTERS, [o] "=&r"(o), [w] "=&r"(w), [o1] "=&r"(o1)                                 \
                   : EQ_DW_TILE_INPUTS, [form] "r"(form), [end] "r"(end)                                             \
                   : EQ_DW_CLOBBERS)
  EQ_DW_ANY(EQ_DW_FINISH);
}

#endif
