/* SPDX-License-Identifier: Apache-2.0
 * The order in which depthwise kernels visit the pixels of a block. */
#ifndef EDGEQ_DEPTHWISE_WALK_NEON_H
#define EDGEQ_DEPTHWISE_WALK_NEON_H

#include "kernels/neon/requant_neon.h"

/* How the pixels of a block of channels follow each other. */
typedef struct eq_walk {
  int32_t lines;
  int32_t pixels;
  size_t x_pixel;
  size_t x_line;
  size_t out_pixel;
  size_t out_line;
} eq_walk;

/* A pixel and its place in the line. */
typedef struct eq_place {
  const int8_t *x;
  int8_t *out;
  int32_t pixel;
} eq_place;

/* Take the next n pixels. */
EQ_ALWAYS_INLINE void eq_take_pixels(int8_t **out, const int8_t **x, eq_place *at, const eq_walk *w, int n) {
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

#endif
