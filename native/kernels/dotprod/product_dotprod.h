/* SPDX-License-Identifier: Apache-2.0
 * Products of int8 rows with packed weights in groups of eight channels, whichever instruction multiplies.
 *
 * The file that includes this one has defined TARGET, the attribute of its functions, TILE_INLINE, LAYOUT, the constants
 * below and two functions:
 *   multiply_rows(sums, bias, x, first, w, rows)       sums of 2, 4 or 8 rows by one group, and
 *   add_row(chains, x, row, w, group_bytes, groups)    of one row by 4, 2 or 1 groups, added to the first chains. */
#ifndef EDGEQ_PRODUCT_DOTPROD_H
#define EDGEQ_PRODUCT_DOTPROD_H

#include "kernels/neon/requant_neon.h"
#include "kernels/packed.h"
#include "kernels/requant.h"

enum { FIT_ROWS = 32 /* from which looking for the results' range is worth it */ };

/* What all tiles of a call share. */
typedef struct product {
  const eq_gemm_rows *x;
  const int8_t *w;
  int32_t n;
  size_t out_stride;
  size_t group_bytes;
  const eq_linear_s8 *linear;
  eq_codes codes;
  eq_requant_form form;
  bool relu; /* form UP, and the zero point is the least code */
  bool fit;  /* results lie within int16 */
  /* the last channels where they are no whole group */
  eq_linear_s8 last;
  int32_t bias[GROUP];
  int32_t multipliers[GROUP];
  int8_t shifts[GROUP];
} product;

/* Where a tile's codes go, and the constants of its channels: those of the call, or of the last channels. */
typedef struct place {
  int8_t *out;
  size_t stride;
  const eq_linear_s8 *linear;
  int32_t channel;
} place;

/* A row of codes from sums of 4, 2 or 1 groups, bias included. */
TILE_INLINE void store_row(const place *at, const product *p, int32x4_t *sums, int groups, eq_requant_form form,
                           bool relu) {
#pragma GCC unroll 4
  for (int g = 0; g < groups; g++) {
    eq_channels4 c[2];
    eq_load_channels8(c, at->linear, at->channel + g * GROUP, form);
    sums[2 * g] = eq_requant4(sums[2 * g], &c[0], form);
    sums[2 * g + 1] = eq_requant4(sums[2 * g + 1], &c[1], form);
  }
  if (groups == 1) {
    vst1_s8(at->out, relu ? eq_codes8_relu(sums[0], sums[1], &p->codes) : eq_codes8(sums[0], sums[1], &p->codes));
    return;
  }
#pragma GCC unroll 2
  for (int g = 0; g < groups; g += 2, sums += 4) {
    vst1q_s8(at->out + g * GROUP, relu ? eq_codes16_relu(sums[0], sums[1], sums[2], sums[3], &p->codes)
                                       : eq_codes16(sums[0], sums[1], sums[2], sums[3], &p->codes));
  }
}

/* A tile of codes from sums, bias included. */
TILE_INLINE void store_rows(const place *at, const product *p, int32x4_t *sums, int rows, eq_requant_form form, bool relu,
                            bool fit) {
  eq_channels4 c[2];
  eq_load_channels8(c, at->linear, at->channel, form);
#pragma GCC unroll 16
  for (int i = 0; i < 2 * rows; i++) sums[i] = eq_requant4(sums[i], &c[i % 2], form);
  int8_t *out = at->out;
#pragma GCC unroll 4
  for (int r = 0; r < rows; r += 2, out += 2 * at->stride, sums += 4) {
    const int8x16_t codes = fit    ? eq_codes16_relu_fit(sums[0], sums[1], sums[2], sums[3], &p->codes)
                            : relu ? eq_codes16_relu(sums[0], sums[1], sums[2], sums[3], &p->codes)
                                   : eq_codes16(sums[0], sums[1], sums[2], sums[3], &p->codes);
    vst1_s8(out, vget_low_s8(codes));
    vst1_s8(out + at->stride, vget_high_s8(codes));
  }
}

