/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution on CPUs without vectors: one tile of channels of one pixel, or of a few neighbouring ones, at a time. */
#ifndef EDGEQ_DEPTHWISE_TILES_H
#define EDGEQ_DEPTHWISE_TILES_H

#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"

/* What the assembly of the kernels takes; it knows the offsets. */
typedef struct eq_taps {
  const int8_t *x;
  const int8_t *w;
  size_t step;  /* from a tap to its right neighbour, of x and of w */
  size_t x_row; /* from a tap to the one below it */
  size_t w_row;
  ptrdiff_t x_back; /* from behind the last row to the first one of the next channel */
  ptrdiff_t w_back;
  int32_t *sums;
  int32_t channels;
  int32_t rows;
  const int32_t *bias;
  int32_t skipped; /* bytes of code, where rows that are not there are jumped over */
} eq_taps;

/* Channels first .. first + n of `pixels` neighbouring pixels. */
typedef struct eq_tile {
  int8_t *out; /* of the first pixel's first channel */
  const int8_t *x;
  const int8_t *w;
  int32_t first;
  int32_t n;
  int32_t pixels;
  bool is_short; /* as eq_is_short says */
} eq_tile;
typedef void eq_run_tile(const eq_tile *tile, int32_t channels, const eq_depthwise_window *window,
                         const eq_linear_s8 *linear);

static inline eq_taps eq_taps_of(const eq_tile *tile, const eq_depthwise_window *window, int32_t *sums) {
  return (eq_taps){
      .x = tile->x, .w = tile->w, .step = window->x_column, .x_row = window->x_row, .w_row = window->w_row,
      .x_back = 1 - window->rows * (ptrdiff_t)window->x_row, .w_back = 1 - window->rows * (ptrdiff_t)window->w_row,
      .sums = sums, .channels = tile->n, .rows = window->rows,
  };
}

/* True for at least one tap, at most 3x3 of them, that are read in the same steps as their weights. */
static inline bool eq_is_short(const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  return window->rows >= 1 && window->rows <= 3 && window->columns >= 1 && window->columns <= 3 &&
         window->x_column == window->w_column && linear->weights_zero == 0;
}

/* Inlined, functions that run one after the other would all have their room on the stack at once. */
#define EQ_OWN_FRAME __attribute__((noinline))

/* Add the products of one pixel under any window to the sums. */
static EQ_OWN_FRAME void eq_add_any_taps(int32_t *sums, const eq_tile *tile, const eq_depthwise_window *window,
                                         int32_t weights_zero) {
  for (int32_t c = 0; c < tile->n; c++) {
    for (int32_t row = 0; row < window->rows; row++) {
      const int8_t *x = tile->x + c + (size_t)row * window->x_row, *w = tile->w + c + (size_t)row * window->w_row;
      for (int32_t left = window->columns; left > 0; left--, x += window->x_column, w += window->w_column) {
        sums[c] = eq_add32(sums[c], *x * (*w - weights_zero));
      }
    }
  }
}

/* All tiles of a window's pixels: `together` at a time in tiles of tile_channels where the window is short and fits, what is
 * left of a line alone in tiles of `together` times as many. */
static inline __attribute__((always_inline)) void eq_run_tiles(int8_t *out, const int8_t *x, const int8_t *w,
                                                               int32_t channels, const eq_depthwise_window *window,
                                                               const eq_linear_s8 *linear, int32_t together,
                                                               int32_t tile_channels, bool fits, eq_run_tile *run) {
  const bool is_short = eq_is_short(window, linear), alone = !fits || !is_short;
  for (int32_t line = 0; line < window->lines; line++, x += window->x_line, out += window->out_line) {
    const int8_t *first_tap = x;
    int8_t *to = out;
    for (int32_t left = window->pixels, pixels; left > 0; left -= pixels) {
      pixels = !alone && left >= together ? together : 1;
      const int32_t most = pixels == 1 ? together * tile_channels : tile_channels;
      for (int32_t first = 0; first < channels; first += most) {
        const int32_t n = eq_min32(channels - first, most);
        const eq_tile tile = {to + first, first_tap + first, w + first, first, n, pixels, is_short};
        run(&tile, channels, window, linear);
      }
      first_tap += (size_t)pixels * window->x_pixel;
      to += (size_t)pixels * (size_t)channels;
    }
  }
}

#endif
