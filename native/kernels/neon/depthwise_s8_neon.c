/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution of int8 pixels: 16 or 8 channels of up to four pixels at a time, two taps' products per addition
 * in 32 bits. */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"
#include "kernels/requant.h"

void eq_depthwise_s8_scalar(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                            const eq_depthwise_window *window, const eq_linear_s8 *linear);

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { LANES = 16, MAX_TAPS = 64, SLOTS = 2 * MAX_TAPS };

/* How sums become codes, decided once per call. */
typedef enum form {
  FORM_RELU,  /* two roundings; negative results become -128, the code of 0, so which way their ties went is not seen */
  FORM_UP,    /* two roundings; negative results are clamped to a code above -128 */
  FORM_AWAY,  /* two roundings, ties away from zero */
  FORM_OTHER, /* left to eq_requant_s8 */
} form;

static form form_of(const eq_linear_s8 *linear, int32_t channels) {
  if (linear->mode != EQ_MODE_DOUBLE) return FORM_OTHER;
  for (int32_t c = 0; c < channels; c++) {
    if (linear->shifts[c] > 0) return FORM_OTHER;
  }
  if (linear->act_min < linear->zero) return FORM_AWAY;
  return linear->act_min == INT8_MIN ? FORM_RELU : FORM_UP;
}

/* A block of at most LANES channels: taps in pairs whose products add up in int16, and what follows the sums. */
typedef struct block {
  int8_t weights[SLOTS][LANES];
  size_t offsets[SLOTS]; /* of taps from a pixel's first one */
  int32_t taps;          /* slots that are taken */
  int32_t shifts[LANES];
  const int32_t *bias;
  const int32_t *multipliers;
  const eq_linear_s8 *linear;
  int32_t first; /* channel */
  form form;
} block;

/* Lanes of x of `quads` * 4 channels; of 8, the upper half is not used. */
ALWAYS_INLINE int8x16_t load_codes(const int8_t *x, int quads) {
  return quads == 4 ? vld1q_s8(x) : vcombine_s8(vld1_s8(x), vdup_n_s8(0));
}

ALWAYS_INLINE void add_products(int32x4_t *sums, int16x8_t low, int16x8_t high, int quads) {
  sums[0] = vaddw_s16(sums[0], vget_low_s16(low));
  sums[1] = vaddw_high_s16(sums[1], low);
  if (quads == 4) {
    sums[2] = vaddw_s16(sums[2], vget_low_s16(high));
    sums[3] = vaddw_high_s16(sums[3], high);
  }
}

/* sums += two taps of P pixels, or one at the end of an odd count. */
ALWAYS_INLINE void add_taps(int32x4_t sums[4][4], const int8_t *const *x, const block *b, int32_t tap, bool pair, int P,
                            int quads) {
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

/* High product of P pixels' sums and shift, rounded. */
ALWAYS_INLINE void scale(int32x4_t sums[4][4], const block *b, bool away, int P, int quads) {
#pragma GCC unroll 4
  for (int q = 0; q < quads; q++) {
    const int32x4_t multipliers = vld1q_s32(b->multipliers + 4 * q), shifts = vld1q_s32(b->shifts + 4 * q);
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) {
      int32x4_t high = vqrdmulhq_s32(sums[p][q], multipliers);
      /* less one where negative and to be shifted: that rounds ties down */
      if (away) high = vsraq_n_s32(high, vandq_s32(high, shifts), 31);
      sums[p][q] = vrshlq_s32(high, shifts);
    }
  }
}

/* The codes of four quads of results. */
ALWAYS_INLINE int8x16_t narrow(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d, const eq_linear_s8 *linear) {
  const int16x8_t zero = vdupq_n_s16((int16_t)linear->zero);
  const int16x8_t low = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), zero);
  const int16x8_t high = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(c), d), zero);
  const int8x16_t codes = vqmovn_high_s16(vqmovn_s16(low), high);
  return vminq_s8(vmaxq_s8(codes, vdupq_n_s8((int8_t)linear->act_min)), vdupq_n_s8((int8_t)linear->act_max));
}

