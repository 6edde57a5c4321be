/* SPDX-License-Identifier: Apache-2.0
 * Products of int8 rows with packed weights (layout C4K16), four rows by four channels or one row by eight at a time.
 *
 * Two products of a channel, of the halves of a block of 16 inputs, are added in int16 (SMULL, SMLAL2), then their pairs
 * in int32 (SADALP). The loops are assembly for the sake of in-order cores: a block's loads stand together, those of one
 * row through a common index, and between an instruction and one that needs its result stand seven others. */
#if defined(__aarch64__)
#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"
#include "kernels/neon/packed_tiles_neon.h"
#include "kernels/neon/requant_neon.h"
#include "kernels/packed.h"

enum {
  ROWS = 4,      /* of a tile */
  CHANNELS = 4,  /* of a group */
  HEAD = 16,     /* bytes in front of a group's weights */
  BLOCK = 64,    /* bytes of a group's weights for 16 inputs */
};

/* Where a tile's rows begin; runs of `bytes`, a multiple of 16, > 0. */
typedef struct rows {
  const int8_t *const *runs;
  int64_t n_runs; /* > 0 */
  size_t first;   /* of the first row in every run */
  size_t stride;
  size_t bytes;
} rows;

#define MULTIPLY(sum, x, w) "smull v" #sum ".8h, v" #x ".8b, v" #w ".8b\n"
#define MULTIPLY_ADD(sum, x, w) "smlal2 v" #sum ".8h, v" #x ".16b, v" #w ".16b\n"
#define PAIRS(op, sum, pairs) op " v" #sum ".4s, v" #pairs ".8h\n"
#define ADD_PAIRS(sum, a, b) "addp v" #sum ".4s, v" #a ".4s, v" #b ".4s\n"

/* A block of two channels w and v, whose sums of row r are registers s + r and t + r. */
#define TWO_CHANNELS(op, w, v, s0, s1, s2, s3, t0, t1, t2, t3)                                     \
  MULTIPLY(8, 0, w) MULTIPLY(9, 1, w) MULTIPLY(10, 2, w) MULTIPLY(11, 3, w)                        \
  MULTIPLY(12, 0, v) MULTIPLY(13, 1, v) MULTIPLY(14, 2, v) MULTIPLY(15, 3, v)                      \
  MULTIPLY_ADD(8, 0, w) MULTIPLY_ADD(9, 1, w) MULTIPLY_ADD(10, 2, w) MULTIPLY_ADD(11, 3, w)        \
  MULTIPLY_ADD(12, 0, v) MULTIPLY_ADD(13, 1, v) MULTIPLY_ADD(14, 2, v) MULTIPLY_ADD(15, 3, v)      \
  PAIRS(op, s0, 8) PAIRS(op, s1, 9) PAIRS(op, s2, 10) PAIRS(op, s3, 11)                            \
  PAIRS(op, t0, 12) PAIRS(op, t1, 13) PAIRS(op, t2, 14) PAIRS(op, t3, 15)

#define TILE_BLOCK(op)                                                   \
  "ldp q4, q5, [%[w]]\n"                                                 \
  "ldp q6, q7, [%[w], #32]\n"                                            \
  "ldr q0, [%[x0], %[i]]\n"                                              \
  "ldr q1, [%[x1], %[i]]\n"                                              \
  "ldr q2, [%[x2], %[i]]\n"                                              \
  "ldr q3, [%[x3], %[i]]\n"                                              \
  "add %[w], %[w], #64\n"                                                \
  "add %[i], %[i], #16\n"                                                \
  "cmp %[i], %[bytes]\n"                                                 \
  TWO_CHANNELS(op, 4, 5, 16, 17, 18, 19, 20, 21, 22, 23)                 \
  TWO_CHANNELS(op, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31)

