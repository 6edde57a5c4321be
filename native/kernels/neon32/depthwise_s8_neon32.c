/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution of int8 pixels: eight channels of up to four pixels at a time, two taps' products per addition in
 * 32 bits. */
#if defined(__arm__) && defined(__ARM_NEON)
#include "kernels/kernels.h"
#include "kernels/neon32/requant_neon32.h"

eq_depthwise_s8_fn eq_depthwise_s8_scalar;

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { LANES = 8, MAX_TAPS = 128, AHEAD = 4 };

/* Where a tap lies from a pixel's first one, and its weights from the window's first ones. */
typedef struct tap {
  size_t x;
  size_t w;
} tap;

/* Eight channels: their taps, the first ones in pairs whose products are added in int16, and what follows the sums. */
typedef struct block {
  tap taps[MAX_TAPS];
  int32_t n_taps;
  int32_t paired; /* of them, an even number */
  const int8_t *weights;
  eq_octet constants;
  const eq_linear_s8 *linear;
  eq_scaling scaling;
} block;

/* Pixels one behind the other; distances are in bytes. */
typedef struct line {
  int32_t pixels;
  size_t x_pixel;
  size_t out_pixel;
} line;

ALWAYS_INLINE void store_codes(int8_t *out, size_t out_pixel, int32x4_t low[AHEAD], int32x4_t high[AHEAD], const block *b,
                               eq_scaling scaling, int P) {
  const eq_code_range range = eq_code_range_of(b->linear->zero, b->linear->act_min, b->linear->act_max);
  const eq_octet o = b->constants;
#pragma GCC unroll 4
  for (int p = 0; p < P; p++, out += out_pixel) vst1_s8(out, eq_requant_octet(low[p], high[p], &o, &range, scaling));
}

/* P pixels, of which the first one's first tap lies at x. */
ALWAYS_INLINE void run_pixels(int8_t *out, const int8_t *x, const block *b, const line *l, int P) {
  int32x4_t low[AHEAD], high[AHEAD];
#pragma GCC unroll 4
  for (int p = 0; p < P; p++) {
    low[p] = b->constants.low.bias;
    high[p] = b->constants.high.bias;
  }
  const tap *t = b->taps, *pairs_end = t + b->paired, *end = t + b->n_taps;
  for (; t < pairs_end; t += 2) {
    const int8x8_t w0 = vld1_s8(b->weights + t[0].w), w1 = vld1_s8(b->weights + t[1].w);
    const int8_t *x0 = x + t[0].x, *x1 = x + t[1].x;
#pragma GCC unroll 4
    for (int p = 0; p < P; p++, x0 += l->x_pixel, x1 += l->x_pixel) {
      const int16x8_t products = vmlal_s8(vmull_s8(vld1_s8(x0), w0), vld1_s8(x1), w1);
      low[p] = vaddw_s16(low[p], vget_low_s16(products));
      high[p] = vaddw_s16(high[p], vget_high_s16(products));
    }
  }
  for (; t < end; t++) {
    const int8x8_t w = vld1_s8(b->weights + t->w);
    const int8_t *from = x + t->x;
#pragma GCC unroll 4
    for (int p = 0; p < P; p++, from += l->x_pixel) {
      const int16x8_t products = vmull_s8(vld1_s8(from), w);
      low[p] = vaddw_s16(low[p], vget_low_s16(products));
      high[p] = vaddw_s16(high[p], vget_high_s16(products));
    }
  }
  if (b->scaling.form == EQ_FORM_UP) {
    store_codes(out, l->out_pixel, low, high, b, (eq_scaling){EQ_FORM_UP, true}, P);
  } else if (b->scaling.form == EQ_FORM_AWAY) {
    store_codes(out, l->out_pixel, low, high, b, (eq_scaling){EQ_FORM_AWAY, true}, P);
  } else if (b->scaling.form == EQ_FORM_SINGLE) {
    store_codes(out, l->out_pixel, low, high, b, (eq_scaling){EQ_FORM_SINGLE, true}, P);
  } else if (b->scaling.form == EQ_FORM_SHIFT) {
    store_codes(out, l->out_pixel, low, high, b, (eq_scaling){EQ_FORM_SHIFT, false}, P);
  } else {
    store_codes(out, l->out_pixel, low, high, b, b->scaling, P);
  }
}

static void run_line(int8_t *out, const int8_t *x, const block *b, const line *l) {
  int32_t left = l->pixels;
  for (; left >= 4; left -= 4, x += 4 * l->x_pixel, out += 4 * l->out_pixel) run_pixels(out, x, b, l, 4);
  if (left >= 2) {
    run_pixels(out, x, b, l, 2);
    x += 2 * l->x_pixel;
    out += 2 * l->out_pixel;
  }
  if (left % 2 != 0) run_pixels(out, x, b, l, 1);
}

/* True when a weight of the window is -128: its product and another one may not fit int16 together. */
static bool has_lowest(const int8_t *w, int32_t channels, const eq_depthwise_window *window) {
  int8x8_t least = vdup_n_s8(INT8_MAX);
  for (int32_t row = 0; row < window->rows; row++) {
    const int8_t *tap = w + (size_t)row * window->w_row;
    for (int32_t column = 0; column < window->columns; column++, tap += window->w_column) {
      int32_t c = 0;
      for (; c + 16 <= channels; c += 16) {
        const int8x16_t codes = vld1q_s8(tap + c);
        least = vmin_s8(least, vmin_s8(vget_low_s8(codes), vget_high_s8(codes)));
      }
      /* the last eight, of which some may have been seen */
      if (c < channels) least = vmin_s8(least, vmin_s8(vld1_s8(tap + eq_min32(c, channels - 8)), vld1_s8(tap + channels - 8)));
    }
  }
  for (int32_t i = 0; i < 3; i++) least = vpmin_s8(least, least);
  return vget_lane_s8(least, 0) == INT8_MIN;
}

static void place_taps(block *b, const eq_depthwise_window *window, bool paired) {
  tap *t = b->taps;
  for (int32_t row = 0; row < window->rows; row++) {
    tap at = {(size_t)row * window->x_row, (size_t)row * window->w_row};
    for (int32_t column = 0; column < window->columns; column++) {
      *t++ = at;
      at.x += window->x_column;
      at.w += window->w_column;
    }
  }
  b->n_taps = (int32_t)(t - b->taps);
  b->paired = paired ? b->n_taps / 2 * 2 : 0; /* 128 * (127 + 127) < 2^15 */
}

void eq_depthwise_s8_neon32(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                            const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  if (linear->weights_zero != 0 || channels < LANES || window->rows * window->columns > MAX_TAPS) {
    eq_depthwise_s8_scalar(out, x, w, channels, window, linear);
    return;
  }
  int32_t lines = window->lines;
  line l = {window->pixels, window->x_pixel, (size_t)channels};
  if (l.pixels == 1) { /* a column */
    l = (line){lines, window->x_line, window->out_line};
    lines = lines > 0;
  }
  block b;
  b.linear = linear;
  b.scaling = eq_scaling_of_linear(linear, channels);
  place_taps(&b, window, !has_lowest(w, channels, window));
  for (int32_t next = 0; next < channels; next += LANES) {
    /* the last block is moved back until it ends with the pixel: the channels in front of it are computed once more */
    const int32_t first = eq_min32(next, channels - LANES);
    b.weights = w + first;
    b.constants = eq_load_octet(linear, first);
    for (int32_t i = 0; i < lines; i++) {
      run_line(out + (size_t)i * window->out_line + first, x + (size_t)i * window->x_line + first, &b, &l);
    }
  }
}
#endif
