/* SPDX-License-Identifier: Apache-2.0
 * Tiles of four rows by four channels of packed weights (layout C4K16), all of a product in one loop of assembly.
 *
 * Two products of a channel, of the halves of a block of 16 inputs, are added in int16 (SMULL, SMLAL2), then their pairs
 * in int32; four products where the group's head allows it. Multiplications fill one pipe of the larger cores, so all
 * else goes beside them: a tile's sums become codes among the multiplications of the next tile's first blocks, in one
 * stretch without a branch, whose end jumps to an address that was chosen on the way. For in-order cores a block's loads
 * stand together, and five or more instructions stand between one and the next that needs its result. */
#ifndef EDGEQ_PACKED_TILES_NEON_H
#define EDGEQ_PACKED_TILES_NEON_H

#include "kernels/neon/requant_neon.h"

/* Where four rows' codes of a channel group go and what makes them. */
typedef struct eq_tile_codes {
  size_t stride; /* of rows */
  const int32_t *bias;
  const int32_t *multipliers;
  const int8_t *shifts;
} eq_tile_codes;

/* What the loop reads, at fixed offsets. Every group's pairs of products fit int16; no code needs a bound but saturation.
 * The last group may have constants and codes of its own: four bytes for each row. */
typedef struct eq_tiles {
  const int8_t *first_run;         /*   0 */
  const int8_t *const *other_runs; /*   8: NULL where half a block follows the only run */
  int64_t parts;                   /*  16: of a row behind its first run: other runs, or 1 for half a block */
  const void *behind_rows;         /*  24: the loop's own: where it goes from the last group of four rows */
  eq_tile_codes whole;             /*  32 */
  eq_tile_codes last;              /*  64: of the last group, pointers to behind its constants */
  int8_t *last_out;                /*  96: behind the last group's codes of the first row; moved on */
  int8_t *out;                     /* 104: moved on */
  int64_t last_group;              /* 112: groups of four channels but one, >= 0 */
  const int8_t *weights;           /* 120 */
  size_t x_stride;                 /* 128 */
  size_t run_bytes;                /* 136: a multiple of 16, > 0 */
  int64_t row_tiles;               /* 144: > 0; counted down */
  size_t x_first;                  /* 152: from the begin of every run to the first row */
  int16_t zeros[8];                /* 160: the output's zero point */
  int64_t chained;                 /* 176: not 0 where groups may have chains of four over the only run */
} eq_tiles;
_Static_assert(offsetof(eq_tiles, last) == 64 && offsetof(eq_tiles, chained) == 176, "assembly knows these offsets");

/* Registers: x0-x3 ends of rows in the run, x4 weights, x5 index from there, negative, x6 minus the bytes of a run, x7
 * next runs and x8 how many parts, x9-x12 offsets of the rows' ends in runs, x13 where the finished tile's codes go, x14
 * distance of its rows there, x19 its group, x21 the eq_tiles, x26 codes of the four rows, x27 the finished tile's
 * eq_tile_codes, x28 what follows a tile's first blocks, 0 for what follows the run, x30 another part. For the tile at
 * work x15 is what follows it and x16 what follows the run. v0-v3 inputs, v4-v7 weights, v8-v15 products, v16-v31 sums:
 * row r of channel c in v(16 + 4 * c + r). */
#define EQ_MUL(sum, x, w) "smull v" #sum ".8h, v" #x ".8b, v" #w ".8b\n"
#define EQ_MLA(sum, x, w) "smlal2 v" #sum ".8h, v" #x ".16b, v" #w ".16b\n"
#define EQ_MLA_LOW(sum, x, w) "smlal v" #sum ".8h, v" #x ".8b, v" #w ".8b\n"
#define EQ_PAIRS(op, sum, pairs) op " v" #sum ".4s, v" #pairs ".8h\n"
#define EQ_WITH(op, to, a, b) op " v" #to ".4s, v" #a ".4s, v" #b ".4s\n"

/* The same for four rows: instruction, four destinations, operand. */
#define EQ_MUL4(a, b, c, d, w) EQ_MUL(a, 0, w) EQ_MUL(b, 1, w) EQ_MUL(c, 2, w) EQ_MUL(d, 3, w)
#define EQ_MLA4(a, b, c, d, w) EQ_MLA(a, 0, w) EQ_MLA(b, 1, w) EQ_MLA(c, 2, w) EQ_MLA(d, 3, w)
#define EQ_MLA_LOW4(a, b, c, d, w) EQ_MLA_LOW(a, 0, w) EQ_MLA_LOW(b, 1, w) EQ_MLA_LOW(c, 2, w) EQ_MLA_LOW(d, 3, w)
#define EQ_PAIRS4(op, s, t, u, v, a, b, c, d) \
  EQ_PAIRS(op, s, a) EQ_PAIRS(op, t, b) EQ_PAIRS(op, u, c) EQ_PAIRS(op, v, d)