/* sums[r] = those of row r with a group's four channels. */
static void sum_tile(int32_t sums[ROWS][CHANNELS], const rows *x, const int8_t *w) {
  const int8_t *const *runs = x->runs;
  int64_t left = x->n_runs;
  const int8_t *x0, *x1, *x2, *x3;
  size_t i;
  w += HEAD;
  __asm__ volatile(
      "ldr %[x0], [%[runs]], #8\n"
      "mov %[i], #0\n"
      "add %[x0], %[x0], %[first]\n"
      "add %[x1], %[x0], %[stride]\n"
      "add %[x2], %[x1], %[stride]\n"
      "add %[x3], %[x2], %[stride]\n"
      TILE_BLOCK("saddlp")
      "b.eq 2f\n"
      "1:\n"
      TILE_BLOCK("sadalp")
      "b.ne 1b\n"
      "2:\n"
      "subs %[left], %[left], #1\n"
      "b.eq 3f\n"
      "ldr %[x0], [%[runs]], #8\n"
      "mov %[i], #0\n"
      "add %[x0], %[x0], %[first]\n"
      "add %[x1], %[x0], %[stride]\n"
      "add %[x2], %[x1], %[stride]\n"
      "add %[x3], %[x2], %[stride]\n"
      "b 1b\n"
      "3:\n"
      ADD_PAIRS(16, 16, 20) ADD_PAIRS(17, 17, 21) ADD_PAIRS(18, 18, 22) ADD_PAIRS(19, 19, 23)
      ADD_PAIRS(24, 24, 28) ADD_PAIRS(25, 25, 29) ADD_PAIRS(26, 26, 30) ADD_PAIRS(27, 27, 31)
      ADD_PAIRS(16, 16, 24) ADD_PAIRS(17, 17, 25) ADD_PAIRS(18, 18, 26) ADD_PAIRS(19, 19, 27)
      "stp q16, q17, [%[sums]]\n"
      "stp q18, q19, [%[sums], #32]\n"
      : [runs] "+r"(runs), [left] "+r"(left), [w] "+r"(w), [i] "=&r"(i), [x0] "=&r"(x0), [x1] "=&r"(x1),
        [x2] "=&r"(x2), [x3] "=&r"(x3)
      : [sums] "r"(sums), [first] "r"(x->first), [stride] "r"(x->stride), [bytes] "r"(x->bytes)
      : "cc", "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14",
        "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30",
        "v31");
}

#define ROW_BLOCK(op)                                                                                             \
  "ldr q0, [%[x], %[i]]\n"                                                                                        \
  "ldp q1, q2, [%[w]]\n"                                                                                          \
  "ldp q3, q4, [%[w], #32]\n"                                                                                     \
  "ldp q5, q6, [%[v]]\n"                                                                                          \
  "ldp q7, q8, [%[v], #32]\n"                                                                                     \
  "add %[w], %[w], #64\n"                                                                                         \
  "add %[v], %[v], #64\n"                                                                                         \
  "add %[i], %[i], #16\n"                                                                                         \
  "cmp %[i], %[bytes]\n"                                                                                          \
  MULTIPLY(16, 0, 1) MULTIPLY(17, 0, 2) MULTIPLY(18, 0, 3) MULTIPLY(19, 0, 4)                                     \
  MULTIPLY(20, 0, 5) MULTIPLY(21, 0, 6) MULTIPLY(22, 0, 7) MULTIPLY(23, 0, 8)                                     \
  MULTIPLY_ADD(16, 0, 1) MULTIPLY_ADD(17, 0, 2) MULTIPLY_ADD(18, 0, 3) MULTIPLY_ADD(19, 0, 4)                     \
  MULTIPLY_ADD(20, 0, 5) MULTIPLY_ADD(21, 0, 6) MULTIPLY_ADD(22, 0, 7) MULTIPLY_ADD(23, 0, 8)                     \
  PAIRS(op, 24, 16) PAIRS(op, 25, 17) PAIRS(op, 26, 18) PAIRS(op, 27, 19)                                         \
  PAIRS(op, 28, 20) PAIRS(op, 29, 21) PAIRS(op, 30, 22) PAIRS(op, 31, 23)

