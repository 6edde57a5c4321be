/* SPDX-License-Identifier: Apache-2.0
 * One row times packed weights (layout C4K16), two groups of four channels at a time, in one loop of assembly; built as
 * the tiles of packed_tiles_neon.h. */
#ifndef EDGEQ_PACKED_ROW_NEON_H
#define EDGEQ_PACKED_ROW_NEON_H

#include "kernels/neon/packed_tiles_neon.h"

/* What the loop reads, at fixed offsets. Every group's pairs of products fit int16; no code needs a bound but saturation. */
typedef struct eq_row {
  const int8_t *const *runs;  /*  0 */
  int64_t n_runs;             /*  8: > 0 */
  const int8_t *weights;      /* 16 */
  size_t group_bytes;         /* 24 */
  int8_t *out;                /* 32 */
  size_t x_first;             /* 40: from the begin of every run to the row */
  size_t run_bytes;           /* 48: a multiple of 16, > 0 */
  int64_t pairs;              /* 56: of groups, > 0 */
  const int32_t *bias;        /* 64 */
  const int32_t *multipliers; /* 72 */
  const int8_t *shifts;       /* 80 */
  int16_t zeros[8];           /* 88: the output's zero point */
} eq_row;
_Static_assert(offsetof(eq_row, zeros) == 88, "assembly knows these offsets");

/* Registers: x0 the row in this run, x1 and x2 weights of both groups, x3 bytes of a group, x4 bytes of a run, x5 index in
 * it, x6 and x7 next runs and how many, x8 out, x9 bias, x10 multipliers, x11 shifts, x12 pairs left, x13 the eq_row, x14
 * offset of the row in runs. v0 inputs, v1-v8 weights, v9-v15 what requantization needs, v16-v23 pairs of products,
 * v24-v31 sums. */
#define EQ_ROW_LOW(op) op(16, 0, 1) op(17, 0, 2) op(18, 0, 3) op(19, 0, 4)
#define EQ_ROW_HIGH(op) op(20, 0, 5) op(21, 0, 6) op(22, 0, 7) op(23, 0, 8)
#define EQ_ROW_ADD_PAIRS(op) \
  EQ_PAIRS4(op, 24, 25, 26, 27, 16, 17, 18, 19) EQ_PAIRS4(op, 28, 29, 30, 31, 20, 21, 22, 23)
#define EQ_ROW_SUMS(op) \
  EQ_ROW_LOW(EQ_MUL) EQ_ROW_HIGH(EQ_MUL) EQ_ROW_LOW(EQ_MLA) EQ_ROW_HIGH(EQ_MLA) EQ_ROW_ADD_PAIRS(op)

/* Single loads: a pair costs a larger core more than two. */
#define EQ_ROW_WEIGHTS_OF(low, high, w0, w1, w2, w3)                                          \
  "ldr q1, [" low ", #" w0 "]\n" "ldr q2, [" low ", #" w1 "]\n"                               \
  "ldr q3, [" low ", #" w2 "]\n" "ldr q4, [" low ", #" w3 "]\n"                               \
  "ldr q5, [" high ", #" w0 "]\n" "ldr q6, [" high ", #" w1 "]\n"                             \
  "ldr q7, [" high ", #" w2 "]\n" "ldr q8, [" high ", #" w3 "]\n"
#define EQ_ROW_WEIGHTS_AT(w0, w1, w2, w3) EQ_ROW_WEIGHTS_OF("x1", "x2", w0, w1, w2, w3)
#define EQ_ROW_WEIGHTS EQ_ROW_WEIGHTS_AT("0", "16", "32", "48") "add x1, x1, #64\n" "add x2, x2, #64\n"
#define EQ_ROW_RUN                   \
  "ldr x0, [x6], #8\n"               \
  EQ_ROW_WEIGHTS                     \
  "add x0, x0, x14\n"                \
  "mov x5, #16\n"                    \
  "ldr q0, [x0]\n"                   \
  "cmp x5, x4\n"
#define EQ_ROW_PAIR                  \
  "ldp x6, x7, [x13]\n"              \
  "add x1, x2, #16\n"                \
  "add x2, x1, x3\n"