#define EQ_EACH4(op, w) EQ_WITH(op, 16, 16, w) EQ_WITH(op, 17, 17, w) EQ_WITH(op, 18, 18, w) EQ_WITH(op, 19, 19, w)

/* Products of two channels w and v with a block: the first of a chain, and more of it. */
#define EQ_TWO_CHANNELS(w, v) \
  EQ_MUL4(8, 9, 10, 11, w) EQ_MUL4(12, 13, 14, 15, v) EQ_MLA4(8, 9, 10, 11, w) EQ_MLA4(12, 13, 14, 15, v)
#define EQ_TWO_CHANNELS_MORE(w, v) \
  EQ_MLA_LOW4(8, 9, 10, 11, w) EQ_MLA_LOW4(12, 13, 14, 15, v) EQ_MLA4(8, 9, 10, 11, w) EQ_MLA4(12, 13, 14, 15, v)
#define EQ_SUM_LOW \
  EQ_PAIRS4("sadalp", 16, 17, 18, 19, 8, 9, 10, 11) EQ_PAIRS4("sadalp", 20, 21, 22, 23, 12, 13, 14, 15)
#define EQ_SUM_HIGH \
  EQ_PAIRS4("sadalp", 24, 25, 26, 27, 8, 9, 10, 11) EQ_PAIRS4("sadalp", 28, 29, 30, 31, 12, 13, 14, 15)
#define EQ_FOUR_CHANNELS EQ_TWO_CHANNELS(4, 5) EQ_SUM_LOW EQ_TWO_CHANNELS(6, 7) EQ_SUM_HIGH

/* A block of rows or weights; of weights single loads, as on every core a pair takes as long as two or more. */
#define EQ_LOAD_LOW_ROWS(at) "ldr q0, [x0, " at "]\n" "ldr q1, [x1, " at "]\n"
#define EQ_LOAD_HIGH_ROWS(at) "ldr q2, [x2, " at "]\n" "ldr q3, [x3, " at "]\n"
#define EQ_LOAD_ROWS(at) EQ_LOAD_LOW_ROWS(at) EQ_LOAD_HIGH_ROWS(at)
#define EQ_LOAD_WEIGHTS(w0, w1, w2, w3) \
  "ldr q4, [x4, #" w0 "]\n"            \
  "ldr q5, [x4, #" w1 "]\n"            \
  "ldr q6, [x4, #" w2 "]\n"            \
  "ldr q7, [x4, #" w3 "]\n"
#define EQ_ROWS_OF_RUN "add x0, x23, x9\n" "add x1, x23, x10\n" "add x2, x23, x11\n" "add x3, x23, x12\n"
/* Four rows are finished but for their last group's codes. */
#define EQ_NEXT_ROWS             \
  "ldr x22, [x21, #144]\n"       \
  "ldp x26, x24, [x21, #96]\n"   \
  "ldr x25, [x21, #32]\n"        \
  "ldr x23, [x21, #64]\n"        \
  "ldp x4, x2, [x21, #120]\n"    \
  "adr x3, 3b\n"                 \
  "adr x5, 5f\n"                 \
  "sub x22, x22, #1\n"           \
  "add x24, x24, x25, lsl #2\n"  \
  "add x23, x26, x23, lsl #2\n"  \
  "cmp x22, #1\n"                \
  "csel x25, x5, x3, eq\n"       \
  "stp x23, x24, [x21, #96]\n"   \
  "str x25, [x21, #24]\n"        \
  "str x22, [x21, #144]\n"       \
  "add x9, x9, x2, lsl #2\n"     \
  "add x10, x10, x2, lsl #2\n"   \
  "add x11, x11, x2, lsl #2\n"   \
  "add x12, x12, x2, lsl #2\n"   \
  "mov x19, #-1\n"               \
  "add x27, x21, #64\n"

