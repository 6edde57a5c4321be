/* SPDX-License-Identifier: Apache-2.0
 * How far below its input an output may lie so that it overwrites only what has been read: the closed forms of
 * edgeq/ops/order.py. Distances are input offset - output offset in bytes; tensors have less than 2^31 of them, so that
 * nothing here overflows 64 bits. */
#ifndef EDGEQ_ORDER_H
#define EDGEQ_ORDER_H

#include "edgeq/fixed_point.h"
#include "edgeq/step.h"

/* Images whose output rows are written in ascending order; row y reads no input row before y * stride - before. */
typedef struct eq_row_order {
  int64_t images;
  int64_t in_rows;
  int64_t out_rows;
  int64_t in_row_bytes;
  int64_t out_row_bytes;
  int64_t stride;
  int64_t before;
} eq_row_order;

/* The least distance at which every output row ends at or below the first input row that it reads. In y the difference
 * is linear between the places where the first row meets the ends of the image, so its maximum lies at one of them. */
static inline int64_t eq_row_distance(const eq_row_order *r) {
  const int64_t last = r->out_rows - 1;
  const int64_t top = r->before / r->stride, bottom = (r->in_rows + r->before) / r->stride;
  const int64_t rows[] = {0, top, top + 1, bottom, bottom + 1, last};
  int64_t distance = INT64_MIN;
  for (uint32_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) {
    const int64_t image = i % 2 == 0 ? 0 : r->images - 1;
    const int64_t y = eq_clamp64(rows[i / 2], 0, last);
    const int64_t first = image * r->in_rows + eq_clamp64(y * r->stride - r->before, 0, r->in_rows);
    const int64_t found = (image * r->out_rows + y + 1) * r->out_row_bytes - first * r->in_row_bytes;
    if (found > distance) distance = found;
  }
  return distance;
}

/* Pixels that are written in ascending groups of at most `group`, each after it has been read. Shapes are NHWC. */
typedef struct eq_pixel_order {
  const int32_t *in;
  const int32_t *out;
  const int32_t *stride;
  int64_t group;
} eq_pixel_order;

/* Where input pixel number i of the output's begins. */
static inline int64_t eq_pixel_start(const eq_pixel_order *o, int64_t i) {
  const int64_t x = i % o->out[2], y = i / o->out[2] % o->out[1], n = i / o->out[2] / o->out[1];
  return ((n * o->in[1] + y * o->stride[0]) * o->in[2] + x * o->stride[1]) * o->in[3];
}

/* The least distance at which the output of every group ends at or below the first pixel that the group reads. Up to the
 * last whole group's first pixel (n, y, x) the difference is linear in each coordinate, and it falls after that: its
 * maximum lies at a corner of the images before n, of the rows before y or of row y. */
static inline int64_t eq_pixel_distance(const eq_pixel_order *o) {
  const int64_t width = o->out[2], height = o->out[1], pixels = o->out[0] * height * width;
  const int64_t whole = pixels > o->group ? pixels - o->group : 0;
  const int64_t row = whole / width * width, image = row / (width * height) * (width * height);
  const int64_t corners[] = {0, width - 1, (height - 1) * width, height * width - 1,
                             image - height * width, image - height * width + width - 1, image - width, image - 1,
                             image, image + width - 1, row - width, row - 1, row, whole};
  int64_t distance = INT64_MIN;
  for (uint32_t i = 0; i < sizeof corners / sizeof corners[0]; i++) {
    const int64_t pixel = eq_clamp64(corners[i], 0, pixels - 1);
    const int64_t end = pixel + o->group < pixels ? pixel + o->group : pixels;
    const int64_t found = end * o->out[3] - eq_pixel_start(o, pixel);
    if (found > distance) distance = found;
  }
  return distance;
}

#endif
