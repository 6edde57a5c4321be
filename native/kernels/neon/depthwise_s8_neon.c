/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution of int8 pixels: 16 or 8 channels of up to four pixels at a time, two taps' products per
 * addition in 32 bits. */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"
#include "kernels/neon/depthwise_form_neon.h"
#include "kernels/neon/depthwise_narrow_neon.h"
#include "kernels/neon/depthwise_nine_neon.h"
#include "kernels/neon/depthwise_pairs_neon.h"
#include "kernels/neon/depthwise_tiles_neon.h"
#include "kernels/requant.h"

void eq_depthwise_s8_scalar(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                            const eq_depthwise_window *window, const eq_linear_s8 *linear);

enum { LANES = EQ_DEPTHWISE_LANES, MAX_TAPS = EQ_DEPTHWISE_TAPS };

/* At most LANES channels from `first` on. */
typedef struct block {
  eq_depthwise_lanes lanes;
  int32_t taps; /* slots that are taken: nine, or an even number, of which the last may have zeros for weights */
  int32_t first;
  const eq_linear_s8 *linear;
  int32_t form;
} block;

/* Lanes of x of `quads` * 4 channels; of 8, the upper half is not used. */
EQ_ALWAYS_INLINE int8x16_t load_codes(const int8_t *x, int quads) {
  return quads == 4 ? vld1q_s8(x) : vcombine_s8(vld1_s8(x), vdup_n_s8(0));
}

EQ_ALWAYS_INLINE void add_products(int32x4_t *sums, int16x8_t low, int16x8_t high, int quads) {
  sums[0] = vaddw_s16(sums[0], vget_low_s16(low));
  sums[1] = vaddw_high_s16(sums[1], low);
  if (quads == 4) {
    sums[2] = vaddw_s16(sums[2], vget_low_s16(high));
    sums[3] = vaddw_high_s16(sums[3], high);
  }
}

/* sums += two taps of P pixels, or one at the end of an odd count. */
EQ_ALWAYS_INLINE void add_taps(int32x4_t sums[4][4], const int8_t *const *x, const eq_depthwise_lanes *b, int32_t tap,
                            bool pair, int P, int quads) {
  const size_t from = b->offsets[tap], from_next = pair ? b->offsets[tap + 1] : 0;
  const int8x16_t w = load_codes(b->weights[tap], quads);
  const int8x16_t w_next = pair ? load_codes(b->weights[tap + 1], quads) : w;
#pragma GCC unroll 4
  for (int p = 0; p < P; p++) {
    const int8x16_t codes = load_codes(x[p] + from, quads);
    int16x8_t low = vmull_s8(vget_low_s8(codes), vget_low_s8(w));
    int16x8_t high = quads == 4 ? vmull_high_s8(codes, w) : low;
    if (pair) {
      const int8x16_t next = load_codes(x[p] + from_next, quads);
      low = vmlal_s8(low, vget_low_s8(next), vget_low_s8(w_next));
      if (quads == 4) high = vmlal_high_s8(high, next, w_next);
    }
    add_products(sums[p], low, high, quads);
  }
}

/* High product of P pixels' sums, unless `shifted`, and shift, rounded. */
EQ_ALWAYS_INLINE void scale(int32x4_t sums[4][4], const eq_depthwise_lanes *b, bool single, bool shifted, int P,
                            int quads) {
#pragma GCC unroll 4
  for (int q = 0; q < quads; q++) {
    const int32x4_t multipliers = vld1q_s32(b->multipliers + 4 * q), shifts = vld1q_s32(b->shifts + 4 * q);
    const int32x4_t away = vld1q_s32(b->away + 4 * q);
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) {
      int32x4_t high = shifted ? sums[p][q] : single ? vqdmulhq_s32(sums[p][q], multipliers) : vqrdmulhq_s32(sums[p][q], multipliers);
      /* less one where negative and to be shifted: that rounds ties down */
      if (!single) high = vsraq_n_s32(high, vandq_s32(high, away), 31);
      sums[p][q] = vrshlq_s32(high, shifts);
    }
  }
}

