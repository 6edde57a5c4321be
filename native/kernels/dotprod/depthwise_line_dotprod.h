/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution with a window of one line of taps by SDOT: four neighbours along it, eight channels at a time.
 *
 * A quad is the codes of eight channels at four places, side by side; a window begins at any of the four, so that its
 * weights come in four orders, zeros before and behind them. */
#ifndef EDGEQ_DEPTHWISE_LINE_DOTPROD_H
#define EDGEQ_DEPTHWISE_LINE_DOTPROD_H

#include "kernels/dotprod/quads_dotprod.h"
#include "kernels/dotprod/top_byte_dotprod.h"

enum { LINE_TAPS = 16, LINE_QUADS = (LINE_TAPS + QUAD - 1 + QUAD - 1) / QUAD, LEAST_LINE_TAPS = 2, LEAST_LINE_PIXELS = 8 };

/* Lines of windows; distances are in bytes. */
typedef struct tap_lines {
  int32_t lines;
  int32_t pixels; /* >= LEAST_LINE_PIXELS */
  int32_t taps;   /* LEAST_LINE_TAPS .. LINE_TAPS */
  size_t x_tap;   /* and from window to window */
  size_t w_tap;
  size_t out_pixel;
  size_t x_line;
  size_t out_line;
} tap_lines;

/* The weights of eight channels for each quad that four neighbours meet, by the place in it where a window begins. */
typedef int8_t line_weights[LINE_QUADS][QUAD][2][16];

QUAD_INLINE void order_weights(line_weights to, const int8_t *w, const tap_lines *s, int32_t quads) {
  int8_t rows[QUAD - 1 + QUAD * LINE_QUADS][GROUP] = {{0}};
  for (int32_t t = 0; t < s->taps; t++) vst1_s8(rows[QUAD - 1 + t], vld1_s8(w + (size_t)t * s->w_tap));
  for (int32_t q = 0; q < quads; q++) {
#pragma GCC unroll 4
    for (int i = 0; i < QUAD; i++) {
      const int8_t(*row)[GROUP] = &rows[QUAD * q + QUAD - 1 - i];
      int8x16_t quad[2];
      interleave(quad, vld1_s8(row[0]), vld1_s8(row[1]), vld1_s8(row[2]), vld1_s8(row[3]));
      vst1q_s8(to[q][i][0], quad[0]);
      vst1q_s8(to[q][i][1], quad[1]);
    }
  }
}

/* Eight channels of four pixels; taps that lie beyond `last` have weights of zero. */
QUAD_INLINE void run_four(int8_t *out, size_t out_pixel, const int8_t *x, size_t at, size_t last, size_t x_tap,
                          const int8_t (*w)[QUAD][2][16], int32_t quads, const int32_t *bias, const int32_t *multipliers,
                          const eq_top8 *top, bool away) {
  int32x4_t sums[2 * QUAD];
#pragma GCC unroll 4
  for (int i = 0; i < QUAD; i++) eq_load_8(&sums[2 * i], bias);
  do {
    int8x8_t places[QUAD];
#pragma GCC unroll 4
    for (int i = 0; i < QUAD; i++, at += x_tap) places[i] = vld1_s8(x + (at < last ? at : last));
    int8x16_t quad[2];
    interleave(quad, places[0], places[1], places[2], places[3]);
#pragma GCC unroll 4
    for (int i = 0; i < QUAD; i++) {
      sums[2 * i] = vdotq_s32(sums[2 * i], quad[0], vld1q_s8((*w)[i][0]));
      sums[2 * i + 1] = vdotq_s32(sums[2 * i + 1], quad[1], vld1q_s8((*w)[i][1]));
    }
    w++;
  } while (--quads > 0);
  eq_store_top_rows(out, out_pixel, multipliers, top, sums, QUAD, away);
}

QUAD_INLINE void run_tap_lines(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels, const tap_lines *s,
                               const eq_linear_s8 *linear, bool away) {
  const int32_t quads = (s->taps + QUAD - 1 + QUAD - 1) / QUAD;
  const size_t x_tap = s->x_tap, out_pixel = s->out_pixel;
  const size_t last = (size_t)(s->pixels + s->taps - 2) * x_tap;
  for (int32_t next = 0; next < channels; next += GROUP) {
    /* the last group is moved back until it ends with the pixel, and so are a line's last four pixels below */
    const int32_t first = eq_min32(next, channels - GROUP);
    line_weights weights;
    eq_top8 top;
    order_weights(weights, w + first, s, quads);
    eq_load_top8(&top, linear, first);
    const int32_t *const bias = linear->bias + first, *const multipliers = linear->multipliers + first;
    const int8_t *from = x + first;
    int8_t *to = out + first;
    for (int32_t line = 0; line < s->lines; line++, from += s->x_line, to += s->out_line) {
      for (int32_t next_pixel = 0; next_pixel < s->pixels; next_pixel += QUAD) {
        const size_t pixel = (size_t)eq_min32(next_pixel, s->pixels - QUAD);
        run_four(to + pixel * out_pixel, out_pixel, from, pixel * x_tap, last, x_tap, weights, quads, bias, multipliers,
                 &top, away);
      }
    }
  }
}

#endif
