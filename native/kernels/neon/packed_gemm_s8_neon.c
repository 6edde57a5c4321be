/* SPDX-License-Identifier: Apache-2.0
 * Products of int8 rows with packed weights (layout C4K16). */
#if defined(__aarch64__)
#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"
#include "kernels/neon/packed_row_neon.h"
#include "kernels/neon/packed_short_neon.h"
#include "kernels/neon/packed_tiles_neon.h"
#include "kernels/neon/requant_neon.h"
#include "kernels/packed.h"

enum {
  ROWS = 4,                       /* of a tile */
  CHANNELS = 4,                   /* of a group */
  TILES = EQ_GEMM_ROWS / ROWS,    /* whose output may lie over their input's group of rows */
};

/* A product as the loops below want it. */
typedef struct product {
  const eq_gemm_rows *x;
  const int8_t *weights;
  const eq_linear_s8 *linear;
  size_t group_bytes;
  size_t run_bytes; /* rounded up to whole blocks */
  int32_t n;
  int32_t chains; /* of all groups: the bits that any has */
} product;

/* The products that may be chained in a group, from its head. */
static int32_t chain_of(const int8_t *group) { return *(const int32_t *)(const void *)group; }

static void copy_bytes(int8_t *to, const int8_t *from, int32_t n) {
  for (int32_t i = 0; i < n; i++) to[i] = from[i];
}

/* Constants of the last few channels with zeros behind them. */
typedef struct last_channels {
  int32_t bias[2 * CHANNELS];
  int32_t multipliers[2 * CHANNELS];
  int8_t shifts[2 * CHANNELS];
} last_channels;

static last_channels last_channels_of(const eq_linear_s8 *linear, int32_t first, int32_t count) {
  last_channels last = {.bias = {0}};
  for (int32_t c = 0; c < count; c++) {
    last.bias[c] = linear->bias[first + c];
    last.multipliers[c] = linear->multipliers[first + c];
    last.shifts[c] = linear->shifts[first + c];
  }
  return last;
}

/* The first rows, in tiles, > 0. */
EQ_ALWAYS_INLINE void run_tiles(int8_t *out, size_t out_stride, const product *p, int32_t row_tiles,
                                eq_requant_form form) {
  const eq_linear_s8 *linear = p->linear;
  const int32_t groups = (p->n + CHANNELS - 1) / CHANNELS, first = (groups - 1) * CHANNELS, count = p->n - first;
  eq_tiles tiles = {
      .first_run = p->x->runs[0], .other_runs = p->x->runs + 1, .parts = p->x->n_runs - 1,
      .whole = {out_stride, linear->bias, linear->multipliers, linear->shifts},
      .last = {out_stride, linear->bias + p->n, linear->multipliers + p->n, linear->shifts + p->n},
      .last_out = out + p->n, .out = out, .last_group = groups - 1, .weights = p->weights,
      .x_stride = p->x->stride, .run_bytes = p->run_bytes, .row_tiles = row_tiles,
  };
  const int32_t rest = p->x->run % 16;
  if (p->x->n_runs == 1 && p->x->run > 16 && 1 <= rest && rest <= 8) { /* the last block's upper half is padding */
    tiles.other_runs = NULL;
    tiles.parts = 1;
    tiles.run_bytes -= 16;
  }
  tiles.chained = p->chains > 3 && p->x->n_runs == 1 && tiles.run_bytes % 32 == 0;
  for (int i = 0; i < 8; i++) tiles.zeros[i] = (int16_t)linear->zero;
  if (count == CHANNELS) {
    eq_run_tiles(&tiles, form);
    return;
  }
  const last_channels last = last_channels_of(linear, first, count);
  int8_t codes[EQ_GEMM_ROWS][CHANNELS];
  tiles.last = (eq_tile_codes){CHANNELS, last.bias + CHANNELS, last.multipliers + CHANNELS, last.shifts + CHANNELS};
  for (int32_t done = 0; done < row_tiles; done += TILES) {
    const int32_t now = eq_min32(row_tiles - done, TILES);
    int8_t *rows = out + (size_t)(done * ROWS) * out_stride;
    tiles.row_tiles = now;
    tiles.x_first = (size_t)(done * ROWS) * p->x->stride;
    tiles.out = rows;
    tiles.last_out = codes[1];
    eq_run_tiles(&tiles, form);
    for (int32_t r = 0; r < now * ROWS; r++) copy_bytes(rows + (size_t)r * out_stride + first, codes[r], count);
  }
}

