/* SPDX-License-Identifier: Apache-2.0
 * Products of int8 rows with packed weights in groups of eight channels, whichever instruction multiplies.
 *
 * The file that includes this one has defined TARGET, the attribute of its functions, TILE_INLINE, LAYOUT, the constants
 * below and three functions:
 *   multiply_rows(sums, bias, x, first, w, rows)       sums of 2, 4 or 8 rows by one group,
 *   multiply_few(sums, bias, x, first, w)              the same of 8 rows of one run of 5 to 8 inputs, and
 *   add_row(chains, x, row, w, group_bytes, groups)    of one row by 4, 2 or 1 groups, added to the first chains. */
#ifndef EDGEQ_PRODUCT_DOTPROD_H
#define EDGEQ_PRODUCT_DOTPROD_H

#include "edgeq/memory.h"
#include "kernels/dotprod/top_byte_dotprod.h"
#include "kernels/neon/requant_neon.h"
#include "kernels/packed.h"
#include "kernels/requant.h"

enum { TOP_CHANNELS = 128 }; /* whose constants are made at a time */

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
  bool relu; /* form UP or SINGLE, and the zero point is the least code */
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
TILE_INLINE void store_rows(const place *at, const product *p, int32x4_t *sums, int rows, eq_requant_form form, bool relu) {
  eq_channels4 c[2];
  eq_load_channels8(c, at->linear, at->channel, form);
#pragma GCC unroll 16
  for (int i = 0; i < 2 * rows; i++) sums[i] = eq_requant4(sums[i], &c[i % 2], form);
  int8_t *out = at->out;
#pragma GCC unroll 4
  for (int r = 0; r < rows; r += 2, out += 2 * at->stride, sums += 4) {
    const int8x16_t codes = relu ? eq_codes16_relu(sums[0], sums[1], sums[2], sums[3], &p->codes)
                                 : eq_codes16(sums[0], sums[1], sums[2], sums[3], &p->codes);
    vst1_s8(out, vget_low_s8(codes));
    vst1_s8(out + at->stride, vget_high_s8(codes));
  }
}

/* The same of eight rows of channels first .. first + 7 in form SINGLE or SHIFT, where results lie within int16 and the codes' bounds
 * are -128 and 127: results of 16 bits need no saturation, and that to codes is their clamp. */