/* The codes of four quads of results. */
EQ_ALWAYS_INLINE int8x16_t narrow(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d, const eq_depthwise_lanes *lanes) {
  const int16x8_t zero = vld1q_s16(lanes->zero);
  const int16x8_t low = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), zero);
  const int16x8_t high = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(c), d), zero);
  const int8x16_t codes = vqmovn_high_s16(vqmovn_s16(low), high);
  return vmaxq_s8(vminq_s8(codes, vld1q_s8(lanes->high)), vld1q_s8(lanes->low));
}

EQ_ALWAYS_INLINE void store_codes(int8_t *const *out, int32x4_t sums[4][4], const eq_depthwise_lanes *b, int P,
                               int quads) {
#pragma GCC unroll 4
  for (int p = 0; p < P; p += quads == 4 ? 1 : 2) {
    if (quads == 4) {
      vst1q_s8(out[p], narrow(sums[p][0], sums[p][1], sums[p][2], sums[p][3], b));
    } else {
      const int q = p + 1 < P ? p + 1 : p;
      const int8x16_t codes = narrow(sums[p][0], sums[p][1], sums[q][0], sums[q][1], b);
      vst1_s8(out[p], vget_low_s8(codes));
      if (q != p) vst1_s8(out[q], vget_high_s8(codes));
    }
  }
}

/* P pixels, whose first taps lie at x. */
EQ_ALWAYS_INLINE void run_pixels(int8_t *const *out, const int8_t *const *x, const block *b, int P, int quads) {
  const eq_depthwise_lanes *lanes = &b->lanes;
  int32x4_t sums[4][4];
#pragma GCC unroll 4
  for (int p = 0; p < P; p++) {
#pragma GCC unroll 4
    for (int q = 0; q < quads; q++) sums[p][q] = vld1q_s32(lanes->bias + 4 * q);
  }
  const int32_t taps = b->taps;
  for (int32_t tap = 0; tap + 1 < taps; tap += 2) add_taps(sums, x, lanes, tap, true, P, quads);
  if (taps % 2 != 0) add_taps(sums, x, lanes, taps - 1, false, P, quads);
  if (b->form != EQ_DW_OTHER) {
    if ((b->form & EQ_DW_SHIFTED) == EQ_DW_SHIFTED) {
      scale(sums, lanes, true, true, P, quads);
    } else if ((b->form & EQ_DW_SINGLE) != 0) {
      scale(sums, lanes, true, false, P, quads);
    } else {
      scale(sums, lanes, false, false, P, quads);
    }
    store_codes(out, sums, lanes, P, quads);
    return;
  }
  for (int p = 0; p < P; p++) {
    int32_t found[LANES];
    for (int q = 0; q < quads; q++) vst1q_s32(found + 4 * q, vsubq_s32(sums[p][q], vld1q_s32(lanes->bias + 4 * q)));
    eq_requant_s8(out[p], found, b->first, 4 * quads, b->linear);
  }
}

/* One pixel after the other, for layers of less than four. */
static void run_single_pixels(int8_t *out, const int8_t *x, const block *b, const eq_depthwise_window *w,
                              size_t channels, int quads) {
  for (int32_t line = 0; line < w->lines; line++) {
    for (int32_t pixel = 0; pixel < w->pixels; pixel++) {
      const int8_t *from = x + (size_t)line * w->x_line + (size_t)pixel * w->x_pixel;
      int8_t *to = out + (size_t)line * w->out_line + (size_t)pixel * channels;
      if (quads == 4) {
        run_pixels(&to, &from, b, 1, 4);
      } else {
        run_pixels(&to, &from, b, 1, 2);
      }
    }
  }
}

