/* SPDX-License-Identifier: Apache-2.0
 * Windows of an image as rows of a packed product: image rows are copied to a strip that has the padding in place, and
 * where a window's row is no multiple of 16 bytes, windows are gathered from it into patches. Conv2dStep in
 * edgeq/ops/conv2d.py sizes the scratch in the same way. */
#ifndef EDGEQ_WINDOWS_H
#define EDGEQ_WINDOWS_H

#include "edgeq/ops.h"
#include "ops/linear.h"

enum {
  EQ_RUN = 16, /* bytes that kernels read at a time */
  EQ_STRIP_PIXELS = 8,
  EQ_STRIP_BYTES = 768,
  EQ_PATCH_BYTES = 1024,
  EQ_MOST_PATCHES = 64, /* gathered at a time where the scratch has room for more than the least */
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
    const uint32_t fitting = EQ_PATCH_BYTES / (uint32_t)s.patch_bytes / 4 * 4; /* a division of 32 bits */
    s.patches = fitting < 4 ? 4 : fitting > 16 ? 16 : (int32_t)fitting;
  }
  return s;
}

static inline uint64_t eq_windows_scratch(const eq_strips *s) {
  return s->strip_bytes + (s->patches == 0 ? 0 : (uint64_t)(uint32_t)s->patches * s->patch_bytes + EQ_RUN);
}

/* Multiply the windows of one group of channels, whose first input and output bytes are at in and out: this part's lines,
 * in order, so that an output may follow its input through memory. eq_run_strips reads windows in place. */
typedef void eq_windows_run(const eq_step_io *io, const eq_conv2d_params *p, const eq_strips *strips, int8_t *out,
                            const int8_t *in, const int8_t *weights, const eq_linear_s8 *linear);
eq_windows_run eq_run_strips, eq_run_patches;

#endif