TILE_INLINE void store_plain_rows(int8_t *out, size_t stride, const eq_linear_s8 *linear, int32_t first,
                                  const eq_codes *bounds, int32x4_t *sums, eq_requant_form form, bool relu) {
  eq_channels4 c[2];
  eq_load_channels8(c, linear, first, form);
#pragma GCC unroll 16
  for (int i = 0; i < 2 * ROWS; i++) sums[i] = eq_requant4(sums[i], &c[i % 2], form);
#pragma GCC unroll 4
  for (int r = 0; r < ROWS; r += 2, out += 2 * stride, sums += 4) {
    const int8x16_t codes = relu ? eq_plain_codes16_relu(sums[0], sums[1], sums[2], sums[3], bounds)
                                 : eq_plain_codes16(sums[0], sums[1], sums[2], sums[3], bounds);
    vst1_s8(out, vget_low_s8(codes));
    vst1_s8(out + stride, vget_high_s8(codes));
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
#define STORE(store, at, sums, channels, size)                                            \
  if (p->relu && p->form == EQ_FORM_UP) {                                                 \
    store(at, p, sums, size, EQ_FORM_UP, true);                                           \
  } else if (p->relu) {                                                                   \
    store(at, p, sums, size, EQ_FORM_SINGLE, true);                                       \
  } else if (p->form == EQ_FORM_RIGHT) {                                                  \
    store(at, p, sums, size, EQ_FORM_RIGHT, false);                                       \
  } else if (p->form == EQ_FORM_AWAY) {                                                   \
    store(at, p, sums, size, EQ_FORM_AWAY, false);                                        \
  } else if (p->form == EQ_FORM_UP) {                                                     \
    store(at, p, sums, size, EQ_FORM_UP, false);                                          \
  } else if (p->form == EQ_FORM_SINGLE) {                                                 \
    store(at, p, sums, size, EQ_FORM_SINGLE, false);                                      \
  } else if (p->form == EQ_FORM_SHIFT) {                                                  \
    store(at, p, sums, size, EQ_FORM_SHIFT, false);                                       \
  } else {                                                                                \
    int32_t found[ROWS * GROUP];                                                          \
    for (int i = 0; i < 2 * (size); i++) vst1q_s32(found + 4 * i, sums[i]);               \
    store_slowly(at, found, 2 * (size) * 4 / (channels), channels);                       \
  }

/* `bytes` codes of each row, a constant. */
EQ_ALWAYS_INLINE void copy_part(int8_t *out, size_t stride, const int8_t *codes, int32_t rows, size_t bytes) {
#pragma GCC unroll 8
  for (int32_t r = 0; r < rows; r++) eq_copy(out + (size_t)r * stride, codes + r * GROUP, bytes);
}

/* The first n < 8 of eight codes of each row. */
EQ_ALWAYS_INLINE void copy_codes(int8_t *out, size_t stride, const int8_t *codes, int32_t rows, int32_t n) {
  if ((n & 4) != 0) copy_part(out, stride, codes, rows, 4);
  out += n & 4;
  codes += n & 4;
  if ((n & 2) != 0) copy_part(out, stride, codes, rows, 2);
  out += n & 2;
  codes += n & 2;
  if ((n & 1) != 0) copy_part(out, stride, codes, rows, 1);
}

/* Channels first .. n - 1 of `rows` rows, an even number, from number `row` on. */
TILE_INLINE void run_rows(int8_t *out, const product *p, size_t row, int32_t first, int rows) {
  const int8_t *group = p->w + (size_t)(first / GROUP) * p->group_bytes;
  for (int32_t channel = first; channel < p->n; channel += GROUP, group += p->group_bytes) {
    int8_t codes[ROWS * GROUP];
    const bool whole = channel + GROUP <= p->n;
    const place at = whole ? (place){out + channel, p->out_stride, p->linear, channel} : (place){codes, GROUP, &p->last, 0};
    int32x4_t sums[2 * ROWS];
    multiply_rows(sums, at.linear->bias + at.channel, p->x, row, group + HEAD_BYTES, rows);
    STORE(store_rows, &at, sums, GROUP, rows)
    if (!whole) copy_codes(out + channel, p->out_stride, codes, rows, p->n - channel);
  }
}

/* 4, 2 or 1 groups of channels of one row; form EXACT stands for whichever p has. */
TILE_INLINE void run_groups(const place *at, const product *p, size_t row, const int8_t *group, int groups,
                            eq_requant_form form, bool relu) {
  int32x4_t chains[CHAINS];
#pragma GCC unroll 8
  for (int i = 0; i < CHAINS; i++) {
    chains[i] = i < 2 * groups ? vld1q_s32(at->linear->bias + at->channel + 4 * i) : vdupq_n_s32(0);
  }
  add_row(chains, p->x, row, group + HEAD_BYTES, p->group_bytes, groups);
  if (form != EQ_FORM_EXACT) {
    store_row(at, p, chains, groups, form, relu);
  } else {
    STORE(store_row, at, chains, groups *GROUP, groups)
  }
}

__attribute__((noinline)) TARGET static void run_8(int8_t *out, const product *p, size_t row, int32_t first) {
  run_rows(out, p, row, first, 8);
}

TARGET static void run_4(int8_t *out, const product *p, size_t row) { run_rows(out, p, row, 0, 4); }

TARGET static void run_2(int8_t *out, const product *p, size_t row) { run_rows(out, p, row, 0, 2); }

/* `tiles` times eight rows, see store_plain_rows. */
TILE_INLINE void run_plain(int8_t *out, const product *p, int32_t tiles, eq_requant_form form, bool relu) {
  /* stores of codes might change what pointers lead to, as far as the compiler knows, but not these */
  const eq_gemm_rows x = *p->x;
  const eq_linear_s8 linear = *p->linear;
  const eq_codes bounds = p->codes;
  const size_t out_stride = p->out_stride, group_bytes = p->group_bytes;
  const int32_t whole = p->n & -GROUP;
  const int8_t *w = p->w + HEAD_BYTES;
  for (size_t row = 0; tiles > 0; tiles--, row += ROWS, out += ROWS * out_stride) {
    const int8_t *group = w;
    for (int32_t channel = 0; channel < whole; channel += GROUP, group += group_bytes) {
      int32x4_t sums[2 * ROWS];
      multiply_rows(sums, linear.bias + channel, &x, row, group, ROWS);
      store_plain_rows(out + channel, out_stride, &linear, channel, &bounds, sums, form, relu);
    }
    if (whole < p->n) run_8(out, p, row, whole);
  }
}

typedef void run_plain_fn(int8_t *out, const product *p, int32_t tiles);
#define RUN_PLAIN(name, form, relu) \
  TARGET static void name(int8_t *out, const product *p, int32_t tiles) { run_plain(out, p, tiles, form, relu); }
RUN_PLAIN(run_single, EQ_FORM_SINGLE, false)
RUN_PLAIN(run_single_relu, EQ_FORM_SINGLE, true)
RUN_PLAIN(run_shift, EQ_FORM_SHIFT, false)
RUN_PLAIN(run_shift_relu, EQ_FORM_SHIFT, true)
#undef RUN_PLAIN

/* Some channels of a product whose codes are top bytes. */
typedef struct slice {
  int32_t first; /* a multiple of GROUP */
  int32_t end;
  eq_top8 tops[TOP_CHANNELS / GROUP];
} slice;

static void find_slice(slice *s, const product *p, int32_t first) {
  s->first = first;
  s->end = eq_min32(p->n, first + TOP_CHANNELS);
  eq_top8 *top = s->tops;
  for (int32_t channel = first; channel < s->end; channel += GROUP, top++) {
    const bool exist = channel + GROUP <= p->n;
    eq_load_top8(top, exist ? p->linear : &p->last, exist ? channel : 0);
  }
}

/* The last channels of eight rows, which are no whole group. */
__attribute__((noinline)) TARGET static void run_last(int8_t *out, const product *p, const eq_top8 *top, size_t row,
                                                      bool away) {
  const int32_t whole = p->n & -GROUP;
  int32x4_t sums[2 * ROWS];
  int8_t codes[ROWS * GROUP];
  multiply_rows(sums, p->bias, p->x, row, p->w + (size_t)(whole / GROUP) * p->group_bytes + HEAD_BYTES, ROWS);
  eq_store_top_rows(codes, GROUP, p->multipliers, top, sums, ROWS, away);
  copy_codes(out + whole, p->out_stride, codes, ROWS, p->n - whole);
}

/* `tiles` times eight rows from number `row` on, of one slice; `few` where there is one run of 5 to 8 inputs. */
TILE_INLINE void run_tops(int8_t *out, const product *p, const slice *s, size_t row, int32_t tiles, bool away, bool few) {
  /* stores of codes might change what pointers lead to, as far as the compiler knows, but not these */
  const eq_gemm_rows x = *p->x;
  const size_t out_stride = p->out_stride, group_bytes = p->group_bytes;
  const int32_t first = s->first, whole = s->end & -GROUP;
  const int32_t *const biases = p->linear->bias, *const multipliers = p->linear->multipliers;
  const int8_t *const w = p->w + (size_t)(first / GROUP) * group_bytes + HEAD_BYTES;
  const bool is_last = whole < s->end;
  for (; tiles > 0; tiles--, row += ROWS, out += ROWS * out_stride) {
    const int8_t *group = w;
    const eq_top8 *top = s->tops;
    for (int32_t channel = first; channel < whole; channel += GROUP, group += group_bytes, top++) {
      int32x4_t sums[2 * ROWS];
      if (few) {
        multiply_few(sums, biases + channel, &x, row, group);
      } else {
        multiply_rows(sums, biases + channel, &x, row, group, ROWS);
      }
      eq_store_top_rows(out + channel, out_stride, multipliers + channel, top, sums, ROWS, away);
    }
    if (is_last) run_last(out, p, top, row, away);
  }
}

typedef void run_tops_fn(int8_t *out, const product *p, const slice *s, size_t row, int32_t tiles);

EQ_ONE_PAGE TARGET static void run_up(int8_t *out, const product *p, const slice *s, size_t row, int32_t tiles) {
  run_tops(out, p, s, row, tiles, false, false);
}

EQ_ONE_PAGE TARGET static void run_away(int8_t *out, const product *p, const slice *s, size_t row, int32_t tiles) {
  run_tops(out, p, s, row, tiles, true, false);
}

EQ_ONE_PAGE TARGET static void run_up_few(int8_t *out, const product *p, const slice *s, size_t row, int32_t tiles) {
  run_tops(out, p, s, row, tiles, false, true);
}

/* `tiles` times eight rows, slices of channels within groups of EQ_GEMM_ROWS where there are several. */
static void run_slices(int8_t *out, const product *p, int32_t tiles) {
  const bool few = p->x->n_runs == 1 && p->x->run > 4 && p->x->run <= 8;
  run_tops_fn *const run = p->form == EQ_FORM_AWAY ? run_away : few ? run_up_few : run_up;
  const int32_t at_once = p->n <= TOP_CHANNELS ? tiles : EQ_GEMM_ROWS / ROWS;
  slice s;
  for (int32_t tile = 0; tile < tiles; tile += at_once) {
    const size_t row = (size_t)tile * ROWS;
    for (int32_t first = 0; first < p->n; first += TOP_CHANNELS) {
      find_slice(&s, p, first);
      run(out + row * p->out_stride, p, &s, row, eq_min32(at_once, tiles - tile));
    }
  }
}

TILE_INLINE void run_row(int8_t *out, const product *p, size_t row, eq_requant_form form, bool relu) {
  const int8_t *group = p->w;
  place at = {out, p->out_stride, p->linear, 0};
  for (; at.channel + 4 * GROUP <= p->n; at.channel += 4 * GROUP, at.out += 4 * GROUP, group += 4 * p->group_bytes) {
    run_groups(&at, p, row, group, 4, form, relu);
  }
  if (at.channel + 2 * GROUP <= p->n) {
    run_groups(&at, p, row, group, 2, form, relu);
    at.channel += 2 * GROUP;
    at.out += 2 * GROUP;
    group += 2 * p->group_bytes;
  }
  while (at.channel < p->n) {
    const int32_t left = p->n - at.channel;
    int8_t codes[GROUP];
    const place last = {codes, GROUP, &p->last, 0};
    run_groups(left < GROUP ? &last : &at, p, row, group, 1, form, relu);
    if (left < GROUP) copy_codes(at.out, 0, codes, 1, left);
    at.channel += GROUP;
    at.out += GROUP;
    group += p->group_bytes;
  }
}

#define RUN_1(name, form, relu) \
  TARGET static void name(int8_t *out, const product *p, size_t row) { run_row(out, p, row, form, relu); }
RUN_1(run_1, EQ_FORM_EXACT, false)
/* The forms of fully connected layers. */
RUN_1(run_1_right, EQ_FORM_RIGHT, false)
EQ_ONE_PAGE RUN_1(run_1_relu, EQ_FORM_SINGLE, true)
RUN_1(run_1_shift, EQ_FORM_SHIFT, false)
RUN_1(run_1_shift_relu, EQ_FORM_SHIFT, true)
#undef RUN_1

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
  const size_t tiled = (size_t)m & ~(size_t)(ROWS - 1);
  size_t row = 0;
  if (n % GROUP != 0) find_last(&p);
  p.form = tiled > 0 ? eq_top_form_of(linear, n) : EQ_FORM_EXACT;
  if (p.form != EQ_FORM_EXACT) {
    run_slices(out, &p, m / ROWS);
    if (tiled == (size_t)m) return;
    row = tiled;
  } else {
    p.form = eq_requant_form_of(linear, n);
  }
  if (p.form == EQ_FORM_EXACT && eq_largest_shift(linear->shifts, n) < 0) {
    /* negative results, which alone tell the forms apart, are clamped by an activation */
    p.form = linear->act_min >= linear->zero ? EQ_FORM_SINGLE : EQ_FORM_RIGHT;
  }
  const bool positive = linear->act_min == linear->zero;
  p.relu = (p.form == EQ_FORM_UP || p.form == EQ_FORM_SINGLE) && positive;
  p.codes = eq_codes_of(linear);
  const bool right = p.form == EQ_FORM_SINGLE || (p.form == EQ_FORM_SHIFT && eq_largest_shift(linear->shifts, n) <= 0);
  if (tiled > 0 && right && linear->act_min == INT8_MIN && linear->act_max == INT8_MAX && eq_results_fit_s16(linear, n, k)) {
    run_plain_fn *const run = p.form == EQ_FORM_SHIFT ? (positive ? run_shift_relu : run_shift)
                                                      : (positive ? run_single_relu : run_single);
    run(out, &p, m / ROWS);
    row = tiled;
  }
  for (; row < tiled; row += ROWS) run_8(out + row * out_stride, &p, row, 0);
  if ((m & 4) != 0) {
    run_4(out + row * out_stride, &p, row);
    row += 4;
  }
  if ((m & 2) != 0) {
    run_2(out + row * out_stride, &p, row);
    row += 2;
  }
  if ((m & 1) != 0) {
    (p.form == EQ_FORM_RIGHT              ? run_1_right
     : p.form == EQ_FORM_SHIFT            ? (positive ? run_1_shift_relu : run_1_shift)
     : p.form == EQ_FORM_SINGLE && p.relu ? run_1_relu
                                          : run_1)(out + row * out_stride, &p, row);
  }
}

#endif