/* Tiles that assembly does not make. */
EQ_ALWAYS_INLINE void run_tiles(int8_t *out, const int8_t *x, const block *b, const eq_depthwise_tiles *t, int quads) {
  int32_t in_line = t->in_line;
  for (int32_t left = t->count; left > 0; left--) {
    int8_t *outs[4] = {out, out + t->out_next, out + t->out_second, out + t->out_second + t->out_next};
    const int8_t *xs[4] = {x, x + t->x_next, x + t->x_second, x + t->x_second + t->x_next};
    if (quads == 2) {
      run_pixels(outs, xs, b, 4, 2);
    } else {
      run_pixels(outs, xs, b, 2, 4);
      run_pixels(outs + 2, xs + 2, b, 2, 4);
    }
    const bool wraps = --in_line == 0;
    x += wraps ? t->x_wrap : t->x_step;
    out += wraps ? t->out_wrap : t->out_step;
    if (wraps) in_line = t->in_line;
  }
}

/* How tiles lie where none is better, and whether tiles that lie so share the taps of a 3x3 window. */
typedef struct direction {
  eq_shape shape;
  bool shared;
} direction;

static direction direction_of(const eq_depthwise_window *window) {
  const eq_shape line = {0, 2}, column = {2, 0};
  const bool is_3x3 = window->rows == 3 && window->columns == 3;
  const bool in_line = is_3x3 && window->x_pixel == window->x_column && window->pixels >= 4;
  const bool in_column = is_3x3 && window->x_line == window->x_row && window->lines >= 4;
  const int32_t lines = eq_tiles_for(window->pixels, 2) * window->lines * (in_line ? EQ_SHARED_COST : EQ_TILE_COST);
  const int32_t columns = eq_tiles_for(window->lines, 2) * window->pixels * (in_column ? EQ_SHARED_COST : EQ_TILE_COST);
  const bool by_line = lines <= columns;
  return (direction){.shape = by_line ? line : column, .shared = by_line ? in_line : in_column};
}

/* How the taps lie in x and in the weights, `outer` times `inner` of them in the order in which they are taken. */
typedef struct taps {
  int32_t outer;
  int32_t inner;
  size_t x_outer;
  size_t x_inner;
  size_t w_outer;
  size_t w_inner;
} taps;

/* Fill in the taps' places, `step` slots apart, and the weights' from a block's first ones on. */
static void place_taps(block *b, size_t weights[MAX_TAPS], const taps *t, int32_t step) {
  size_t *offset = b->lanes.offsets;
  for (int32_t i = 0; i < t->outer; i++) {
    size_t x = (size_t)i * t->x_outer, w = (size_t)i * t->w_outer;
    for (int32_t j = 0; j < t->inner; j++, x += t->x_inner, w += t->w_inner) {
      *weights++ = w;
      for (int32_t k = 0; k < step; k++) *offset++ = x;
    }
  }
  b->taps = step * t->outer * t->inner;
  if (b->taps % 2 != 0) *offset = offset[-1];
  if (b->taps != 9) b->taps += b->taps % 2;
}

/* Copy the weights of `count` taps of b's lanes, `step` slots apart, with zeros between and behind them; return the
 * least one. */
EQ_ALWAYS_INLINE int8_t copy_weights(block *b, const int8_t *w, const size_t weights[MAX_TAPS], int32_t count,
                                     int32_t step, int quads) {
  int8x16_t least = vdupq_n_s8(INT8_MAX);
  int8_t (*slot)[LANES] = b->lanes.weights;
#pragma GCC unroll 3
  for (int32_t i = 0; i < count; i++) {
    const int8x16_t codes = load_codes(w + weights[i], quads);
    least = vminq_s8(least, codes);
    vst1q_s8(*slot++, codes);
    if (step > 1) vst1q_s8(*slot++, vdupq_n_s8(0));
  }
  vst1q_s8(*slot, vdupq_n_s8(0));
  return vminvq_s8(least);
}