/* Codes from the sums of forms that no common layer has: rows * channels of them, bias included. */
__attribute__((noinline)) static void store_slowly(const place *at, int32_t *sums, int32_t rows, int32_t channels) {
  for (int32_t r = 0; r < rows; r++, sums += channels) {
    for (int32_t c = 0; c < channels; c++) sums[c] = eq_sub32(sums[c], at->linear->bias[at->channel + c]);
    eq_requant_s8(at->out + (size_t)r * at->stride, sums, at->channel, channels, at->linear);
  }
}

/* The forms of common layers get code of their own. */
#define STORE(store, at, sums, rows, channels, ...)                                      \
  if (p->relu) {                                                                         \
    store(at, p, sums, __VA_ARGS__, EQ_FORM_UP, true);                                   \
  } else if (p->form == EQ_FORM_RIGHT) {                                                 \
    store(at, p, sums, __VA_ARGS__, EQ_FORM_RIGHT, false);                               \
  } else if (p->form == EQ_FORM_AWAY) {                                                  \
    store(at, p, sums, __VA_ARGS__, EQ_FORM_AWAY, false);                                \
  } else if (p->form == EQ_FORM_UP) {                                                    \
    store(at, p, sums, __VA_ARGS__, EQ_FORM_UP, false);                                  \
  } else if (p->form == EQ_FORM_SINGLE) {                                                \
    store(at, p, sums, __VA_ARGS__, EQ_FORM_SINGLE, false);                              \
  } else {                                                                               \
    int32_t found[(rows) * (channels)];                                                  \
    for (int i = 0; i < (rows) * (channels) / 4; i++) vst1q_s32(found + 4 * i, sums[i]); \
    store_slowly(at, found, rows, channels);                                             \
  }

TILE_INLINE void store_any_rows(const place *at, const product *p, int32x4_t *sums, int rows, eq_requant_form form,
                                bool relu) {
  store_rows(at, p, sums, rows, form, relu, false);
}

static void copy_codes(int8_t *out, size_t stride, const int8_t *codes, int32_t rows, int32_t n) {
  for (int32_t r = 0; r < rows; r++) {
    for (int32_t c = 0; c < n; c++) out[(size_t)r * stride + (size_t)c] = codes[r * GROUP + c];
  }
}

/* `tiles` times `rows` rows, an even number, from number `row` on. */
TILE_INLINE void run_rows(int8_t *out, const product *p, size_t row, int32_t tiles, int rows) {
  for (; tiles > 0; tiles--, row += (size_t)rows, out += (size_t)rows * p->out_stride) {
    const int8_t *group = p->w;
    for (int32_t channel = 0; channel < p->n; channel += GROUP, group += p->group_bytes) {
      int8_t codes[ROWS * GROUP];
      place at = {out + channel, p->out_stride, p->linear, channel};
      const bool whole = channel + GROUP <= p->n;
      if (!whole) at = (place){codes, GROUP, &p->last, 0};
      int32x4_t sums[2 * ROWS];
      multiply_rows(sums, at.linear->bias + at.channel, p->x, row, group + HEAD_BYTES, rows);
      if (rows == ROWS && p->fit) {
        store_rows(&at, p, sums, rows, EQ_FORM_UP, true, true);
      } else {
        STORE(store_any_rows, &at, sums, rows, GROUP, rows)
      }
      if (!whole) copy_codes(out + channel, p->out_stride, codes, rows, p->n - channel);
    }
  }
}