/* A tile begins. Group x19 is finished: where its codes go, and its constants. */
#define EQ_FINISH_GROUP            \
  "ldp x14, x15, [x27]\n"          \
  "ldp x16, x17, [x27, #16]\n"     \
  "add x13, x26, x19, lsl #2\n"    \
  "ldp x23, x7, [x21]\n"           \
  "ldr q8, [x15, x19, lsl #4]\n"   \
  "ldr q9, [x16, x19, lsl #4]\n"   \
  "ldr s10, [x17, x19, lsl #2]\n"  \
  EQ_ROWS_OF_RUN

/* The next group, whose tile is at that label, and what follows it and its first run, among other instructions. */
#define EQ_NEXT_GROUP(tile, a, b, c, d) \
  "ldp x26, x24, [x21, #104]\n"         \
  "ldp x8, x25, [x21, #16]\n"           \
  a                                     \
  "add x19, x19, #1\n"                  \
  "adr x17, " tile "\n"                 \
  "add x27, x21, #32\n"                 \
  b                                     \
  "cmp x19, x24\n"                      \
  c                                     \
  "csel x15, x25, x17, eq\n"            \
  "subs x8, x8, #1\n"                   \
  d                                     \
  "csel x16, x30, x15, pl\n"

/* Codes of the finished tile, in steps, to v12 and v14. */
#define EQ_ADD_QUADS_LOW \
  EQ_WITH("addp", 16, 16, 20) EQ_WITH("addp", 17, 17, 21) EQ_WITH("addp", 18, 18, 22) EQ_WITH("addp", 19, 19, 23)
#define EQ_ADD_QUADS_HIGH \
  EQ_WITH("addp", 24, 24, 28) EQ_WITH("addp", 25, 25, 29) EQ_WITH("addp", 26, 26, 30) EQ_WITH("addp", 27, 27, 31)
#define EQ_ADD_DOUBLES \
  EQ_WITH("addp", 16, 16, 24) EQ_WITH("addp", 17, 17, 25) EQ_WITH("addp", 18, 18, 26) EQ_WITH("addp", 19, 19, 27)
#define EQ_SHORTS "sxtl v10.8h, v10.8b\n"
#define EQ_WORDS "sxtl v10.4s, v10.4h\n"
#define EQ_SHIFT \
  EQ_WITH("srshl", 12, 16, 10) EQ_WITH("srshl", 13, 17, 10) EQ_WITH("srshl", 14, 18, 10) EQ_WITH("srshl", 15, 19, 10)
#define EQ_NARROW "sqxtn v12.4h, v12.4s\n" "sqxtn v14.4h, v14.4s\n"
#define EQ_NARROW_MORE "sqxtn2 v12.8h, v13.4s\n" "sqxtn2 v14.8h, v15.4s\n"
#define EQ_ADD_ZERO "sqadd v12.8h, v12.8h, v11.8h\n" "sqadd v14.8h, v14.8h, v11.8h\n"
#define EQ_CODES "sqxtn v12.8b, v12.8h\n" "sqxtn v14.8b, v14.8h\n"
#define EQ_OUT_ROWS "add x23, x13, x14\n" "add x24, x13, x14, lsl #1\n" "add x25, x24, x14\n"
#define EQ_STORE              \
  "str s12, [x13]\n"          \
  "st1 {v12.s}[1], [x23]\n"   \
  "str s14, [x24]\n"          \
  "st1 {v14.s}[1], [x25]\n"

/* A tile's first block among the codes of the finished one. high: the high product, after: what follows it before the
 * shift. */
#define EQ_ONE_BLOCK(tile, high, after)       \
  EQ_FINISH_GROUP                             \
  EQ_NEXT_GROUP(tile, "", EQ_LOAD_WEIGHTS("16", "32", "48", "64"), EQ_LOAD_LOW_ROWS("x6"), \
                EQ_LOAD_HIGH_ROWS("x6") "ldr q11, [x21, #160]\n") \
  "add x4, x4, #80\n"                         \
  "add x5, x6, #16\n"                         \
  EQ_OUT_ROWS                                 \
  EQ_SHORTS                                   \
  EQ_ADD_QUADS_LOW EQ_ADD_QUADS_HIGH          \
  EQ_MUL4(28, 29, 30, 31, 5)                  \
  EQ_ADD_DOUBLES                              \
  EQ_MUL4(24, 25, 26, 27, 4)                  \
  EQ_EACH4("add", 8)                          \
  EQ_MLA4(28, 29, 30, 31, 5)                  \
  EQ_WORDS high                               \
  EQ_PAIRS4("saddlp", 20, 21, 22, 23, 28, 29, 30, 31) \
  after                                       \
  EQ_MLA4(24, 25, 26, 27, 4)                  \
  EQ_SHIFT                                    \
  EQ_MUL4(28, 29, 30, 31, 6)                  \
  EQ_NARROW                                   \
  EQ_MLA4(28, 29, 30, 31, 6)                  \
  EQ_MUL4(8, 9, 10, 4, 7)                     \
  EQ_PAIRS4("saddlp", 16, 17, 18, 19, 24, 25, 26, 27) \
  EQ_NARROW_MORE                              \
  EQ_MLA4(8, 9, 10, 4, 7)                     \
  EQ_ADD_ZERO                                 \
  EQ_PAIRS4("saddlp", 24, 25, 26, 27, 28, 29, 30, 31) \
  EQ_CODES                                    \
  EQ_PAIRS4("saddlp", 28, 29, 30, 31, 8, 9, 10, 4) \
  EQ_STORE                                    \
  "br x28\n"