#define EQ_ROW_CONSTANTS             \
  "ldr q9, [x9]\n"                   \
  "ldr q10, [x9, #16]\n"             \
  "ldr q11, [x10]\n"                 \
  "ldr q12, [x10, #16]\n"            \
  "ldr d13, [x11]\n"                 \
  "add x9, x9, #32\n"                \
  "add x10, x10, #32\n"              \
  "add x11, x11, #8\n"

/* Two blocks behind each other where there is one run: a pair's first, or later ones. */
#define EQ_ROW_FIRST_BLOCK                 \
  "add x1, x16, #16\n"                     \
  "ldr q0, [x0]\n"                         \
  "add x2, x1, x3\n"                       \
  "add x16, x16, x3, lsl #1\n"             \
  EQ_ROW_WEIGHTS_AT("0", "16", "32", "48") \
  "add x5, x0, #32\n"
#define EQ_ROW_NEXT_BLOCK                  \
  "ldr q0, [x5]\n"                         \
  EQ_ROW_WEIGHTS_AT("0", "16", "32", "48")
#define EQ_ROW_SECOND_BLOCK(x)             \
  "ldr q0, [" x ", #16]\n"                 \
  EQ_ROW_WEIGHTS_AT("64", "80", "96", "112") \
  "add x1, x1, #128\n"                     \
  "add x2, x2, #128\n"

/* The sums of the finished pair go to v24 and v28. */
#define EQ_ROW_ADD_QUADS \
  EQ_WITH("addp", 24, 24, 25) EQ_WITH("addp", 26, 26, 27) EQ_WITH("addp", 28, 28, 29) EQ_WITH("addp", 30, 30, 31)
#define EQ_ROW_ADD_DOUBLES EQ_WITH("addp", 24, 24, 26) EQ_WITH("addp", 28, 28, 30)
#define EQ_ROW_ADD_BIAS EQ_WITH("add", 24, 24, 9) EQ_WITH("add", 28, 28, 10)

/* Requantization in two steps, the first beginning with the shifts; the second frees all sums and leaves results in v9 and v10. */
#define EQ_ROW_SHORTS "sxtl v13.8h, v13.8b\n"
#define EQ_ROW_SHIFTS "sxtl v15.4s, v13.4h\n" "sxtl2 v13.4s, v13.8h\n"
#define EQ_ROW_HIGH_PRODUCT(op) EQ_ROW_SHIFTS EQ_WITH(op, 24, 24, 11) EQ_WITH(op, 28, 28, 12)
/* Form SHIFT: the shifts less one, and no product. */
#define EQ_ROW_SHIFTS_LESS_ONE \
  "movi v11.16b, #255\n" "saddw v15.4s, v11.4s, v13.4h\n" "saddw2 v13.4s, v11.4s, v13.8h\n"
#define EQ_ROW_LESS_ONE "ssra v24.4s, v24.4s, #31\n" "ssra v28.4s, v28.4s, #31\n"
#define EQ_ROW_SHIFT "srshl v9.4s, v24.4s, v15.4s\n" "srshl v10.4s, v28.4s, v13.4s\n"
/* Form RIGHT as eq_requant4 has it. */
#define EQ_ROW_RIGHT_PRODUCT                    \
  EQ_ROW_SHIFTS                                 \
  "neg v25.4s, v24.4s\n"                        \
  "neg v29.4s, v28.4s\n"                        \
  "neg v11.4s, v11.4s\n"                        \
  "neg v12.4s, v12.4s\n"                        \
  "smin v25.4s, v25.4s, v24.4s\n"               \
  "smin v29.4s, v29.4s, v28.4s\n"               \
  "cmlt v26.4s, v24.4s, #0\n"                   \
  "cmlt v27.4s, v28.4s, #0\n"                   \
  "sqdmulh v25.4s, v25.4s, v11.4s\n"            \
  "sqdmulh v29.4s, v29.4s, v12.4s\n"