/* Fill in what follows the sums of `quads` * 4 channels from `first` on: all, or what assembly that cuts reads. */
EQ_ALWAYS_INLINE void copy_scales(eq_depthwise_lanes *lanes, const eq_linear_s8 *linear, int32_t first, int32x4_t away,
                                  int32_t form, bool cut, int quads) {
  const int32_t *bias = linear->bias + first, *multipliers = linear->multipliers + first;
  const int8_t *shifts = linear->shifts + first;
  int16x8_t wide[2];
#pragma GCC unroll 2
  for (int q = 0; q < quads; q += 2) {
    wide[q / 2] = vmovl_s8(vld1_s8(shifts + 4 * q));
    vst1q_s32(lanes->bias + 4 * q, vld1q_s32(bias + 4 * q));
    vst1q_s32(lanes->bias + 4 * q + 4, vld1q_s32(bias + 4 * q + 4));
    vst1q_s32(lanes->multipliers + 4 * q, vld1q_s32(multipliers + 4 * q));
    vst1q_s32(lanes->multipliers + 4 * q + 4, vld1q_s32(multipliers + 4 * q + 4));
    vst1q_s16(lanes->shifts_cut + 4 * q, vaddq_s16(wide[q / 2], vdupq_n_s16(EQ_DEPTHWISE_CUT)));
  }
  if (cut) return;
  const bool shifted = form > 0 && (form & EQ_DW_SHIFTED) == EQ_DW_SHIFTED;
#pragma GCC unroll 2
  for (int q = 0; q < quads; q += 2) {
    if (shifted) wide[q / 2] = vsubq_s16(wide[q / 2], vdupq_n_s16(1));
    const int32x4_t low = vmovl_s16(vget_low_s16(wide[q / 2])), high = vmovl_high_s16(wide[q / 2]);
    vst1q_s32(lanes->shifts + 4 * q, low);
    vst1q_s32(lanes->shifts + 4 * q + 4, high);
    vst1q_s32(lanes->away + 4 * q, vandq_s32(low, away));
    vst1q_s32(lanes->away + 4 * q + 4, vandq_s32(high, away));
  }
}

/* What all blocks of a call have in common. */
static void start_block(block *b, const eq_linear_s8 *linear, int32_t channels, int32_t count) {
  b->linear = linear;
  b->form = eq_depthwise_form(linear, channels, count);
  vst1q_u8(b->lanes.top, vdupq_n_u8((uint8_t)(linear->act_max + 128)));
  vst1q_s8(b->lanes.high, vdupq_n_s8((int8_t)linear->act_max));
  vst1q_s8(b->lanes.low, vdupq_n_s8((int8_t)linear->act_min));
  vst1q_s16(b->lanes.zero, vdupq_n_s16((int16_t)linear->zero));
}

/* A call's work, but for the block of channels. */
typedef struct job {
  int8_t *out;
  const int8_t *x;
  const int8_t *w;
  const eq_depthwise_window *window;
  size_t channels;
  const eq_run *runs;
  int32_t n_runs;
  direction along;
  taps order;
  int32_t count;   /* of taps */
  size_t *weights; /* see place_taps */
  int32x4_t away;  /* -1 where ties of negative results are seen, else 0 */
} job;

/* `quads` * 4 channels from `first` on. */
EQ_ALWAYS_INLINE void run_channels(const job *j, block *b, int32_t first, int quads) {
  const bool assembly = quads == 4 && b->taps > 0 && b->form != EQ_DW_OTHER;
  const bool cut = (b->form == 0 || b->form == EQ_DW_SIGNED) && assembly && j->n_runs > 0;
  b->first = first;
  copy_scales(&b->lanes, b->linear, first, j->away, b->form, cut, quads);
  const int8_t *w = j->w + first;
  /* two products: 128 * (127 + 127) < 2^15 */
  const bool paired = copy_weights(b, w, j->weights, j->count, 1, quads) > INT8_MIN;
  if (!paired) {
    place_taps(b, j->weights, &j->order, 2);
    copy_weights(b, w, j->weights, j->count, 2, quads);
  }
  int8_t *out = j->out + first;
  const int8_t *x = j->x + first;
  if (j->n_runs == 0) run_single_pixels(out, x, b, j->window, j->channels, quads);
  for (const eq_run *r = j->runs; r < j->runs + j->n_runs; r++) {
    if (!assembly) {
      run_tiles(out + r->out, x + r->x, b, &r->tiles, quads);
    } else if (b->taps != 9) {
      if (cut) {
        eq_depthwise_pairs(out + r->out, x + r->x, &r->tiles, &b->lanes, b->taps, b->form);
      } else {
        eq_depthwise_any(out + r->out, x + r->x, &r->tiles, &b->lanes, b->taps, b->form);
      }
    } else if (j->along.shared && (j->along.shape.lines == 0 ? r->line : r->column)) {
      eq_depthwise_along(out + r->out, x + r->x, &r->tiles, &b->lanes, b->form);
    } else {
      eq_depthwise_nine(out + r->out, x + r->x, &r->tiles, &b->lanes, b->form);
    }
  }
  if (!paired) place_taps(b, j->weights, &j->order, 1);
}