/* sums = those of the first row with two groups' four channels each. */
static void sum_row(int32_t sums[2][CHANNELS], const rows *x, const int8_t *w, const int8_t *v) {
  const int8_t *const *runs = x->runs;
  int64_t left = x->n_runs;
  const int8_t *x0;
  size_t i;
  w += HEAD;
  v += HEAD;
  __asm__ volatile(
      "ldr %[x], [%[runs]], #8\n"
      "mov %[i], #0\n"
      "add %[x], %[x], %[first]\n"
      ROW_BLOCK("saddlp")
      "b.eq 2f\n"
      "1:\n"
      ROW_BLOCK("sadalp")
      "b.ne 1b\n"
      "2:\n"
      "subs %[left], %[left], #1\n"
      "b.eq 3f\n"
      "ldr %[x], [%[runs]], #8\n"
      "mov %[i], #0\n"
      "add %[x], %[x], %[first]\n"
      "b 1b\n"
      "3:\n"
      ADD_PAIRS(24, 24, 25) ADD_PAIRS(26, 26, 27) ADD_PAIRS(28, 28, 29) ADD_PAIRS(30, 30, 31)
      ADD_PAIRS(24, 24, 26) ADD_PAIRS(28, 28, 30)
      "stp q24, q28, [%[sums]]\n"
      : [runs] "+r"(runs), [left] "+r"(left), [w] "+r"(w), [v] "+r"(v), [i] "=&r"(i), [x] "=&r"(x0)
      : [sums] "r"(sums), [first] "r"(x->first), [bytes] "r"(x->bytes)
      : "cc", "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v16", "v17", "v18", "v19", "v20", "v21",
        "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");
}

/* The same for one row and one group, two of whose products may not be added in int16. */
static void sum_slowly(int32_t sums[CHANNELS], const rows *x, size_t first, const int8_t *w) {
  int32x4_t found[CHANNELS] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
  w += HEAD;
  for (int64_t run = 0; run < x->n_runs; run++) {
    const int8_t *codes = x->runs[run] + first;
    for (size_t i = 0; i < x->bytes; i += 16, w += BLOCK) {
      const int8x16_t inputs = vld1q_s8(codes + i);
      for (int c = 0; c < CHANNELS; c++) {
        const int8x16_t weights = vld1q_s8(w + 16 * c);
        found[c] = vpadalq_s16(found[c], vmull_s8(vget_low_s8(inputs), vget_low_s8(weights)));
        found[c] = vpadalq_s16(found[c], vmull_high_s8(inputs, weights));
      }
    }
  }
  vst1q_s32(sums, vpaddq_s32(vpaddq_s32(found[0], found[1]), vpaddq_s32(found[2], found[3])));
}

/* True when sums of x with a group can be found quickly: two of its products may be added in int16, and there are some. */
static bool is_fast(const rows *x, const int8_t *w) {
  return *(const int32_t *)(const void *)w > 1 && x->n_runs > 0 && x->bytes > 0;
}

/* Store the first `count` of eight codes. */
EQ_ALWAYS_INLINE void store_codes(int8_t *out, int8x8_t codes, int32_t count) {
  if (count == 8) {
    vst1_s8(out, codes);
    return;
  }
  int8_t found[8];
  vst1_s8(found, codes);
  for (int32_t c = 0; c < count; c++) out[c] = found[c];
}