/* 4, 2 or 1 groups of channels of one row. */
TILE_INLINE void run_groups(const place *at, const product *p, size_t row, const int8_t *group, int groups) {
  int32x4_t chains[CHAINS];
#pragma GCC unroll 8
  for (int i = 0; i < CHAINS; i++) {
    chains[i] = i < 2 * groups ? vld1q_s32(at->linear->bias + at->channel + 4 * i) : vdupq_n_s32(0);
  }
  add_row(chains, p->x, row, group + HEAD_BYTES, p->group_bytes, groups);
  STORE(store_row, at, chains, 1, groups *GROUP, groups)
}

TARGET static void run_8(int8_t *out, const product *p, size_t row, int32_t tiles) { run_rows(out, p, row, tiles, 8); }

TARGET static void run_4(int8_t *out, const product *p, size_t row) { run_rows(out, p, row, 1, 4); }

TARGET static void run_2(int8_t *out, const product *p, size_t row) { run_rows(out, p, row, 1, 2); }

TARGET static void run_1(int8_t *out, const product *p, size_t row) {
  const int8_t *group = p->w;
  place at = {out, p->out_stride, p->linear, 0};
  for (; at.channel + 4 * GROUP <= p->n; at.channel += 4 * GROUP, at.out += 4 * GROUP, group += 4 * p->group_bytes) {
    run_groups(&at, p, row, group, 4);
  }
  if (at.channel + 2 * GROUP <= p->n) {
    run_groups(&at, p, row, group, 2);
    at.channel += 2 * GROUP;
    at.out += 2 * GROUP;
    group += 2 * p->group_bytes;
  }
  while (at.channel < p->n) {
    const int32_t left = p->n - at.channel;
    int8_t codes[GROUP];
    const place last = {codes, GROUP, &p->last, 0};
    run_groups(left < GROUP ? &last : &at, p, row, group, 1);
    if (left < GROUP) copy_codes(at.out, 0, codes, 1, left);
    at.channel += GROUP;
    at.out += GROUP;
    group += p->group_bytes;
  }
}

/* The constants of the last channels, zeros beyond them. */
static void find_last(product *p) {
  const int32_t first = p->n / GROUP * GROUP;
  for (int32_t c = 0; c < GROUP; c++) {
    const bool exists = first + c < p->n;
    p->bias[c] = exists ? p->linear->bias[first + c] : 0;
    p->multipliers[c] = exists ? p->linear->multipliers[first + c] : 0;
    p->shifts[c] = exists ? p->linear->shifts[first + c] : 0;
  }
  p->last = *p->linear;
  p->last.bias = p->bias;
  p->last.multipliers = p->multipliers;
  p->last.shifts = p->shifts;
}

/* The product as packed_gemm_s8 has it. */
static inline void run_product(int8_t *out, size_t out_stride, const eq_gemm_rows *x, const int8_t *w, int32_t m, int32_t n,
                               const eq_linear_s8 *linear) {
  const int32_t k = x->n_runs * x->run;
  product p;
  p.x = x;
  p.w = w;
  p.n = n;
  p.out_stride = out_stride;
  p.group_bytes = eq_packed_group_bytes(LAYOUT, k);
  p.linear = linear;
  p.codes = eq_codes_of(linear);
  p.form = eq_requant_form_of(linear, n);
  if (p.form == EQ_FORM_EXACT && eq_largest_shift(linear->shifts, n) < 0) p.form = EQ_FORM_RIGHT;
  p.relu = p.form == EQ_FORM_UP && linear->act_min == linear->zero;
  p.fit = p.relu && m >= FIT_ROWS && eq_results_fit_s16(linear, n, k);
  if (n % GROUP != 0) find_last(&p);
  size_t row = 0;
  if (m >= 8) {
    row = (size_t)m & ~(size_t)7;
    run_8(out, &p, 0, m / 8);
  }
  if ((m & 4) != 0) {
    run_4(out + row * out_stride, &p, row);
    row += 4;
  }
  if ((m & 2) != 0) {
    run_2(out + row * out_stride, &p, row);
    row += 2;
  }
  if ((m & 1) != 0) run_1(out + row * out_stride, &p, row);
}

#endif
