/* SPDX-License-Identifier: Apache-2.0
 * Windows of an image as rows of a packed product: image rows are copied to a strip that has the padding in place, and
 * where a window's row is no multiple of 16 bytes, windows are gathered from it into patches. Conv2dStep in
 * edgeq/ops/conv2d.py sizes the scratch in the same way. */
#ifndef EDGEQ_WINDOWS_H
#define EDGEQ_WINDOWS_H

#include "edgeq/memory.h"
#include "edgeq/ops.h"
#include "ops/linear.h"

enum {
  EQ_RUN = 16, /* bytes that kernels read at a time */
  EQ_STRIP_PIXELS = 8,
  EQ_STRIP_BYTES = 768,
  EQ_PATCH_BYTES = 1024,
  EQ_MAX_RUNS = 16, /* rows of a window that are read in place; taller windows are gathered */
};

/* How the windows of a convolution are read. */
typedef struct eq_strips {
  int32_t pixels;  /* output pixels that a strip serves */
  int32_t patches; /* gathered at a time; 0 when windows are read in place */
  int32_t run;     /* bytes of a window's row */
  uint64_t strip_bytes;
  uint64_t patch_bytes; /* one of them */
} eq_strips;

static inline uint64_t eq_align_run(uint64_t bytes) { return (bytes + EQ_RUN - 1) / EQ_RUN * EQ_RUN; }

static inline uint64_t eq_strip_bytes(const eq_conv2d_params *p, int32_t pixels) {
  const uint64_t columns = (uint64_t)(uint32_t)(pixels - 1) * (uint32_t)p->stride[1] +
                           (uint64_t)(uint32_t)(p->kernel[1] - 1) * (uint32_t)p->dilation[1] + 1;
  return eq_align_run((uint64_t)(uint32_t)p->kernel[0] * columns * (uint32_t)p->input[3] + EQ_RUN);
}

/* k <= EQ_MAX_DEPTH is the products of an output element; the fields of p are legal, so nothing overflows 64 bits. */
static inline eq_strips eq_strips_of(const eq_conv2d_params *p, uint32_t k) {
  eq_strips s = {.pixels = EQ_STRIP_PIXELS, .run = (int32_t)(k / (uint32_t)p->kernel[0])};
  while (eq_strip_bytes(p, s.pixels + EQ_STRIP_PIXELS) <= EQ_STRIP_BYTES) s.pixels += EQ_STRIP_PIXELS;
  s.strip_bytes = eq_strip_bytes(p, s.pixels);
  s.patch_bytes = eq_align_run(k);
  if (p->groups != 1 || p->dilation[1] != 1 || p->kernel[0] > EQ_MAX_RUNS || s.run % EQ_RUN != 0) {
    const uint64_t fitting = EQ_PATCH_BYTES / s.patch_bytes / 4 * 4;
    s.patches = fitting < 4 ? 4 : fitting > 16 ? 16 : (int32_t)fitting;
  }
  return s;
}

static inline uint64_t eq_windows_scratch(const eq_strips *s) {
  return s->strip_bytes + (s->patches == 0 ? 0 : (uint64_t)(uint32_t)s->patches * s->patch_bytes + EQ_RUN);
}

/* The image rows under one line of output pixels. */
typedef struct eq_line {
  const int8_t *image;
  int32_t first_y; /* of the window's first tap; may lie outside the image */
} eq_line;

/* Copy the image columns that `pixels` output pixels from x on need to the strip, kernel rows one after the other, with
 * the input's zero point outside the image. Returns the bytes of one row of the strip. */
static inline size_t eq_fill_strip(int8_t *strip, const eq_conv2d_params *p, const eq_line *line, int32_t x,
                                   int32_t pixels) {
  const size_t pixel = (size_t)p->input[3];
  const int32_t columns = (pixels - 1) * p->stride[1] + (p->kernel[1] - 1) * p->dilation[1] + 1;
  const int32_t first = x * p->stride[1] - p->padding[1];
  const int32_t left = eq_min32(first < 0 ? -first : 0, columns);
  const int32_t inside = eq_min32(p->input[2] - first - left, columns - left);
  const int32_t copied = inside < 0 ? 0 : inside;
  const uint8_t fill = (uint8_t)p->input_zero;
  const size_t row_bytes = (size_t)columns * pixel;
  for (int32_t i = 0; i < p->kernel[0]; i++, strip += row_bytes) {
    const int32_t y = line->first_y + i * p->dilation[0];
    if (y < 0 || y >= p->input[1]) {
      eq_fill(strip, fill, row_bytes);
      continue;
    }
    const size_t from = ((size_t)y * (size_t)p->input[2] + (size_t)(first + left)) * pixel;
    if (left > 0) eq_fill(strip, fill, (size_t)left * pixel);
    if (copied > 0) eq_copy(strip + (size_t)left * pixel, line->image + from, (size_t)copied * pixel);
    if (left + copied < columns) {
      eq_fill(strip + (size_t)(left + copied) * pixel, fill, (size_t)(columns - left - copied) * pixel);
    }
  }
  return row_bytes;
}

/* Copy `bytes` in whole runs of 16: up to 15 more bytes are read and written. */
static inline void eq_copy_runs(int8_t *to, const int8_t *from, size_t bytes) {
  for (size_t i = 0; i < bytes; i += EQ_RUN) memcpy(to + i, from + i, EQ_RUN);
}

/* Gather the window of a strip's pixel number `pixel` for one group of channels, of which `first` is the first byte. Up to
 * 15 bytes more are read and written. */
static inline void eq_gather_patch(int8_t *patch, const int8_t *strip, size_t row_bytes, const eq_conv2d_params *p,
                                   int32_t pixel, size_t first) {
  const size_t channels = (size_t)p->input[3], taken = channels / (size_t)p->groups;
  const int8_t *from = strip + (size_t)pixel * (size_t)p->stride[1] * channels + first;
  const bool whole = p->groups == 1 && p->dilation[1] == 1;
  const size_t run = whole ? (size_t)p->kernel[1] * channels : taken;
  const size_t step = (size_t)p->dilation[1] * channels;
  for (int32_t i = 0; i < p->kernel[0]; i++, from += row_bytes) {
    const int8_t *tap = from;
    for (int32_t j = 0; j < (whole ? 1 : p->kernel[1]); j++, tap += step, patch += run) eq_copy_runs(patch, tap, run);
  }
}

#endif