/* One row: pairs of whole groups, then the channels that are left. */
EQ_ALWAYS_INLINE void run_row(int8_t *out, const product *p, int32_t r, eq_requant_form form) {
  const eq_linear_s8 *linear = p->linear;
  const int32_t pairs = p->n / (2 * CHANNELS), first = pairs * 2 * CHANNELS, count = p->n - first;
  eq_row row = {
      .runs = p->x->runs, .n_runs = p->x->n_runs, .weights = p->weights, .group_bytes = p->group_bytes, .out = out,
      .x_first = (size_t)r * p->x->stride, .run_bytes = p->run_bytes, .pairs = pairs, .bias = linear->bias,
      .multipliers = linear->multipliers, .shifts = linear->shifts,
  };
  for (int i = 0; i < 8; i++) row.zeros[i] = (int16_t)linear->zero;
  last_channels last;
  int8_t codes[2 * CHANNELS];
  for (bool ends = count == 0;; ends = true) { /* both from one place, where the assembly is */
    if (row.pairs > 0) eq_run_row(&row, p->chains % 4 == 0, form);
    if (ends) break;
    last = last_channels_of(linear, first, count);
    row.weights += 2 * (size_t)pairs * p->group_bytes;
    row.group_bytes = count > CHANNELS ? p->group_bytes : 0; /* a single group is taken twice */
    row.out = codes;
    row.pairs = 1;
    row.bias = last.bias;
    row.multipliers = last.multipliers;
    row.shifts = last.shifts;
  }
  if (count > 0) copy_bytes(out + first, codes, count);
}

/* Many short rows times sixteen channels; false when it cannot be. */
EQ_ALWAYS_INLINE bool run_short(int8_t *out, size_t out_stride, const product *p, int32_t m, eq_requant_form form) {
  if (p->x->n_runs * p->x->run > EQ_SHORT_INPUTS || p->n != EQ_SHORT_CHANNELS || m < EQ_GEMM_ROWS) return false;
  eq_short_channels channels;
  if (!eq_load_short(&channels, p->weights, p->group_bytes, p->linear, form)) return false;
  eq_run_short(out, out_stride, p->x->runs[0], p->x->stride, m, &channels, p->linear, form);
  return true;
}

EQ_ALWAYS_INLINE void run_fast(int8_t *out, size_t out_stride, const product *p, int32_t m, eq_requant_form form) {
  if (form != EQ_FORM_RIGHT && run_short(out, out_stride, p, m, form)) return;
  const int32_t row_tiles = form == EQ_FORM_RIGHT ? 0 : m / ROWS;
  if (row_tiles > 0) run_tiles(out, out_stride, p, row_tiles, form);
  for (int32_t r = row_tiles * ROWS; r < m; r++) run_row(out + (size_t)r * out_stride, p, r, form);
}

/* sums[r] = those of row r with a group's channels. */
static void sum_group(int32_t sums[ROWS][CHANNELS], const product *p, int32_t first_row, int32_t rows,
                      const int8_t *group) {
  const bool paired = chain_of(group) > 1;
  for (int32_t r = 0; r < rows; r++) {
    int32x4_t found[CHANNELS] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    const int8_t *w = group + 4 * CHANNELS;
    for (int32_t run = 0; run < p->x->n_runs; run++) {
      const int8_t *x = p->x->runs[run] + (size_t)(first_row + r) * p->x->stride;
      for (size_t i = 0; i < p->run_bytes; i += 16, w += 16 * CHANNELS) {
        const int8x16_t inputs = vld1q_s8(x + i);
#pragma GCC unroll 4
        for (int c = 0; c < CHANNELS; c++) {
          const int8x16_t weights = vld1q_s8(w + 16 * c);
          int16x8_t products = vmull_s8(vget_low_s8(inputs), vget_low_s8(weights));
          if (paired) {
            products = vmlal_high_s8(products, inputs, weights);
          } else {
            found[c] = vpadalq_s16(found[c], vmull_high_s8(inputs, weights));
          }
          found[c] = vpadalq_s16(found[c], products);
        }
      }
    }
    vst1q_s32(sums[r], vpaddq_s32(vpaddq_s32(found[0], found[1]), vpaddq_s32(found[2], found[3])));
  }
}