/* Codes of one row or, to let results wait for each other less, of four from the sums of two groups. */
EQ_ALWAYS_INLINE void finish(int8_t *out, size_t out_stride, int32_t sums[2][ROWS][CHANNELS], int n_rows,
                             const eq_linear_s8 *linear, int32_t first, int32_t count, eq_requant_form form) {
  eq_channels4 c[2];
  eq_load_channels(c, linear, first, count, form);
  const eq_codes codes = eq_codes_of(linear);
  int32x4_t y[2][ROWS];
#pragma GCC unroll 2
  for (int g = 0; g < 2; g++) {
#pragma GCC unroll 4
    for (int r = 0; r < n_rows; r++) y[g][r] = eq_requant4(vaddq_s32(vld1q_s32(sums[g][r]), c[g].bias), &c[g], form);
  }
  if (n_rows == 1) {
    store_codes(out, eq_codes8(y[0][0], y[1][0], &codes), count);
    return;
  }
  const int8x16_t low = eq_codes16(y[0][0], y[1][0], y[0][1], y[1][1], &codes);
  const int8x16_t high = eq_codes16(y[0][2], y[1][2], y[0][3], y[1][3], &codes);
  store_codes(out, vget_low_s8(low), count);
  store_codes(out + out_stride, vget_high_s8(low), count);
  store_codes(out + 2 * out_stride, vget_low_s8(high), count);
  store_codes(out + 3 * out_stride, vget_high_s8(high), count);
}

/* All channels of n_rows rows, 4 or 1. */
EQ_ALWAYS_INLINE void run_rows(int8_t *out, size_t out_stride, const rows *x, int n_rows, const int8_t *w,
                               size_t group_bytes, int32_t n, const eq_linear_s8 *linear, eq_requant_form form) {
  for (int32_t first = 0; first < n; first += 2 * CHANNELS, w += 2 * group_bytes) {
    const int32_t count = eq_min32(n - first, 2 * CHANNELS);
    const int8_t *groups[2] = {w, count > CHANNELS ? w + group_bytes : w};
    int32_t sums[2][ROWS][CHANNELS];
    if (n_rows == 1 && is_fast(x, groups[0]) && is_fast(x, groups[1])) {
      int32_t found[2][CHANNELS];
      sum_row(found, x, groups[0], groups[1]);
      vst1q_s32(sums[0][0], vld1q_s32(found[0]));
      vst1q_s32(sums[1][0], vld1q_s32(found[1]));
    } else {
      for (int g = 0; g < 2; g++) {
        if (n_rows == ROWS && is_fast(x, groups[g])) {
          if (groups[g] != groups[0] || g == 0) sum_tile(sums[g], x, groups[g]);
        } else {
          for (int r = 0; r < n_rows; r++) sum_slowly(sums[g][r], x, x->first + (size_t)r * x->stride, groups[g]);
        }
      }
    }
    finish(out + first, out_stride, sums, n_rows, linear, first, count, form);
  }
}

/* Copy the first `count` bytes of rows of four. */
static void spread(int8_t *out, size_t out_stride, const int8_t *rows, int32_t m, int32_t count) {
  for (int32_t r = 0; r < m; r++, out += out_stride, rows += CHANNELS) {
    for (int32_t c = 0; c < count; c++) out[c] = rows[c];
  }
}

