/* SPDX-License-Identifier: Apache-2.0
 * Convolutions with a window on packed weights. */
#include "ops/windows.h"

#include "edgeq/fixed_point.h"
#include "edgeq/memory.h"

enum { N, H, W, C };

/* The image rows under one line of output pixels. */
typedef struct line_rows {
  const int8_t *image;
  int32_t first_y; /* of the window's first tap; may lie outside the image */
} line_rows;

static line_rows rows_of(const eq_conv2d_params *p, const int8_t *in, int32_t line) {
  const size_t image_bytes = (size_t)p->input[H] * (size_t)p->input[W] * (size_t)p->input[C];
  return (line_rows){in + (size_t)(line / p->output[H]) * image_bytes,
                     line % p->output[H] * p->stride[0] - p->padding[0]};
}

/* Copy the image columns that `pixels` output pixels from x on need to the strip, kernel rows one after the other, with
 * the input's zero point outside the image. Of every pixel all channels are copied from `in` on but in the last, whose
 * group ends there. Returns the bytes of one row of the strip. */
static size_t fill_strip(int8_t *strip, const eq_conv2d_params *p, const line_rows *rows, int32_t x, int32_t pixels) {
  const size_t pixel = (size_t)p->input[C], unread = pixel - pixel / (size_t)p->groups;
  const int32_t columns = (pixels - 1) * p->stride[1] + (p->kernel[1] - 1) * p->dilation[1] + 1;
  const int32_t first = x * p->stride[1] - p->padding[1];
  const int32_t left = eq_min32(first < 0 ? -first : 0, columns);
  const int32_t inside = eq_max32(eq_min32(p->input[W] - first - left, columns - left), 0);
  const uint8_t fill = (uint8_t)p->input_zero;
  const size_t row_bytes = (size_t)columns * pixel;
  for (int32_t i = 0; i < p->kernel[0]; i++, strip += row_bytes) {
    const int32_t y = rows->first_y + i * p->dilation[0];
    if (y < 0 || y >= p->input[H]) {
      eq_fill(strip, fill, row_bytes);
      continue;
    }
    const size_t from = ((size_t)y * (size_t)p->input[W] + (size_t)(first + left)) * pixel;
    if (left > 0) eq_fill(strip, fill, (size_t)left * pixel);
    if (inside > 0) eq_copy(strip + (size_t)left * pixel, rows->image + from, (size_t)inside * pixel - unread);
    if (left + inside < columns) {
      eq_fill(strip + (size_t)(left + inside) * pixel, fill, (size_t)(columns - left - inside) * pixel);
    }
  }
  return row_bytes;
}

/* The output pixels whose windows lie in the image's width: *first .. *last, a multiple of EQ_STRIP_PIXELS from the left and,
 * unless they reach the end, as many. */
static void find_inside(const eq_conv2d_params *p, int32_t *first, int32_t *last) {
  const int32_t margin = (p->padding[1] + p->stride[1] - 1) / p->stride[1];
  const int32_t reach = p->input[W] + p->padding[1] - p->kernel[1]; /* of the last window's first tap */
  *first = (margin + EQ_STRIP_PIXELS - 1) / EQ_STRIP_PIXELS * EQ_STRIP_PIXELS;
  *last = reach < 0 ? 0 : eq_min32(reach / p->stride[1] + 1, p->output[W]);
  if (*last < p->output[W]) *last = *last / EQ_STRIP_PIXELS * EQ_STRIP_PIXELS;
  if (*last <= *first) *first = *last = p->output[W];
}

/* m output pixels, the first one's window at `from`, whose rows are row_bytes apart. */
static void run_in_place(const eq_step_io *io, const eq_conv2d_params *p, const eq_strips *strips, int8_t *out,
                         const int8_t *from, size_t row_bytes, int32_t m, const int8_t *weights,
                         const eq_linear_s8 *linear) {
  const int8_t *runs[EQ_MAX_RUNS];
  for (int32_t i = 0; i < p->kernel[0]; i++) runs[i] = from + (size_t)i * row_bytes;
  const eq_gemm_rows rows = {runs, p->kernel[0], strips->run, (size_t)p->stride[1] * (size_t)p->input[C]};
  io->kernels->packed_gemm_s8(out, (size_t)p->output[C], &rows, weights, m, p->output[C], linear);
}

