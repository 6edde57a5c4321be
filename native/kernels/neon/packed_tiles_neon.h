/* SPDX-License-Identifier: Apache-2.0
 * Tiles of four rows by four channels of packed weights (layout C4K16), all of a product in one loop of assembly.
 *
 * Two products of a channel, of the halves of a block of 16 inputs, are added in int16 (SMULL, SMLAL2), then their pairs
 * in int32. Multiplications fill one pipe of the larger cores, so everything else goes beside them: a tile's sums become
 * codes among the multiplications of the next tile's first block. For in-order cores a block's loads stand together, the
 * rows' through a common index, and five or more instructions stand between one and the next that needs its result. */
#ifndef EDGEQ_PACKED_TILES_NEON_H
#define EDGEQ_PACKED_TILES_NEON_H

#include "kernels/neon/requant_neon.h"

/* What the loop reads, at fixed offsets. Every group's pairs of products fit int16; no code needs a bound but saturation.
 * A last group of fewer than four channels has constants and codes of its own: four bytes for each row. */
typedef struct eq_tiles {
  const int8_t *first_run;         /*   0 */
  const int8_t *const *other_runs; /*   8 */
  int64_t n_runs;                  /*  16: 0 where half a block follows the only run */
  const int8_t *weights;           /*  24 */
  int8_t *out;                     /*  32 */
  size_t out_stride;               /*  40 */
  const int32_t *bias;             /*  48 */
  const int32_t *multipliers;      /*  56 */
  const int8_t *shifts;            /*  64 */
  size_t x_stride;                 /*  72 */
  size_t run_bytes;                /*  80: a multiple of 16, > 0 */
  int64_t groups;                  /*  88: of four channels, > 0 */
  int64_t row_tiles;               /*  96: > 0 */
  int8_t *last_out;                /* 104: NULL when the last group is a whole one */
  size_t last_stride;              /* 112 */
  const int32_t *last_bias;        /* 120 */
  const int32_t *last_multipliers; /* 128 */
  const int8_t *last_shifts;       /* 136 */
  size_t x_first;                  /* 144: from the begin of every run to the first row */
  int16_t zeros[8];                /* 152: the output's zero point */
} eq_tiles;
_Static_assert(offsetof(eq_tiles, zeros) == 152, "assembly knows these offsets");

/* Registers: x0-x3 rows, x4 weights, x5 index in a run, x6 bytes of a run, x7 and x8 next runs and how many, x9-x12
 * offsets of rows in runs, x13 where the finished tile's codes go, x14 distance of its rows there, x15-x17 its layer's
 * bias, multipliers, shifts, x19 group, x20 row tiles left, x21 the eq_tiles, x22 the finished tile's group, x26 where
 * this tile's codes go, x27 groups, x28 distance of row tiles, x30 where to go behind a run's first block: to the end,
 * one block or pairs of blocks. v0-v3 inputs, v4-v7 weights, v8-v15 pairs of products, v16-v31 sums: row r of channel c
 * in v(16 + 4 * c + r). */
#define EQ_MUL(sum, x, w) "smull v" #sum ".8h, v" #x ".8b, v" #w ".8b\n"
#define EQ_MLA(sum, x, w) "smlal2 v" #sum ".8h, v" #x ".16b, v" #w ".16b\n"
#define EQ_MLA_LOW(sum, x, w) "smlal v" #sum ".8h, v" #x ".8b, v" #w ".8b\n"
#define EQ_PAIRS(op, sum, pairs) op " v" #sum ".4s, v" #pairs ".8h\n"
#define EQ_WITH(op, to, a, b) op " v" #to ".4s, v" #a ".4s, v" #b ".4s\n"