/* Tiles of four rows by all channels; false when they need what eq_run_tiles does not do. */
static bool run_tiles(int8_t *out, size_t out_stride, const eq_gemm_rows *x, const int8_t *w, int32_t row_tiles,
                      int32_t n, const eq_linear_s8 *linear, eq_requant_form form) {
  const bool bounded = linear->act_min != INT8_MIN || linear->act_max != INT8_MAX;
  const bool known = form == EQ_FORM_UP || form == EQ_FORM_AWAY || form == EQ_FORM_SINGLE;
  if (bounded || !known || row_tiles == 0 || n == 0 || x->n_runs == 0 || x->run == 0) return false;
  const size_t group_bytes = eq_packed_group_bytes(EQ_LAYOUT_C4K16, x->n_runs * x->run);
  const int32_t groups = (n + CHANNELS - 1) / CHANNELS, first = (groups - 1) * CHANNELS, count = n - first;
  for (int32_t g = 0; g < groups; g++) {
    if (*(const int32_t *)(const void *)(w + (size_t)g * group_bytes) == 1) return false;
  }
  eq_tiles tiles = {
      .first_run = x->runs[0], .other_runs = x->runs + 1, .n_runs = x->n_runs, .weights = w, .out = out,
      .out_stride = out_stride, .bias = linear->bias, .multipliers = linear->multipliers, .shifts = linear->shifts,
      .x_stride = x->stride, .run_bytes = ((size_t)x->run + 15) / 16 * 16, .groups = groups, .row_tiles = row_tiles,
  };
  for (int i = 0; i < 8; i++) tiles.zeros[i] = (int16_t)linear->zero;
  if (count == CHANNELS) {
    eq_run_tiles(&tiles, form);
    return true;
  }
  int32_t bias[CHANNELS] = {0}, multipliers[CHANNELS] = {0};
  int8_t shifts[CHANNELS] = {0}, codes[EQ_GEMM_ROWS][CHANNELS];
  for (int32_t c = 0; c < count; c++) {
    bias[c] = linear->bias[first + c];
    multipliers[c] = linear->multipliers[first + c];
    shifts[c] = linear->shifts[first + c];
  }
  tiles.last_stride = CHANNELS;
  tiles.last_bias = bias;
  tiles.last_multipliers = multipliers;
  tiles.last_shifts = shifts;
  for (int32_t tile = 0; tile < row_tiles; tile += EQ_GEMM_ROWS / ROWS) {
    tiles.row_tiles = eq_min32(row_tiles - tile, EQ_GEMM_ROWS / ROWS);
    tiles.last_out = codes[0];
    eq_run_tiles(&tiles, form);
    spread(tiles.out + first, out_stride, codes[0], ROWS * (int32_t)tiles.row_tiles, count);
    tiles.out += EQ_GEMM_ROWS * out_stride;
    tiles.x_first += EQ_GEMM_ROWS * x->stride;
  }
  return true;
}

EQ_ALWAYS_INLINE void run(int8_t *out, size_t out_stride, const eq_gemm_rows *x, const int8_t *w, int32_t m, int32_t n,
                          const eq_linear_s8 *linear, eq_requant_form form) {
  const size_t group_bytes = eq_packed_group_bytes(EQ_LAYOUT_C4K16, x->n_runs * x->run);
  rows tile = {.runs = x->runs, .n_runs = x->n_runs, .first = 0, .stride = x->stride,
               .bytes = ((size_t)x->run + 15) / 16 * 16};
  int32_t row = 0;
  if (run_tiles(out, out_stride, x, w, m / ROWS, n, linear, form)) {
    row = m / ROWS * ROWS;
    out += (size_t)row * out_stride;
    tile.first = (size_t)row * x->stride;
  }
  for (; row + ROWS <= m; row += ROWS, out += ROWS * out_stride, tile.first += ROWS * x->stride) {
    run_rows(out, out_stride, &tile, ROWS, w, group_bytes, n, linear, form);
  }
  for (; row < m; row++, out += out_stride, tile.first += x->stride) {
    run_rows(out, out_stride, &tile, 1, w, group_bytes, n, linear, form);
  }
}

void eq_packed_gemm_s8_neon(int8_t *out, size_t out_stride, const eq_gemm_rows *x, const int8_t *w, int32_t m,
                            int32_t n, const eq_linear_s8 *linear) {
  switch (eq_requant_form_of(linear, n)) {
    case EQ_FORM_UP: run(out, out_stride, x, w, m, n, linear, EQ_FORM_UP); break;
    case EQ_FORM_AWAY: run(out, out_stride, x, w, m, n, linear, EQ_FORM_AWAY); break;
    case EQ_FORM_DOUBLE: run(out, out_stride, x, w, m, n, linear, EQ_FORM_DOUBLE); break;
    case EQ_FORM_SINGLE: run(out, out_stride, x, w, m, n, linear, EQ_FORM_SINGLE); break;
    case EQ_FORM_WIDE: run(out, out_stride, x, w, m, n, linear, EQ_FORM_WIDE); break;
    default: run(out, out_stride, x, w, m, n, linear, EQ_FORM_EXACT); break;
  }
}
#endif