/* The same for its first two blocks. */
#define EQ_TWO_BLOCKS(tile, high, after)      \
  EQ_FINISH_GROUP                             \
  "add x22, x6, #16\n"                        \
  EQ_LOAD_WEIGHTS("16", "32", "48", "64")     \
  EQ_LOAD_ROWS("x6")                          \
  EQ_ADD_QUADS_HIGH EQ_ADD_QUADS_LOW          \
  EQ_MUL4(28, 29, 30, 31, 5)                  \
  EQ_SHORTS                                   \
  EQ_ADD_DOUBLES                              \
  EQ_MLA4(28, 29, 30, 31, 5)                  \
  EQ_EACH4("add", 8)                          \
  EQ_WORDS high                               \
  EQ_MUL4(24, 25, 26, 27, 4)                  \
  after                                       \
  EQ_SHIFT                                    \
  EQ_PAIRS4("saddlp", 20, 21, 22, 23, 28, 29, 30, 31) \
  EQ_MLA4(24, 25, 26, 27, 4)                  \
  EQ_MUL4(8, 9, 10, 4, 7)                     \
  EQ_PAIRS4("saddlp", 16, 17, 18, 19, 24, 25, 26, 27) \
  EQ_MUL4(28, 29, 30, 31, 6)                  \
  EQ_MLA4(8, 9, 10, 4, 7)                     \
  EQ_MLA4(28, 29, 30, 31, 6)                  \
  EQ_NARROW                                   \
  EQ_PAIRS4("saddlp", 24, 25, 26, 27, 28, 29, 30, 31) \
  EQ_NARROW_MORE                              \
  EQ_PAIRS4("saddlp", 28, 29, 30, 31, 8, 9, 10, 4) \
  EQ_LOAD_WEIGHTS("80", "96", "112", "128")   \
  EQ_LOAD_ROWS("x22")                         \
  "ldr q11, [x21, #160]\n"                    \
  EQ_MUL4(8, 9, 10, 13, 4)                    \
  EQ_ADD_ZERO                                 \
  EQ_MLA4(8, 9, 10, 13, 4)                    \
  EQ_OUT_ROWS                                 \
  EQ_PAIRS4("sadalp", 16, 17, 18, 19, 8, 9, 10, 13) \
  EQ_CODES                                    \
  EQ_MUL4(8, 9, 10, 13, 5)                    \
  EQ_STORE                                    \
  EQ_MLA4(8, 9, 10, 13, 5)                    \
  EQ_MUL4(11, 12, 14, 15, 6)                  \
  EQ_PAIRS4("sadalp", 20, 21, 22, 23, 8, 9, 10, 13) \
  EQ_MUL4(8, 9, 10, 13, 7)                    \
  EQ_MLA4(11, 12, 14, 15, 6)                  \
  EQ_MLA4(8, 9, 10, 13, 7)                    \
  EQ_PAIRS4("sadalp", 24, 25, 26, 27, 11, 12, 14, 15) \
  EQ_PAIRS4("sadalp", 28, 29, 30, 31, 8, 9, 10, 13) \
  EQ_NEXT_GROUP(tile, "add x4, x4, #144\n" "add x5, x6, #32\n", "", "", "") \
  "cmp x28, #0\n"                             \
  "csel x17, x16, x28, eq\n"                  \
  "br x17\n"