#define EQ_ROW_RIGHT_SHIFT                      \
  "eor v25.16b, v25.16b, v26.16b\n"             \
  "eor v29.16b, v29.16b, v27.16b\n"             \
  "srshl v9.4s, v25.4s, v15.4s\n"               \
  "srshl v10.4s, v29.4s, v13.4s\n"

#define EQ_ROW_NARROW_LOW "sqxtn v9.4h, v9.4s\n"
#define EQ_ROW_NARROW_HIGH "sqxtn2 v9.8h, v10.4s\n"
#define EQ_ROW_ADD_ZERO "sqadd v9.8h, v9.8h, v14.8h\n"
#define EQ_ROW_NARROW_CODES "sqxtn v9.8b, v9.8h\n"
#define EQ_ROW_STORE "str d9, [x8]\n" "add x8, x8, #8\n"
#define EQ_ROW_CODES EQ_ROW_NARROW_LOW EQ_ROW_NARROW_HIGH EQ_ROW_ADD_ZERO EQ_ROW_NARROW_CODES EQ_ROW_STORE

/* The last pair's codes, once all its products are added up. */
#define EQ_ROW_LAST_CODES(product, shift)                                         \
  "4:\n"                                                                          \
  EQ_ROW_CONSTANTS                                                                \
  EQ_ROW_ADD_QUADS EQ_ROW_SHORTS EQ_ROW_ADD_DOUBLES EQ_ROW_ADD_BIAS               \
  product shift                                                                   \
  EQ_ROW_CODES

/* The next kilobyte of code lies in one page. gcc reckons how far its branches reach by the lines of assembly, so that the
 * padding has as many lines as instructions. */
#define EQ_LINES_16 "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"
#define EQ_LINES_64 EQ_LINES_16 EQ_LINES_16 EQ_LINES_16 EQ_LINES_16
#define EQ_WITHIN_A_PAGE ".p2align 10\n" EQ_LINES_64 EQ_LINES_64 EQ_LINES_64 EQ_LINES_64