void eq_run_strips(const eq_step_io *io, const eq_conv2d_params *p, const eq_strips *strips, int8_t *out,
                   const int8_t *in, const int8_t *weights, const eq_linear_s8 *linear) {
  const size_t pixel = (size_t)p->input[C], row = (size_t)p->input[W] * pixel, out_pixel = (size_t)p->output[C];
  int32_t inside_first, inside_last, from, to;
  find_inside(p, &inside_first, &inside_last);
  eq_share(io, p->output[N] * p->output[H], 1, &from, &to);
  out += (size_t)from * (size_t)p->output[W] * out_pixel;
  for (int32_t line = from; line < to; line++) {
    const line_rows rows = rows_of(p, in, line);
    const bool tall = rows.first_y >= 0 && rows.first_y + (p->kernel[0] - 1) * p->dilation[0] < p->input[H];
    for (int32_t x = 0, m; x < p->output[W]; x += m, out += (size_t)m * out_pixel) {
      if (tall && x == inside_first) {
        m = inside_last - inside_first;
        const int8_t *first = rows.image + (size_t)rows.first_y * row;
        first += (size_t)(x * p->stride[1] - p->padding[1]) * pixel;
        run_in_place(io, p, strips, out, first, (size_t)p->dilation[0] * row, m, weights, linear);
        continue;
      }
      m = eq_min32(strips->pixels, (tall && x < inside_first ? inside_first : p->output[W]) - x);
      const size_t row_bytes = fill_strip(io->scratch, p, &rows, x, m);
      run_in_place(io, p, strips, out, io->scratch, row_bytes, m, weights, linear);
    }
  }
}

/* Copy `count` runs of `bytes` bytes, `step` bytes apart, one after the other. Up to 15 bytes more are read and written. */
static int8_t *copy_runs(int8_t *to, const int8_t *from, int32_t count, size_t step, size_t bytes) {
  if (bytes <= EQ_RUN) {
    for (int32_t i = 0; i < count; i++, to += bytes, from += step) memcpy(to, from, EQ_RUN);
    return to;
  }
  for (int32_t i = 0; i < count; i++, to += bytes, from += step) {
    for (size_t at = 0; at < bytes; at += EQ_RUN) memcpy(to + at, from + at, EQ_RUN);
  }
  return to;
}

/* Gather the window at a place of a strip whose rows have row_bytes. Up to 15 bytes more are read and written. */
static void gather(int8_t *patch, const int8_t *strip, size_t row_bytes, const eq_conv2d_params *p) {
  const size_t channels = (size_t)p->input[C];
  if (p->groups == 1 && p->dilation[1] == 1) {
    copy_runs(patch, strip, p->kernel[0], row_bytes, (size_t)p->kernel[1] * channels);
    return;
  }
  const size_t step = (size_t)p->dilation[1] * channels;
  for (int32_t i = 0; i < p->kernel[0]; i++, strip += row_bytes) {
    patch = copy_runs(patch, strip, p->kernel[1], step, channels / (size_t)p->groups);
  }
}

void eq_run_patches(const eq_step_io *io, const eq_conv2d_params *p, const eq_strips *strips, int8_t *out,
                    const int8_t *in, const int8_t *weights, const eq_linear_s8 *linear) {
  const int32_t n = p->output[C] / p->groups;
  const size_t out_pixel = (size_t)p->output[C];
  int8_t *strip = io->scratch;
  int8_t *patches = strip + strips->strip_bytes;
  const int8_t *first = patches;
  const eq_gemm_rows rows = {&first, 1, strips->run * p->kernel[0], (size_t)strips->patch_bytes};
  int32_t from, to, waiting = 0;
  eq_share(io, p->output[N] * p->output[H], 1, &from, &to);
  out += (size_t)from * (size_t)p->output[W] * out_pixel;
  for (int32_t line = from; line < to; line++) {
    const line_rows image_rows = rows_of(p, in, line);
    for (int32_t x = 0; x < p->output[W]; x += strips->pixels) {
      const int32_t m = eq_min32(strips->pixels, p->output[W] - x);
      const size_t row_bytes = fill_strip(strip, p, &image_rows, x, m);
      const size_t step = (size_t)p->stride[1] * (size_t)p->input[C];
      for (int32_t i = 0; i < m; i++) {
        gather(patches + (size_t)waiting * rows.stride, strip + (size_t)i * step, row_bytes, p);
        if (++waiting < strips->patches) continue;
        io->kernels->packed_gemm_s8(out, out_pixel, &rows, weights, waiting, n, linear);
        out += (size_t)waiting * out_pixel;
        waiting = 0;
      }
    }
  }
  if (waiting > 0) io->kernels->packed_gemm_s8(out, out_pixel, &rows, weights, waiting, n, linear);
}