/* The same for four rows: instruction, four destinations, operand. */
#define EQ_MUL4(a, b, c, d, w) EQ_MUL(a, 0, w) EQ_MUL(b, 1, w) EQ_MUL(c, 2, w) EQ_MUL(d, 3, w)
#define EQ_MLA4(a, b, c, d, w) EQ_MLA(a, 0, w) EQ_MLA(b, 1, w) EQ_MLA(c, 2, w) EQ_MLA(d, 3, w)
#define EQ_PAIRS4(op, s, t, u, v, a, b, c, d) \
  EQ_PAIRS(op, s, a) EQ_PAIRS(op, t, b) EQ_PAIRS(op, u, c) EQ_PAIRS(op, v, d)
#define EQ_EACH4(op, w) EQ_WITH(op, 16, 16, w) EQ_WITH(op, 17, 17, w) EQ_WITH(op, 18, 18, w) EQ_WITH(op, 19, 19, w)

/* Products of two channels w and v, whose sums begin at registers s0 and t0. */
#define EQ_TWO_CHANNELS(op, w, v, s0, s1, s2, s3, t0, t1, t2, t3)                             \
  EQ_MUL4(8, 9, 10, 11, w) EQ_MUL4(12, 13, 14, 15, v)                                         \
  EQ_MLA4(8, 9, 10, 11, w) EQ_MLA4(12, 13, 14, 15, v)                                         \
  EQ_PAIRS4(op, s0, s1, s2, s3, 8, 9, 10, 11) EQ_PAIRS4(op, t0, t1, t2, t3, 12, 13, 14, 15)
#define EQ_FOUR_CHANNELS(op)                                   \
  EQ_TWO_CHANNELS(op, 4, 5, 16, 17, 18, 19, 20, 21, 22, 23)    \
  EQ_TWO_CHANNELS(op, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31)

#define EQ_ROWS_OF_RUN        \
  "add x0, x23, x9\n"         \
  "add x1, x23, x10\n"        \
  "add x2, x23, x11\n"        \
  "add x3, x23, x12\n"
#define EQ_LOAD_ROWS          \
  "ldr q0, [x0]\n"            \
  "ldr q1, [x1]\n"            \
  "ldr q2, [x2]\n"            \
  "ldr q3, [x3]\n"            \
  "mov x5, #16\n"

/* Single loads: on every core a pair costs as much as two or more. */
#define EQ_LOAD_WEIGHTS       \
  "ldr q4, [x4]\n"            \
  "ldr q5, [x4, #16]\n"       \
  "ldr q6, [x4, #32]\n"       \
  "ldr q7, [x4, #48]\n"       \
  "add x4, x4, #64\n"

/* The next block of the rows and, at offsets, of the weights. */
#define EQ_LOAD_BLOCK(w0, w1, w2, w3) \
  "ldr q4, [x4, #" w0 "]\n"           \
  "ldr q5, [x4, #" w1 "]\n"           \
  "ldr q6, [x4, #" w2 "]\n"           \
  "ldr q7, [x4, #" w3 "]\n"           \
  "ldr q0, [x0, x5]\n"                \
  "ldr q1, [x1, x5]\n"                \
  "ldr q2, [x2, x5]\n"                \
  "ldr q3, [x3, x5]\n"                \
  "add x5, x5, #16\n"

/* What a new tile loads: its first run, its first block of weights behind the group's head. */
#define EQ_LOAD_TILE               \
  "ldp x23, x7, [x21]\n"           \
  "ldr x8, [x21, #16]\n"           \
  "ldr q4, [x4, #16]\n"            \
  "ldr q5, [x4, #32]\n"            \
  "ldr q6, [x4, #48]\n"            \
  "ldr q7, [x4, #64]\n"            \
  "add x4, x4, #80\n"
/* What the finished tile's requantization needs. */
#define EQ_LOAD_CONSTANTS              \
  "ldr q8, [x15, x22, lsl #4]\n"       \
  "ldr q9, [x16, x22, lsl #4]\n"       \
  "ldr s10, [x17, x22, lsl #2]\n"      \
  "ldr q11, [x21, #152]\n"