ALWAYS_INLINE int8x16_t narrow_relu(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d, const eq_linear_s8 *linear) {
  const uint16x8_t low = vqmovun_high_s32(vqmovun_s32(a), b);
  const uint16x8_t high = vqmovun_high_s32(vqmovun_s32(c), d);
  const uint8x16_t above = vminq_u8(vqmovn_high_u16(vqmovn_u16(low), high), vdupq_n_u8((uint8_t)(linear->act_max + 128)));
  return vreinterpretq_s8_u8(veorq_u8(above, vdupq_n_u8(0x80)));
}

ALWAYS_INLINE void store_codes(int8_t *const *out, int32x4_t sums[4][4], const block *b, bool relu, int P, int quads) {
#define NARROW(i, j, k, l) (relu ? narrow_relu(i, j, k, l, b->linear) : narrow(i, j, k, l, b->linear))
  if (quads == 4) {
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) vst1q_s8(out[p], NARROW(sums[p][0], sums[p][1], sums[p][2], sums[p][3]));
  } else {
#pragma GCC unroll 4
    for (int p = 0; p < P; p += 2) {
      const int q = p + 1 < P ? p + 1 : p;
      const int8x16_t codes = NARROW(sums[p][0], sums[p][1], sums[q][0], sums[q][1]);
      vst1_s8(out[p], vget_low_s8(codes));
      if (q != p) vst1_s8(out[q], vget_high_s8(codes));
    }
  }
#undef NARROW
}

/* P pixels, whose first taps lie at x. */
ALWAYS_INLINE void run_pixels(int8_t *const *out, const int8_t *const *x, const block *b, int32_t taps, int P, int quads) {
  int32x4_t sums[4][4];
#pragma GCC unroll 4
  for (int p = 0; p < P; p++) {
#pragma GCC unroll 4
    for (int q = 0; q < quads; q++) sums[p][q] = vld1q_s32(b->bias + 4 * q);
  }
#pragma GCC unroll 5
  for (int32_t tap = 0; tap + 1 < taps; tap += 2) add_taps(sums, x, b, tap, true, P, quads);
  if (taps % 2 != 0) add_taps(sums, x, b, taps - 1, false, P, quads);
  if (b->form == FORM_RELU) {
    scale(sums, b, false, P, quads);
    store_codes(out, sums, b, true, P, quads);
  } else if (b->form == FORM_OTHER) {
    for (int p = 0; p < P; p++) {
      int32_t found[LANES];
      for (int q = 0; q < quads; q++) vst1q_s32(found + 4 * q, vsubq_s32(sums[p][q], vld1q_s32(b->bias + 4 * q)));
      eq_requant_s8(out[p], found, b->first, 4 * quads, b->linear);
    }
  } else {
    if (b->form == FORM_AWAY) {
      scale(sums, b, true, P, quads);
    } else {
      scale(sums, b, false, P, quads);
    }
    store_codes(out, sums, b, false, P, quads);
  }
}

/* How the pixels of a block of channels follow each other. */
typedef struct walk {
  int32_t lines;
  int32_t pixels;
  size_t x_pixel;
  size_t x_line;
  size_t out_pixel;
  size_t out_line;
} walk;

/* A pixel and its place in the line. */
typedef struct place {
  const int8_t *x;
  int8_t *out;
  int32_t pixel;
} place;

/* Take the next n pixels. */
ALWAYS_INLINE void take(int8_t **out, const int8_t **x, place *at, const walk *w, int n) {
  if (at->pixel + n <= w->pixels) {
#pragma GCC unroll 4
    for (int i = 0; i < n; i++) {
      x[i] = at->x + (size_t)i * w->x_pixel;
      out[i] = at->out + (size_t)i * w->out_pixel;
    }
    at->x += (size_t)n * w->x_pixel;
    at->out += (size_t)n * w->out_pixel;
    at->pixel += n;
    return;
  }
#pragma GCC unroll 4
  for (int i = 0; i < n; i++) {
    if (at->pixel == w->pixels) {
      at->x += w->x_line - (size_t)w->pixels * w->x_pixel;
      at->out += w->out_line - (size_t)w->pixels * w->out_pixel;
      at->pixel = 0;
    }
    x[i] = at->x;
    out[i] = at->out;
    at->x += w->x_pixel;
    at->out += w->out_pixel;
    at->pixel++;
  }
}

