/* SPDX-License-Identifier: Apache-2.0
 * The geometry of convolutions, and their windows as the rows of a matrix product. */
#ifndef EDGEQ_ROWS_H
#define EDGEQ_ROWS_H

#include "ops/linear.h"
#include "ops/order.h"

enum { EQ_N, EQ_H, EQ_W, EQ_C }; /* axes of an image */

/* The fields that the parameters of every convolution have. */
typedef struct eq_geometry {
  const int32_t *input;
  const int32_t *output;
  const int32_t *kernel;
  const int32_t *stride;
  const int32_t *dilation;
  const int32_t *padding;
  int32_t groups;
} eq_geometry;

#define EQ_GEOMETRY(p)                                                                                      \
  {                                                                                                         \
    .input = (p)->input, .output = (p)->output, .kernel = (p)->kernel, .stride = (p)->stride,               \
    .dilation = (p)->dilation, .padding = (p)->padding, .groups = (p)->groups                               \
  }

/* True when every output pixel is one input pixel times the weights, so that rows can be read in place. */
static inline bool eq_is_pointwise(const eq_geometry *g) {
  return g->kernel[0] == 1 && g->kernel[1] == 1 && g->padding[0] == 0 && g->padding[1] == 0 &&
         (g->output[EQ_H] - 1) * g->stride[0] < g->input[EQ_H] && (g->output[EQ_W] - 1) * g->stride[1] < g->input[EQ_W];
}

/* Products per output element. */
static inline uint64_t eq_depth(const eq_geometry *g) {
  return eq_volume4(g->kernel[0], g->kernel[1], g->input[EQ_C] / g->groups, 1);
}

/* True when the step has one input and one output of int8 images of these sizes, and every tap a legal place. */
static inline bool eq_geometry_legal(const eq_step_check *s, const eq_geometry *g) {
  const uint64_t in_bytes = eq_volume(g->input, 4), out_bytes = eq_volume(g->output, 4);
  if (!eq_has_operands(s, 1, 1) || !eq_input_is(s, 0, in_bytes) || !eq_output_is(s, 0, out_bytes)) return false;
  if (out_bytes > INT32_MAX || g->input[EQ_N] != g->output[EQ_N] || g->groups < 1) return false;
  if (g->input[EQ_C] % g->groups != 0 || g->output[EQ_C] % g->groups != 0) return false;
  for (int32_t axis = 0; axis < 2; axis++) {
    if (!eq_axis_legal(g->output[EQ_H + axis], g->kernel[axis], g->stride[axis], g->dilation[axis], g->padding[axis]) ||
        g->padding[axis] < 0)
      return false;
  }
  return true;
}

/* What the output may do with the memory of the input, `ahead` bytes above it: groups read their input once for each. */
static inline eq_sharing eq_convolution_sharing(const eq_geometry *g, int64_t ahead) {
  if (g->groups != 1) return EQ_APART;
  if (eq_is_pointwise(g)) {
    const eq_pixel_order pixels = {.in = g->input, .out = g->output, .stride = g->stride, .group = EQ_GEMM_ROWS};
    return ahead >= eq_pixel_distance(&pixels) ? EQ_OVER : EQ_APART;
  }
  const eq_row_order rows = {
      .images = g->input[EQ_N], .in_rows = g->input[EQ_H], .out_rows = g->output[EQ_H],
      .in_row_bytes = (int64_t)g->input[EQ_W] * g->input[EQ_C],
      .out_row_bytes = (int64_t)g->output[EQ_W] * g->output[EQ_C], .stride = g->stride[0], .before = g->padding[0],
  };
  return ahead >= eq_row_distance(&rows) ? EQ_OVER : EQ_APART;
}

/* Some of the rows that one group of weights meets, in the order of the output pixels. Begins as {0}. */
typedef struct eq_rows {
  const int8_t *x;
  size_t x_stride;
  int32_t m;
  int32_t image; /* the first output pixel behind them */
  int32_t line;
  int32_t column;
} eq_rows;

static inline void eq_next_line(eq_rows *rows, const eq_geometry *g) {
  rows->column = 0;
  if (++rows->line < g->output[EQ_H]) return;
  rows->line = 0;
  rows->image++;
}

/* Find the next rows, false when there are none. They are pixels of the group's input where they lie, or up to EQ_PATCHES
 * windows that are gathered into `patches`; taps outside the image are `fill`. */
static inline bool eq_next_rows(eq_rows *rows, const eq_geometry *g, const int8_t *in, uint8_t *patches, int32_t fill) {
  if (rows->image == g->output[EQ_N]) return false;
  const size_t pixel = (size_t)g->input[EQ_C];
  const size_t image_bytes = (size_t)g->input[EQ_H] * (size_t)g->input[EQ_W] * pixel;
  if (eq_is_pointwise(g)) {
    const size_t line = (size_t)rows->line * (size_t)g->stride[0];
    rows->x = in + (size_t)rows->image * image_bytes + line * (size_t)g->input[EQ_W] * pixel;
    rows->x_stride = pixel * (size_t)g->stride[1];
    rows->m = g->output[EQ_W];
    if (g->input[EQ_H] == g->output[EQ_H] && g->input[EQ_W] == g->output[EQ_W]) {
      rows->m *= g->output[EQ_N] * g->output[EQ_H]; /* one product of the whole batch */
      rows->x_stride = pixel;                       /* strides do not matter where a side is one pixel */
      rows->image = g->output[EQ_N];
    } else {
      eq_next_line(rows, g);
    }
    return true;
  }
  const eq_window window = {
      .height = g->input[EQ_H], .width = g->input[EQ_W], .rows = g->kernel[0], .columns = g->kernel[1],
      .dilation_y = g->dilation[0], .dilation_x = g->dilation[1], .pixel_bytes = pixel,
      .taken_bytes = (size_t)(g->groups == 1 ? g->input[EQ_C] : g->input[EQ_C] / g->groups), .fill = (uint8_t)fill,
  };
  rows->x = (const int8_t *)patches;
  rows->x_stride = (size_t)g->kernel[0] * (size_t)g->kernel[1] * window.taken_bytes;
  for (rows->m = 0; rows->m < EQ_PATCHES && rows->image < g->output[EQ_N]; rows->m++) {
    eq_gather(patches + (size_t)rows->m * rows->x_stride, (const uint8_t *)in + (size_t)rows->image * image_bytes, &window,
              rows->line * g->stride[0] - g->padding[0], rows->column * g->stride[1] - g->padding[1]);
    if (++rows->column == g->output[EQ_W]) eq_next_line(rows, g);
  }
  return true;
}

#endif