/* channels >= 8, at most MAX_TAPS taps. */
static void run_layer(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                      const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  size_t weights[MAX_TAPS];
  eq_run runs[EQ_RUNS];
  job j = {
      .out = out,
      .x = x,
      .w = w,
      .window = window,
      .channels = (size_t)channels,
      .runs = runs,
      .along = direction_of(window),
      .order = {window->rows, window->columns, window->x_row, window->x_column, window->w_row, window->w_column},
      .count = window->rows * window->columns,
      .weights = weights,
      .away = vdupq_n_s32(-(linear->act_min < linear->zero)),
  };
  if (window->pixels * window->lines >= 4) {
    const int32_t cost = j.along.shared ? EQ_SHARED_COST : EQ_TILE_COST;
    j.n_runs = eq_plan_runs(runs, window, (size_t)channels, j.along.shape, cost);
  }
  if (window->columns == 1) j.order = (taps){1, window->rows, 0, window->x_row, 0, window->w_row};
  if (j.along.shared && j.along.shape.lines != 0) {
    j.order = (taps){3, 3, window->x_column, window->x_row, window->w_column, window->w_row};
  }
  block b;
  start_block(&b, linear, channels, j.count);
  place_taps(&b, weights, &j.order, 1);
  /* The last block is moved back until it ends with the pixel: the channels in front of it are made once more. Fewer
   * than 16 channels, and the last 8 or fewer, go in blocks of 8. */
  const int32_t rest = channels % LANES, eights = channels < LANES ? (channels + 7) / 8 : rest > 0 && rest <= 8;
  const int32_t sixteens = channels < LANES ? 0 : channels / LANES + (rest > 8);
  for (int32_t i = 0; i < sixteens; i++) run_channels(&j, &b, eq_min32(i * LANES, channels - LANES), 4);
  for (int32_t i = eights; i > 0; i--) run_channels(&j, &b, i == 1 ? channels - 8 : 0, 2);
}

/* The pixels that do not fill the last vector are made with some before them once more. */
static void run_narrow(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                       const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  eq_depthwise_narrow n;
  eq_widen_depthwise(&n, w, channels, window, linear);
  run_layer(out, x, n.weights[0], LANES, &n.window, &n.linear);
  if (window->pixels % n.together == 0) return;
  const size_t last = (size_t)(window->pixels - n.together) * (size_t)channels;
  n.window.pixels = 1;
  run_layer(out + last, x + last, n.weights[0], LANES, &n.window, &n.linear);
}

void eq_depthwise_s8_neon(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                          const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  if (linear->weights_zero != 0 || window->rows * window->columns > MAX_TAPS) {
    eq_depthwise_s8_scalar(out, x, w, channels, window, linear);
  } else if (eq_is_narrow(channels, window)) {
    run_narrow(out, x, w, channels, window, linear);
  } else if (channels < 8) {
    eq_depthwise_s8_scalar(out, x, w, channels, window, linear);
  } else {
    run_layer(out, x, w, channels, window, linear);
  }
}
#endif