ALWAYS_INLINE void run_block(int8_t *out, const int8_t *x, const block *b, const walk *w, int32_t taps, int quads) {
  place at = {x, out, 0};
  int8_t *outs[4];
  const int8_t *xs[4];
  int32_t left = w->lines * w->pixels;
  for (; left >= 4; left -= 4) {
    take(outs, xs, &at, w, 4);
    run_pixels(outs, xs, b, taps, 4, quads);
  }
  if (left >= 2) {
    take(outs, xs, &at, w, 2);
    run_pixels(outs, xs, b, taps, 2, quads);
  }
  if (left % 2 != 0) {
    take(outs, xs, &at, w, 1);
    run_pixels(outs, xs, b, taps, 1, quads);
  }
}

static void run_16_3x3(int8_t *out, const int8_t *x, const block *b, const walk *w) { run_block(out, x, b, w, 9, 4); }
static void run_16(int8_t *out, const int8_t *x, const block *b, const walk *w) { run_block(out, x, b, w, b->taps, 4); }
static void run_8_3x3(int8_t *out, const int8_t *x, const block *b, const walk *w) { run_block(out, x, b, w, 9, 2); }
static void run_8(int8_t *out, const int8_t *x, const block *b, const walk *w) { run_block(out, x, b, w, b->taps, 2); }

static void run_lanes(int8_t *out, const int8_t *x, const block *b, const walk *w, int quads) {
  if (quads == 4) {
    (b->taps == 9 ? run_16_3x3 : run_16)(out, x, b, w);
  } else {
    (b->taps == 9 ? run_8_3x3 : run_8)(out, x, b, w);
  }
}

/* Fill in the taps' places, `step` slots apart. */
static void place_taps(block *b, const eq_depthwise_window *window, int32_t step) {
  size_t *offset = b->offsets;
  for (int32_t row = 0; row < window->rows; row++) {
    for (int32_t column = 0; column < window->columns; column++) {
      for (int32_t i = 0; i < step; i++) *offset++ = (size_t)row * window->x_row + (size_t)column * window->x_column;
    }
  }
  b->taps = step * window->rows * window->columns;
}

/* Copy the weights of b's lanes, `step` slots apart with zeros between them; return the least. */
static int8_t copy_weights(block *b, const int8_t *w, const eq_depthwise_window *window, int32_t step, int quads) {
  int8x16_t least = vdupq_n_s8(INT8_MAX);
  int8_t (*slot)[LANES] = b->weights;
  for (int32_t row = 0; row < window->rows; row++) {
    for (int32_t column = 0; column < window->columns; column++) {
      const int8x16_t codes = load_codes(w + (size_t)row * window->w_row + (size_t)column * window->w_column, quads);
      least = vminq_s8(least, codes);
      vst1q_s8(*slot++, codes);
      for (int32_t i = 1; i < step; i++) vst1q_s8(*slot++, vdupq_n_s8(0));
    }
  }
  return vminvq_s8(least);
}

void eq_depthwise_s8_neon(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                          const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  if (linear->weights_zero != 0 || channels < 8 || window->rows * window->columns > MAX_TAPS) {
    eq_depthwise_s8_scalar(out, x, w, channels, window, linear);
    return;
  }
  const walk steps = {
      .lines = window->lines,
      .pixels = window->pixels,
      .x_pixel = window->x_pixel,
      .x_line = window->x_line,
      .out_pixel = (size_t)channels,
      .out_line = window->out_line,
  };
  block b;
  b.linear = linear;
  b.form = form_of(linear, channels);
  place_taps(&b, window, 1);
  for (int32_t next = 0; next < channels;) {
    /* the last block is moved back until it ends with the pixel: the channels in front of it are computed once more */
    const int quads = channels >= LANES && channels - next > LANES / 2 ? 4 : 2;
    const int32_t first = eq_min32(next, channels - 4 * quads);
    next = first + 4 * quads;
    b.first = first;
    b.bias = linear->bias + first;
    b.multipliers = linear->multipliers + first;
    for (int32_t i = 0; i < 4 * quads; i++) b.shifts[i] = linear->shifts[first + i];
    if (copy_weights(&b, w + first, window, 1, quads) > INT8_MIN) { /* two products: 128 * (127 + 127) < 2^15 */
      run_lanes(out + first, x + first, &b, &steps, quads);
    } else {
      place_taps(&b, window, 2);
      copy_weights(&b, w + first, window, 2, quads);
      run_lanes(out + first, x + first, &b, &steps, quads);
      place_taps(&b, window, 1);
    }
  }
}
#endif