#define EQ_ADD_QUADS                                                                                       \
  EQ_WITH("addp", 16, 16, 20) EQ_WITH("addp", 17, 17, 21) EQ_WITH("addp", 18, 18, 22) EQ_WITH("addp", 19, 19, 23) \
  EQ_WITH("addp", 24, 24, 28) EQ_WITH("addp", 25, 25, 29) EQ_WITH("addp", 26, 26, 30) EQ_WITH("addp", 27, 27, 31)
#define EQ_ADD_DOUBLES \
  EQ_WITH("addp", 16, 16, 24) EQ_WITH("addp", 17, 17, 25) EQ_WITH("addp", 18, 18, 26) EQ_WITH("addp", 19, 19, 27)
#define EQ_OUT_ROWS                   \
  "add x23, x13, x14\n"               \
  "add x24, x13, x14, lsl #1\n"       \
  "add x25, x24, x14\n"
#define EQ_STORE                      \
  "str s8, [x13]\n"                   \
  "st1 {v8.s}[1], [x23]\n"            \
  "str s9, [x24]\n"                   \
  "st1 {v9.s}[1], [x25]\n"

/* high: the high product, after: what follows it before the shift. */
#define EQ_RUN_TILES(tiles, high, after)                                                          \
  do {                                                                                            \
    register eq_tiles *job __asm__("x21") = (tiles);                                        \
    __asm__ volatile(                                                                             \
        "ldp x4, x26, [x21, #24]\n"                                                               \
        "ldp x28, x6, [x21, #72]\n"                                                               \
        "ldp x27, x20, [x21, #88]\n"                                                              \
        "mov x19, #0\n"                                                                           \
        "ldr x9, [x21, #144]\n"                                                                   \
        "add x10, x9, x28\n"                                                                      \
        "add x11, x9, x28, lsl #1\n"                                                              \
        "add x12, x11, x28\n"                                                                     \
        "lsl x28, x28, #2\n"                                                                      \
        "adr x30, 2f\n"                                                                           \
        "cmp x6, #16\n"                                                                           \
        "b.eq 1f\n"                                                                               \
        "adr x30, 8f\n"                                                                           \
        "tbnz x6, #4, 1f\n"                                                                       \
        "adr x30, 9f\n"                                                                           \
        "1:\n"                                                                                    \
        EQ_LOAD_TILE                                                                              \
        EQ_ROWS_OF_RUN                                                                            \
        EQ_LOAD_ROWS                                                                              \
        EQ_FOUR_CHANNELS("saddlp")                                                                \
        "br x30\n"                                                                                \
        ".p2align 9\n" /* the loop lies in one page */                                            \
        "8:\n" /* two more blocks of a run */                                                     \
        EQ_LOAD_BLOCK("0", "16", "32", "48")                                                      \
        EQ_FOUR_CHANNELS("sadalp")                                                                \
        EQ_LOAD_BLOCK("64", "80", "96", "112")                                                    \
        "add x4, x4, #128\n"                                                                      \
        "cmp x5, x6\n"                                                                            \
        EQ_FOUR_CHANNELS("sadalp")                                                                \
        "b.ne 8b\n"                                                                               \
        "2:\n"                                                                                    \
        "subs x8, x8, #1\n"                                                                       \
        "b.eq 3f\n"                                                                               \
        "b.mi 7f\n"                                                                               \
        "ldr x23, [x7], #8\n" /* the first block of another run */                                \
        EQ_LOAD_WEIGHTS                                                                           \
        EQ_ROWS_OF_RUN                                                                            \
        EQ_LOAD_ROWS                                                                              \
        EQ_FOUR_CHANNELS("sadalp")                                                                \
        "br x30\n"                                                                                \
        "9:\n" /* an odd block of a run */                                                        \
        EQ_LOAD_BLOCK("0", "16", "32", "48")                                                      \
        "add x4, x4, #64\n"                                                                       \
        "cmp x5, x6\n"                                                                            \
        EQ_FOUR_CHANNELS("sadalp")                                                                \
        "b.ne 8b\n"                                                                               \
        "b 2b\n"                                                                                  \
        "7:\n" /* half a block behind the only run */                                             \
        EQ_LOAD_WEIGHTS                                                                           \
        "ldr d0, [x0, x5]\n"                                                                      \
        "ldr d1, [x1, x5]\n"                                                                      \
        "ldr d2, [x2, x5]\n"                                                                      \
        "ldr d3, [x3, x5]\n"                                                                      \
        EQ_MUL4(8, 9, 10, 11, 4) EQ_MUL4(12, 13, 14, 15, 5)                                       \
        EQ_PAIRS4("sadalp", 16, 17, 18, 19, 8, 9, 10, 11)                                         \
        EQ_MUL4(8, 9, 10, 11, 6)                                                                  \
        EQ_PAIRS4("sadalp", 20, 21, 22, 23, 12, 13, 14, 15)                                       \
        EQ_MUL4(12, 13, 14, 15, 7)                                                                \
        EQ_PAIRS4("sadalp", 24, 25, 26, 27, 8, 9, 10, 11)                                         \
        EQ_PAIRS4("sadalp", 28, 29, 30, 31, 12, 13, 14, 15)                                       \
        "3:\n" /* the tile is summed up */                                                        \
        "ldp x14, x15, [x21, #40]\n"                                                              \
        "ldp x16, x17, [x21, #56]\n"                                                              \
        "mov x22, x19\n"                                                                          \
        "mov x13, x26\n"                                                                          \
        "add x19, x19, #1\n"                                                                      \
        "add x26, x26, #4\n"                                                                      \
        "cmp x19, x27\n"                                                                          \
        "b.ne 4f\n"                                                                               \
        "sub x26, x26, x27, lsl #2\n" /* the next four rows */                                    \
        "add x26, x26, x14, lsl #2\n"                                                             \
        "ldr x23, [x21, #104]\n"                                                                  \
        "cbz x23, 6f\n"                                                                           \
        "mov x13, x23\n"                                                                          \
        "mov x22, #0\n"                                                                           \
        "ldp x14, x15, [x21, #112]\n"                                                             \
        "ldp x16, x17, [x21, #128]\n"                                                             \
        "add x23, x23, x14, lsl #2\n"                                                             \
        "str x23, [x21, #104]\n"                                                                  \
        "6:\n"                                                                                    \
        "subs x20, x20, #1\n"                                                                     \
        "b.eq 5f\n"                                                                               \
        "ldr x4, [x21, #24]\n"                                                                    \
        "mov x19, #0\n"                                                                           \
        "add x9, x9, x28\n"                                                                       \
        "add x10, x10, x28\n"                                                                     \
        "add x11, x11, x28\n"                                                                     \
        "add x12, x12, x28\n"                                                                     \
        "4:\n" /* a tile's first block, and the finished tile's codes */                          \
        EQ_LOAD_TILE                                                                              \
        EQ_LOAD_CONSTANTS                                                                         \
        EQ_ROWS_OF_RUN                                                                            \
        EQ_LOAD_ROWS                                                                              \
        EQ_OUT_ROWS                                                                               \
        EQ_ADD_QUADS                                                                              \
        "sxtl v10.8h, v10.8b\n"                                                                   \
        EQ_MUL4(28, 29, 30, 31, 5)                                                                \
        EQ_ADD_DOUBLES                                                                            \
        "sxtl v10.4s, v10.4h\n"                                                                   \
        EQ_MUL4(24, 25, 26, 27, 4)                                                                \
        EQ_EACH4("add", 8)                                                                        \
        EQ_MLA4(28, 29, 30, 31, 5)                                                                \
        EQ_EACH4(high, 9)                                                                         \
        EQ_MLA4(24, 25, 26, 27, 4)                                                                \
        after                                                                                     \
        EQ_PAIRS4("saddlp", 20, 21, 22, 23, 28, 29, 30, 31)                                       \
        EQ_EACH4("srshl", 10)                                                                     \
        EQ_MUL4(28, 29, 30, 31, 6)                                                                \
        "sqxtn v8.4h, v16.4s\n"                                                                   \
        "sqxtn v9.4h, v18.4s\n"                                                                   \
        EQ_MLA4(28, 29, 30, 31, 6)                                                                \
        "sqxtn2 v8.8h, v17.4s\n"                                                                  \
        "sqxtn2 v9.8h, v19.4s\n"                                                                  \
        EQ_PAIRS4("saddlp", 16, 17, 18, 19, 24, 25, 26, 27)                                       \
        EQ_MUL4(10, 12, 13, 14, 7)                                                                \
        "sqadd v8.8h, v8.8h, v11.8h\n"                                                            \
        "sqadd v9.8h, v9.8h, v11.8h\n"                                                            \
        EQ_MLA4(10, 12, 13, 14, 7)                                                                \
        "sqxtn v8.8b, v8.8h\n"                                                                    \
        "sqxtn v9.8b, v9.8h\n"                                                                    \
        EQ_PAIRS4("saddlp", 24, 25, 26, 27, 28, 29, 30, 31)                                       \
        EQ_PAIRS4("saddlp", 28, 29, 30, 31, 10, 12, 13, 14)                                       \
        EQ_STORE                                                                                  \
        "br x30\n"                                                                                \
        "5:\n" /* the last tile's codes */                                                        \
        EQ_LOAD_CONSTANTS                                                                         \
        EQ_OUT_ROWS                                                                               \
        EQ_ADD_QUADS                                                                              \
        "sxtl v10.8h, v10.8b\n"                                                                   \
        EQ_ADD_DOUBLES                                                                            \
        "sxtl v10.4s, v10.4h\n"                                                                   \
        EQ_EACH4("add", 8)                                                                        \
        EQ_EACH4(high, 9)                                                                         \
        after                                                                                     \
        EQ_EACH4("srshl", 10)                                                                     \
        "sqxtn v8.4h, v16.4s\n"                                                                   \
        "sqxtn v9.4h, v18.4s\n"                                                                   \
        "sqxtn2 v8.8h, v17.4s\n"                                                                  \
        "sqxtn2 v9.8h, v19.4s\n"                                                                  \
        "sqadd v8.8h, v8.8h, v11.8h\n"                                                            \
        "sqadd v9.8h, v9.8h, v11.8h\n"                                                            \
        "sqxtn v8.8b, v8.8h\n"                                                                    \
        "sqxtn v9.8b, v9.8h\n"                                                                    \
        EQ_STORE                                                                                  \
        : "+r"(job)                                                                               \
        :                                                                                         \
        : "cc", "memory", "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10",      \
          "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x19", "x20", "x22", "x23", "x24",     \
          "x25", "x26", "x27", "x28", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", \
          "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21",     \
          "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");                  \
  } while (0)

#define EQ_LESS_ONE_WHERE_NEGATIVE       \
  "ssra v16.4s, v16.4s, #31\n"           \
  "ssra v17.4s, v17.4s, #31\n"           \
  "ssra v18.4s, v18.4s, #31\n"           \
  "ssra v19.4s, v19.4s, #31\n"

/* All codes of the tiles in one of the forms UP, AWAY and SINGLE. */
static inline void eq_run_tiles(eq_tiles *tiles, eq_requant_form form) {
  if (form == EQ_FORM_UP) {
    EQ_RUN_TILES(tiles, "sqrdmulh", "");
  } else if (form == EQ_FORM_AWAY) {
    EQ_RUN_TILES(tiles, "sqrdmulh", EQ_LESS_ONE_WHERE_NEGATIVE);
  } else {
    EQ_RUN_TILES(tiles, "sqdmulh", "");
  }
}

#endif