#define EQ_RUN_ROW(row, product, shift)                                                           \
  do {                                                                                            \
    register const eq_row *job __asm__("x13") = (row);                                            \
    __asm__ volatile(                                                                             \
        "ldp x2, x3, [x13, #16]\n"                                                                \
        "ldp x8, x14, [x13, #32]\n"                                                               \
        "ldp x4, x12, [x13, #48]\n"                                                               \
        "ldp x9, x10, [x13, #64]\n"                                                               \
        "ldr x11, [x13, #80]\n"                                                                   \
        "ldr q14, [x13, #88]\n"                                                                   \
        EQ_ROW_PAIR EQ_ROW_RUN                                                                    \
        EQ_ROW_SUMS("saddlp")                                                                     \
        "b.eq 2f\n"                                                                               \
        "b 1f\n"                                                                                  \
        EQ_WITHIN_A_PAGE /* all of a pair */                                                      \
        "1:\n" /* one more block of a run */                                                      \
        "ldr q0, [x0, x5]\n"                                                                      \
        EQ_ROW_WEIGHTS                                                                            \
        "add x5, x5, #16\n"                                                                       \
        "cmp x5, x4\n"                                                                            \
        EQ_ROW_SUMS("sadalp")                                                                     \
        "b.ne 1b\n"                                                                               \
        "2:\n"                                                                                    \
        "subs x7, x7, #1\n"                                                                       \
        "b.eq 3f\n"                                                                               \
        EQ_ROW_RUN                                                                                \
        EQ_ROW_SUMS("sadalp")                                                                     \
        "b.ne 1b\n"                                                                               \
        "b 2b\n"                                                                                  \
        "3:\n" /* the pair is summed up */                                                        \
        "subs x12, x12, #1\n"                                                                     \
        "b.eq 4f\n"                                                                               \
        EQ_ROW_PAIR EQ_ROW_RUN EQ_ROW_CONSTANTS /* a pair's first block, and the finished pair's codes */ \
        EQ_ROW_ADD_QUADS EQ_ROW_LOW(EQ_MUL) EQ_ROW_SHORTS EQ_ROW_ADD_DOUBLES EQ_ROW_HIGH(EQ_MUL)  \
        EQ_ROW_ADD_BIAS EQ_ROW_LOW(EQ_MLA) product EQ_ROW_HIGH(EQ_MLA) shift        \
        EQ_PAIRS4("saddlp", 26, 27, 30, 31, 18, 19, 22, 23)                                       \
        EQ_PAIRS4("saddlp", 24, 25, 28, 29, 16, 17, 20, 21)                                       \
        EQ_ROW_CODES                                                                              \
        "b.ne 1b\n"                                                                               \
        "b 2b\n"                                                                                  \
        EQ_ROW_LAST_CODES(product, shift)                                                         \
        : "+r"(job)                                                                               \
        :                                                                                         \
        : "cc", "memory", "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10",      \
          "x11", "x12", "x14", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", \
          "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22",     \
          "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");                         \
  } while (0)

/* The same for one run of two blocks or more, two at a time: there is room for the finished pair's codes among a pair's
 * first two. Chains begin at even blocks, so that an odd one is the last; it follows upon the first two. x5 is where in
 * the run, x4 the end of its twos, x15 where to go behind the first: to the pair's end, to two more blocks or to the odd
 * one, x16 the next pair's weights, x17 bytes of the run. The first block's products are added up by `between`, unless
 * they are chained; `begin` and `add` are the second's first products and its sums in a pair's first blocks. */
#define EQ_RUN_LONG_ROW(row, product, shift, between, begin, add)                                 \
  do {                                                                                            \
    register const eq_row *job __asm__("x13") = (row);                                            \
    __asm__ volatile(                                                                             \
        "ldp x16, x3, [x13, #16]\n"                                                               \
        "ldp x8, x14, [x13, #32]\n"                                                               \
        "ldp x17, x12, [x13, #48]\n"                                                              \
        "ldp x9, x10, [x13, #64]\n"                                                               \
        "ldr x0, [x13]\n"                                                                         \
        "ldr x11, [x13, #80]\n"                                                                   \
        "ldr q14, [x13, #88]\n"                                                                   \
        "ldr x0, [x0]\n"                                                                          \
        "adr x15, 8f\n"                                                                           \
        "adr x5, 9f\n"                                                                            \
        "tst x17, #16\n"                                                                          \
        "csel x15, x15, x5, eq\n"                                                                 \
        "adr x5, 2f\n"                                                                            \
        "cmp x17, #32\n"                                                                          \
        "csel x15, x15, x5, ne\n"                                                                 \
        "add x0, x0, x14\n"                                                                       \
        "and x4, x17, #-32\n"                                                                     \
        "add x4, x4, x0\n"                                                                        \
        EQ_ROW_FIRST_BLOCK                                                                        \
        EQ_ROW_LOW(EQ_MUL) EQ_ROW_HIGH(EQ_MUL) EQ_ROW_LOW(EQ_MLA) EQ_ROW_HIGH(EQ_MLA)             \
        between("saddlp") EQ_ROW_SECOND_BLOCK("x0")                                               \
        EQ_ROW_LOW(begin) EQ_ROW_HIGH(begin) EQ_ROW_LOW(EQ_MLA) EQ_ROW_HIGH(EQ_MLA)               \
        EQ_ROW_ADD_PAIRS(add)                                                                     \
        "br x15\n"                                                                                \
        EQ_WITHIN_A_PAGE /* all of a pair */                                                      \
        "9:\n" /* the odd block */                                                                \
        "add x6, x1, x17, lsl #2\n"                                                               \
        "ldr q0, [x4]\n"                                                                          \
        "add x7, x2, x17, lsl #2\n"                                                               \
        EQ_ROW_WEIGHTS_OF("x6", "x7", "-192", "-176", "-160", "-144") /* x1 is at the third block */ \
        "cmp x5, x4\n"                                                                            \
        EQ_ROW_SUMS("sadalp")                                                                     \
        "b.eq 2f\n"                                                                               \
        "8:\n" /* two more blocks */                                                              \
        EQ_ROW_NEXT_BLOCK                                                                         \
        EQ_ROW_LOW(EQ_MUL) EQ_ROW_HIGH(EQ_MUL) EQ_ROW_LOW(EQ_MLA) EQ_ROW_HIGH(EQ_MLA)             \
        between("sadalp") EQ_ROW_SECOND_BLOCK("x5")                                               \
        "add x5, x5, #32\n"                                                                       \
        "cmp x5, x4\n"                                                                            \
        EQ_ROW_LOW(begin) EQ_ROW_HIGH(begin) EQ_ROW_LOW(EQ_MLA) EQ_ROW_HIGH(EQ_MLA)               \
        EQ_ROW_ADD_PAIRS("sadalp")                                                                \
        "b.ne 8b\n"                                                                               \
        "2:\n" /* the pair is summed up */                                                        \
        "subs x12, x12, #1\n"                                                                     \
        "b.eq 4f\n"                                                                               \
        EQ_ROW_FIRST_BLOCK EQ_ROW_CONSTANTS                                                       \
        EQ_ROW_LOW(EQ_MUL) EQ_ROW_HIGH(EQ_MUL) EQ_ROW_ADD_QUADS EQ_ROW_SHORTS EQ_ROW_ADD_DOUBLES  \
        EQ_ROW_LOW(EQ_MLA) EQ_ROW_ADD_BIAS product                                  \
        EQ_ROW_HIGH(EQ_MLA) shift EQ_ROW_NARROW_LOW                                               \
        between("saddlp") EQ_ROW_SECOND_BLOCK("x0")                                               \
        EQ_ROW_LOW(begin) EQ_ROW_NARROW_HIGH EQ_ROW_HIGH(begin) EQ_ROW_ADD_ZERO                   \
        EQ_ROW_LOW(EQ_MLA) EQ_ROW_NARROW_CODES EQ_ROW_HIGH(EQ_MLA) EQ_ROW_STORE                   \
        EQ_ROW_ADD_PAIRS(add)                                                                     \
        "br x15\n"                                                                                \
        EQ_ROW_LAST_CODES(product, shift)                                                         \
        : "+r"(job)                                                                               \
        :                                                                                         \
        : "cc", "memory", "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10",      \
          "x11", "x12", "x14", "x15", "x16", "x17", "v0", "v1", "v2", "v3", "v4", "v5", "v6",     \
          "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", \
          "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");    \
  } while (0)

/* All codes of the row in one of the forms RIGHT, UP, AWAY, SINGLE and SHIFT; chained when chains are of 4 products or 8. */
static inline void eq_run_row(const eq_row *row, bool chained, eq_requant_form form) {
#define EQ_ROW_CHAINED(op) ""
#define EQ_RUN(product, shift)                                                                \
  do {                                                                                        \
    if (row->n_runs > 1 || row->run_bytes < 32) {                                             \
      EQ_RUN_ROW(row, product, shift);                                                        \
    } else if (chained) {                                                                     \
      EQ_RUN_LONG_ROW(row, product, shift, EQ_ROW_CHAINED, EQ_MLA_LOW, "saddlp");             \
    } else {                                                                                  \
      EQ_RUN_LONG_ROW(row, product, shift, EQ_ROW_ADD_PAIRS, EQ_MUL, "sadalp");               \
    }                                                                                         \
  } while (0)
  if (form == EQ_FORM_RIGHT) {
    EQ_RUN(EQ_ROW_RIGHT_PRODUCT, EQ_ROW_RIGHT_SHIFT);
  } else if (form == EQ_FORM_UP) {
    EQ_RUN(EQ_ROW_HIGH_PRODUCT("sqrdmulh"), EQ_ROW_SHIFT);
  } else if (form == EQ_FORM_AWAY) {
    EQ_RUN(EQ_ROW_HIGH_PRODUCT("sqrdmulh") EQ_ROW_LESS_ONE, EQ_ROW_SHIFT);
  } else if (form == EQ_FORM_SHIFT) {
    EQ_RUN(EQ_ROW_SHIFTS_LESS_ONE, EQ_ROW_SHIFT);
  } else {
    EQ_RUN(EQ_ROW_HIGH_PRODUCT("sqdmulh"), EQ_ROW_SHIFT);
  }
#undef EQ_RUN
#undef EQ_ROW_CHAINED
}

#endif