#define EQ_RUN_TILES(tiles, high, after)                                                          \
  do {                                                                                            \
    register eq_tiles *job __asm__("x21") = (tiles);                                              \
    __asm__ volatile(                                                                             \
        "ldp x23, x5, [x21, #128]\n"                                                              \
        "ldp x22, x9, [x21, #144]\n"                                                              \
        "ldp x7, x8, [x21, #8]\n"                                                                 \
        "ldr x4, [x21, #120]\n"                                                                   \
        "ldr x26, [x21, #96]\n"                                                                   \
        "neg x6, x5\n"                                                                            \
        "add x9, x9, x5\n"                                                                        \
        "add x10, x9, x23\n"                                                                      \
        "add x11, x9, x23, lsl #1\n"                                                              \
        "add x12, x11, x23\n"                                                                     \
        "adr x23, 3f\n"                                                                           \
        "adr x24, 5f\n"                                                                           \
        "cmp x22, #1\n"                                                                           \
        "csel x23, x24, x23, eq\n"                                                                \
        "str x23, [x21, #24]\n"                                                                   \
        "adr x30, 6f\n"                                                                           \
        "adr x24, 61f\n"                                                                          \
        "adr x23, 2f\n"                                                                           \
        "tst x5, #16\n"                                                                           \
        "csel x30, x30, x24, eq\n"                                                                \
        "csel x23, xzr, x23, eq\n"                                                                \
        "adr x24, 7f\n"                                                                           \
        "cmp x7, #0\n"                                                                            \
        "csel x30, x24, x30, eq\n"                                                                \
        "adr x28, 8f\n"                                                                           \
        "adr x24, 91f\n"                                                                          \
        "ldr x22, [x21, #176]\n"                                                                  \
        "cmp x22, #0\n"                                                                           \
        "csel x28, x28, x24, eq\n"                                                                \
        "cmp x5, #32\n"                                                                           \
        "csel x28, x28, x23, hi\n"                                                                \
        "mov x19, #-1\n"                                                                          \
        "add x27, x21, #64\n"                                                                     \
        "tbz x6, #4, 42f\n"                                                                       \
        "b 41f\n"                                                                                 \
        ".p2align 10\n" /* what runs often lies in one page */                                    \
        "3:\n"                                                                                    \
        EQ_NEXT_ROWS                                                                              \
        "tbnz x6, #4, 41f\n"                                                                      \
        "42:\n" /* a tile of rows with an even number of blocks */                                \
        EQ_TWO_BLOCKS("42b", high, after)                                                         \
        ".p2align 10\n"                                                                           \
        "41:\n" /* of an odd number */                                                            \
        EQ_ONE_BLOCK("41b", high, after)                                                          \
        ".p2align 10\n"                                                                           \
        "61:\n" /* another run of an odd number */                                                \
        "ldr x23, [x7], #8\n"                                                                     \
        "subs x8, x8, #1\n"                                                                       \
        EQ_LOAD_WEIGHTS("0", "16", "32", "48")                                                    \
        EQ_ROWS_OF_RUN                                                                            \
        "csel x16, x30, x15, pl\n"                                                                \
        "add x4, x4, #64\n"                                                                       \
        "adds x5, x6, #16\n"                                                                      \
        EQ_LOAD_ROWS("x6")                                                                        \
        EQ_FOUR_CHANNELS                                                                          \
        "b.eq 2f\n"                                                                               \
        "8:\n" /* two more blocks of a run */                                                     \
        EQ_LOAD_WEIGHTS("0", "16", "32", "48")                                                    \
        "add x22, x5, #16\n"                                                                      \
        EQ_LOAD_ROWS("x5")                                                                        \
        "adds x5, x5, #32\n"                                                                      \
        EQ_FOUR_CHANNELS                                                                          \
        EQ_LOAD_WEIGHTS("64", "80", "96", "112")                                                  \
        "add x4, x4, #128\n"                                                                      \
        EQ_LOAD_ROWS("x22")                                                                       \
        EQ_FOUR_CHANNELS                                                                          \
        "b.ne 8b\n"                                                                               \
        "2:\n"                                                                                    \
        "br x16\n"                                                                                \
        "6:\n" /* another run of an even number */                                                \
        "ldr x23, [x7], #8\n"                                                                     \
        "subs x8, x8, #1\n"                                                                       \
        "csel x16, x30, x15, pl\n"                                                                \
        "mov x5, x6\n"                                                                            \
        EQ_ROWS_OF_RUN                                                                            \
        "b 8b\n"                                                                                  \
        "91:\n" /* a group may have chains of four */                                             \
        "ldur w23, [x4, #-144]\n"                                                                 \
        "tst w23, #12\n"                                                                          \
        "b.eq 8b\n"                                                                               \
        "9:\n" /* two more blocks in chains of four; the second one's rows serve all channels at once */ \
        "ldp q4, q5, [x4]\n"                                                                      \
        EQ_LOAD_ROWS("x5")                                                                        \
        "add x22, x5, #16\n"                                                                      \
        EQ_TWO_CHANNELS(4, 5)                                                                     \
        "ldp q6, q7, [x4, #64]\n"                                                                 \
        EQ_LOAD_ROWS("x22")                                                                       \
        EQ_TWO_CHANNELS_MORE(6, 7)                                                                \
        "ldp q6, q7, [x4, #96]\n"                                                                 \
        EQ_SUM_LOW                                                                                \
        EQ_TWO_CHANNELS(6, 7)                                                                     \
        "ldp q4, q5, [x4, #32]\n"                                                                 \
        EQ_LOAD_ROWS("x5")                                                                        \
        "add x4, x4, #128\n"                                                                      \
        "adds x5, x5, #32\n"                                                                      \
        EQ_TWO_CHANNELS_MORE(4, 5)                                                                \
        EQ_SUM_HIGH                                                                               \
        "b.ne 9b\n"                                                                               \
        "br x16\n"                                                                                \
        "7:\n" /* half a block behind the only run */                                             \
        EQ_LOAD_WEIGHTS("0", "16", "32", "48")                                                    \
        "ldr d0, [x0]\n"                                                                          \
        "ldr d1, [x1]\n"                                                                          \
        "ldr d2, [x2]\n"                                                                          \
        "ldr d3, [x3]\n"                                                                          \
        "add x4, x4, #64\n"                                                                       \
        EQ_MUL4(8, 9, 10, 11, 4) EQ_MUL4(12, 13, 14, 15, 5)                                       \
        EQ_SUM_LOW                                                                                \
        EQ_MUL4(8, 9, 10, 11, 6) EQ_MUL4(12, 13, 14, 15, 7)                                       \
        EQ_SUM_HIGH                                                                               \
        "br x15\n"                                                                                \
        "5:\n" /* the last tile's codes */                                                        \
        "mov x19, #-1\n"                                                                          \
        "ldr x26, [x21, #96]\n"                                                                   \
        "add x27, x21, #64\n"                                                                     \
        EQ_FINISH_GROUP                                                                           \
        EQ_OUT_ROWS                                                                               \
        "ldr q11, [x21, #160]\n"                                                                  \
        EQ_ADD_QUADS_LOW EQ_ADD_QUADS_HIGH EQ_SHORTS EQ_ADD_DOUBLES EQ_WORDS                      \
        EQ_EACH4("add", 8) high after EQ_SHIFT                                                    \
        EQ_NARROW EQ_NARROW_MORE EQ_ADD_ZERO EQ_CODES                                             \
        EQ_STORE                                                                                  \
        : "+r"(job)                                                                               \
        :                                                                                         \
        : "cc", "memory", "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",  \
          "x14", "x15", "x16", "x17", "x19", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30", "v0", "v1",   \
          "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17",  \
          "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");       \
  } while (0)

#define EQ_LESS_ONE_WHERE_NEGATIVE                                \
  "ssra v16.4s, v16.4s, #31\n" "ssra v17.4s, v17.4s, #31\n"       \
  "ssra v18.4s, v18.4s, #31\n" "ssra v19.4s, v19.4s, #31\n"

/* In place of high products, form SHIFT takes one off the shifts. */
#define EQ_SHIFTS_LESS_ONE "movi v9.16b, #255\n" "add v10.4s, v10.4s, v9.4s\n"

/* All codes of the tiles in one of the forms UP, AWAY, SINGLE and SHIFT. The loop begins as if a tile's codes were due; what it
 * writes then, to the last group of the first rows, is written again. */
static inline void eq_run_tiles(eq_tiles *tiles, eq_requant_form form) {
  if (form == EQ_FORM_UP) {
    EQ_RUN_TILES(tiles, EQ_EACH4("sqrdmulh", 9), "");
  } else if (form == EQ_FORM_AWAY) {
    EQ_RUN_TILES(tiles, EQ_EACH4("sqrdmulh", 9), EQ_LESS_ONE_WHERE_NEGATIVE);
  } else if (form == EQ_FORM_SHIFT) {
    EQ_RUN_TILES(tiles, EQ_SHIFTS_LESS_ONE, "");
  } else {
    EQ_RUN_TILES(tiles, EQ_EACH4("sqdmulh", 9), "");
  }
}

#endif