/* Everything that the assembly does not do: bounds, left shifts, weights of -128 beside each other, nothing to add. */
EQ_ALWAYS_INLINE void run_any(int8_t *out, size_t out_stride, const product *p, int32_t m, eq_requant_form form) {
  const eq_codes codes = eq_codes_of(p->linear);
  for (int32_t row = 0; row < m; row += ROWS, out += ROWS * out_stride) {
    const int32_t rows = eq_min32(m - row, ROWS);
    const int8_t *group = p->weights;
    for (int32_t first = 0; first < p->n; first += CHANNELS, group += p->group_bytes) {
      int32_t sums[ROWS][CHANNELS] = {{0}};
      int8_t found[ROWS][CHANNELS];
      eq_channels4 c[2];
      eq_load_channels(c, p->linear, first, eq_min32(p->n - first, CHANNELS), form);
      sum_group(sums, p, row, rows, group);
      int32x4_t y[ROWS];
#pragma GCC unroll 4
      for (int r = 0; r < ROWS; r++) y[r] = eq_requant4(vaddq_s32(vld1q_s32(sums[r]), c[0].bias), &c[0], form);
      vst1q_s8(found[0], eq_codes16(y[0], y[1], y[2], y[3], &codes));
      for (int32_t r = 0; r < rows; r++) {
        copy_bytes(out + (size_t)r * out_stride + first, found[r], eq_min32(p->n - first, CHANNELS));
      }
    }
  }
}

static int32_t chains_of(const product *p) {
  int32_t chains = 0;
  const int8_t *group = p->weights;
#pragma GCC unroll 4
  for (int32_t g = (p->n + CHANNELS - 1) / CHANNELS; g > 0; g--, group += p->group_bytes) chains |= chain_of(group);
  return chains;
}

/* True when the assembly can do it. */
static bool is_fast(const product *p, eq_requant_form form) {
  const eq_linear_s8 *linear = p->linear;
  if (linear->act_min != INT8_MIN || linear->act_max != INT8_MAX) return false;
  if (form == EQ_FORM_DOUBLE || form == EQ_FORM_WIDE || form == EQ_FORM_EXACT) return false;
  if (p->x->n_runs == 0 || p->x->run == 0) return false;
  return p->n > 0 && p->chains % 2 == 0; /* no chain of 1 */
}

void eq_packed_gemm_s8_neon(int8_t *out, size_t out_stride, const eq_gemm_rows *x, const int8_t *w, int32_t m,
                            int32_t n, const eq_linear_s8 *linear) {
  product p = {
      .x = x, .weights = w, .linear = linear, .n = n, .run_bytes = ((size_t)x->run + 15) / 16 * 16,
      .group_bytes = eq_packed_group_bytes(EQ_LAYOUT_C4K16, x->n_runs * x->run),
  };
  p.chains = chains_of(&p);
  eq_requant_form form = eq_requant_form_of(linear, n);
  if (form == EQ_FORM_EXACT && eq_largest_shift(linear->shifts, n) < 0) form = EQ_FORM_RIGHT;
#define RUN(run, form) \
  case form: run(out, out_stride, &p, m, form); break;
  if (is_fast(&p, form)) {
    switch (form) {
      RUN(run_fast, EQ_FORM_UP)
      RUN(run_fast, EQ_FORM_AWAY)
      RUN(run_fast, EQ_FORM_SINGLE)
      RUN(run_fast, EQ_FORM_SHIFT)
      default: run_fast(out, out_stride, &p, m, EQ_FORM_RIGHT);
    }
    return;
  }
  switch (form) {
    RUN(run_any, EQ_FORM_UP)
    RUN(run_any, EQ_FORM_AWAY)
    RUN(run_any, EQ_FORM_DOUBLE)
    RUN(run_any, EQ_FORM_SINGLE)
    RUN(run_any, EQ_FORM_WIDE)
    RUN(run_any, EQ_FORM_SHIFT)
    default: run_any(out, out_stride, &p, m, EQ_FORM_EXACT);
  }
#undef RUN
}
#endif
