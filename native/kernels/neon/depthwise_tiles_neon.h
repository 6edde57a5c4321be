/* SPDX-License-Identifier: Apache-2.0
 * How the pixels of a depthwise layer are divided into tiles of four. */
#ifndef EDGEQ_DEPTHWISE_TILES_NEON_H
#define EDGEQ_DEPTHWISE_TILES_NEON_H

#include "kernels/neon/depthwise_neon.h"

/* A rectangle of output pixels, and the tiles that cover it. */
typedef struct eq_region {
  int32_t line;
  int32_t pixel;
  int32_t lines;
  int32_t pixels;
} eq_region;

/* A tile's extent as powers of two: 1x4, 4x1 or 2x2 pixels. */
typedef struct eq_shape {
  int32_t lines;
  int32_t pixels;
} eq_shape;

/* At most as many runs cover a layer: one most of it, and two each what is left at its right and below, which is
 * narrower than a tile: what the first of them leaves is a tile when pixels before it are taken with it. */
enum { EQ_RUNS = 5 };

/* Tiles of one shape in lines of `tiles.in_line`, and where the first one begins. */
typedef struct eq_run {
  eq_depthwise_tiles tiles;
  size_t x;
  size_t out;
  bool line; /* four pixels of a line */
  bool column;
} eq_run;

EQ_ALWAYS_INLINE int32_t eq_tiles_for(int32_t n, int32_t tile) { return (n + (1 << tile) - 1) >> tile; }

/* Tiles that share taps take eight ninths of the time of others. */
enum { EQ_TILE_COST = 9, EQ_SHARED_COST = 8 };

/* Find the shape whose tiles take the least time, `first` where no other is better and at a cost of its own; false when
 * the region holds none. */
static inline bool eq_find_shape(eq_shape *best, const eq_region *r, eq_shape first, int32_t first_cost) {
  const eq_shape shapes[] = {first, {0, 2}, {2, 0}, {1, 1}};
  int32_t least = INT32_MAX;
  for (int i = 0; i < 4; i++) {
    const eq_shape s = shapes[i];
    if (r->lines >> s.lines == 0 || r->pixels >> s.pixels == 0) continue;
    const int32_t tiles = eq_tiles_for(r->lines, s.lines) * eq_tiles_for(r->pixels, s.pixels);
    const int32_t cost = tiles * (i == 0 ? first_cost : EQ_TILE_COST);
    if (cost < least) *best = s;
    least = eq_min32(least, cost);
  }
  return least != INT32_MAX;
}

/* Tiles along one axis of n pixels; where a second one fits only in part it begins that much behind the first. */
typedef struct eq_tiling {
  int32_t count;
  int32_t step;
  int32_t left; /* pixels behind the last tile */
} eq_tiling;

static inline eq_tiling eq_tile_axis(int32_t n, int32_t tile) {
  const int32_t count = n >> tile, left = n - (count << tile);
  if (count == 1 && left > 0) return (eq_tiling){2, left, 0};
  return (eq_tiling){count, 1 << tile, left};
}

/* Cover a layer of at least four pixels; return the number of runs. Pixels that lie in two tiles are made twice, for
 * out overlaps nothing. */
static inline int32_t eq_plan_runs(eq_run runs[EQ_RUNS], const eq_depthwise_window *w, size_t channels,
                                   eq_shape first, int32_t first_cost) {
  eq_region regions[EQ_RUNS + 1] = {{0, 0, w->lines, w->pixels}};
  int32_t count = 0;
  for (int32_t pending = 1; pending > 0;) {
    const eq_region r = regions[--pending];
    eq_shape s = first, other;
    eq_find_shape(&s, &r, first, first_cost);
    const eq_tiling lines = eq_tile_axis(r.lines, s.lines), pixels = eq_tile_axis(r.pixels, s.pixels);
    const bool line = s.lines == 0, column = s.pixels == 0;
    const size_t x_line = (size_t)lines.step * w->x_line, x_pixel = (size_t)pixels.step * w->x_pixel;
    const size_t out_line = (size_t)lines.step * w->out_line, out_pixel = (size_t)pixels.step * channels;
    const size_t in_line = (size_t)(pixels.count - 1);
    runs[count] = (eq_run){
        .tiles =
            {
                .x_step = x_pixel,
                .x_wrap = x_line - in_line * x_pixel,
                .out_step = out_pixel,
                .out_wrap = out_line - in_line * out_pixel,
                .x_next = column ? w->x_line : w->x_pixel,
                .x_second = line ? 2 * w->x_pixel : column ? 2 * w->x_line : w->x_line,
                .out_next = column ? w->out_line : channels,
                .out_second = line ? 2 * channels : column ? 2 * w->out_line : w->out_line,
                .in_line = pixels.count,
                .count = lines.count * pixels.count,
            },
        .x = (size_t)r.line * w->x_line + (size_t)r.pixel * w->x_pixel,
        .out = (size_t)r.line * w->out_line + (size_t)r.pixel * channels,
        .line = line,
        .column = column,
    };
    count++;
    const int32_t covered = r.lines - lines.left;
    if (pixels.left > 0) {
      eq_region right = {r.line, r.pixel + r.pixels - pixels.left, covered, pixels.left};
      if (!eq_find_shape(&other, &right, first, first_cost)) {
        right.pixel = r.pixel + r.pixels - (1 << s.pixels);
        right.pixels = 1 << s.pixels;
      }
      regions[pending++] = right;
    }
    if (lines.left > 0) {
      eq_region below = {r.line + covered, r.pixel, lines.left, r.pixels};
      if (!eq_find_shape(&other, &below, first, first_cost)) {
        below.line = r.line + r.lines - (1 << s.lines);
        below.lines = 1 << s.lines;
      }
      regions[pending++] = below;
    }
  }
  return count;
}

#endif
