/* SPDX-License-Identifier: Apache-2.0
 * Convolutions with a window on packed weights. */
#include "ops/windows.h"

#include "edgeq/fixed_point.h"
#include "edgeq/memory.h"

enum { N, H, W, C };
enum { RGB_RUN = 9 }; /* bytes of a row of a 3x3 window on a picture, the usual first layer */

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
 * group ends there. Up to 15 bytes more are written. Returns the bytes of one row of the strip. */
static size_t fill_strip(const eq_step_io *io, const eq_conv2d_params *p, const line_rows *rows, int32_t x,
                         int32_t pixels) {
  const size_t pixel = (size_t)p->input[C], line = (size_t)p->input[W] * pixel;
  const int32_t columns = (pixels - 1) * p->stride[1] + (p->kernel[1] - 1) * p->dilation[1] + 1;
  const int32_t first = x * p->stride[1] - p->padding[1];
  const int32_t outside = eq_min32(first < 0 ? -first : 0, columns);
  const int32_t inside = eq_max32(eq_min32(p->input[W] - first - outside, columns - outside), 0);
  const int32_t step = p->dilation[0];
  const int32_t above = rows->first_y >= 0 ? 0 : eq_min32((-rows->first_y + step - 1) / step, p->kernel[0]);
  const int32_t reached = rows->first_y >= p->input[H] ? 0 : (p->input[H] - 1 - rows->first_y) / step + 1;
  const int32_t present = eq_max32(eq_min32(reached, p->kernel[0]) - above, 0);
  const size_t middle = (size_t)inside * pixel, unread = inside == 0 ? 0 : pixel - pixel / (size_t)p->groups;
  const eq_padded_rows padded = {
      .above = above,
      .inside = present,
      .below = p->kernel[0] - above - present,
      .fill = (uint8_t)p->input_zero,
      .left = (size_t)outside * pixel,
      .middle = middle - unread,
      .right = (size_t)(columns - outside - inside) * pixel + unread,
      .pitch = (size_t)step * line,
  };
  const int8_t *from = rows->image;
  if (present > 0 && inside > 0) {
    from += (size_t)(rows->first_y + above * step) * line + (size_t)(first + outside) * pixel;
  }
  io->kernels->pad_rows_u8(io->scratch, (const uint8_t *)from, &padded);
  return (size_t)columns * pixel;
}

/* Output pixels of a line, first .. last. */
typedef struct pixel_range {
  int32_t first, last;
} pixel_range;

/* The output pixels whose windows lie in the image's width. */
static pixel_range find_inside(const eq_conv2d_params *p) {
  const int32_t window = (p->kernel[1] - 1) * p->dilation[1] + 1;
  const int32_t reach = p->input[W] + p->padding[1] - window; /* of the last window's first tap */
  const pixel_range inside = {(p->padding[1] + p->stride[1] - 1) / p->stride[1],
                              reach < 0 ? 0 : eq_min32(reach / p->stride[1] + 1, p->output[W])};
  return inside.first < inside.last ? inside : (pixel_range){p->output[W], p->output[W]};
}

/* The same, at multiples of EQ_STRIP_PIXELS from the left but for the end of the line. */
static pixel_range find_inside_strips(const eq_conv2d_params *p) {
  pixel_range inside = find_inside(p);
  inside.first = (inside.first + EQ_STRIP_PIXELS - 1) / EQ_STRIP_PIXELS * EQ_STRIP_PIXELS;
  if (inside.last < p->output[W]) inside.last = inside.last / EQ_STRIP_PIXELS * EQ_STRIP_PIXELS;
  return inside.first < inside.last ? inside : (pixel_range){p->output[W], p->output[W]};
}

/* True when all rows of a line's windows lie in the image. */
static bool is_tall(const eq_conv2d_params *p, const line_rows *rows) {
  return rows->first_y >= 0 && rows->first_y + (p->kernel[0] - 1) * p->dilation[0] < p->input[H];
}

/* Where the window of output pixel x begins in the image; it lies in its width, and the line is_tall. */
static const int8_t *window_of(const eq_conv2d_params *p, const line_rows *rows, int32_t x) {
  const size_t first_x = (size_t)(x * p->stride[1] - p->padding[1]);
  return rows->image + ((size_t)rows->first_y * (size_t)p->input[W] + first_x) * (size_t)p->input[C];
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
  const size_t row = (size_t)p->input[W] * (size_t)p->input[C], out_pixel = (size_t)p->output[C];
  pixel_range inside = find_inside_strips(p);
  int32_t from, to;
  int32_t pixels = strips->pixels;
  while (pixels < p->output[W] && eq_strip_bytes(p, pixels + EQ_STRIP_PIXELS) <= io->scratch_bytes) {
    pixels += EQ_STRIP_PIXELS;
  }
  if (pixels >= p->output[W]) inside.first = p->output[W]; /* one call is worth more than one copy less */
  eq_share(io, p->output[N] * p->output[H], 1, &from, &to);
  out += (size_t)from * (size_t)p->output[W] * out_pixel;
  for (int32_t line = from; line < to; line++) {
    const line_rows rows = rows_of(p, in, line);
    const bool tall = is_tall(p, &rows);
    for (int32_t x = 0, m; x < p->output[W]; x += m, out += (size_t)m * out_pixel) {
      if (tall && x == inside.first) {
        m = inside.last - x;
        run_in_place(io, p, strips, out, window_of(p, &rows, x), (size_t)p->dilation[0] * row, m, weights, linear);
        continue;
      }
      m = eq_min32(pixels, (tall && x < inside.first ? inside.first : p->output[W]) - x);
      const size_t row_bytes = fill_strip(io, p, &rows, x, m);
      run_in_place(io, p, strips, out, io->scratch, row_bytes, m, weights, linear);
    }
  }
}

/* Copy `count` runs of at most 16 bytes, `step` bytes apart, one after the other. Up to 15 bytes more are read and written. */
static inline int8_t *copy_short_runs(int8_t *to, const int8_t *from, int32_t count, size_t step, size_t bytes) {
  for (int32_t i = 0; i < count; i++, to += bytes, from += step) eq_copy16(to, from);
  return to;
}

/* The same for runs of any length. */
static int8_t *copy_runs(int8_t *to, const int8_t *from, int32_t count, size_t step, size_t bytes) {
  if (bytes <= EQ_RUN) return copy_short_runs(to, from, count, step, bytes);
  for (int32_t i = 0; i < count; i++, to += bytes, from += step) {
    for (size_t at = 0; at < bytes; at += EQ_RUN) eq_copy16(to + at, from + at);
  }
  return to;
}

/* Where windows lie, in a strip or in the image, and their patches. */
typedef struct patch_geometry {
  size_t patch_bytes;
  size_t pixel_bytes; /* from one window to the next */
  size_t row_bytes;   /* from one row of a window to the next */
} patch_geometry;

/* Gather m windows whose rows are short runs; a constant number of rows lets the compiler unroll, a constant run spares
 * it registers. */
static inline void gather_short(int8_t *patch, const int8_t *window, const patch_geometry *g, int32_t m, int32_t rows,
                                size_t run) {
  for (int32_t i = 0; i < m; i++, patch += g->patch_bytes, window += g->pixel_bytes) {
    copy_short_runs(patch, window, rows, g->row_bytes, run);
  }
}

/* True when a window's rows are whole runs of bytes. */
static bool has_whole_rows(const eq_conv2d_params *p) { return p->groups == 1 && p->dilation[1] == 1; }

/* Gather m windows, the first one at `window`. Up to 15 bytes more are read and written. */
static void gather(int8_t *patch, const int8_t *window, const patch_geometry *g, const eq_conv2d_params *p, int32_t m) {
  const size_t channels = (size_t)p->input[C], taken = channels / (size_t)p->groups;
  const bool whole_rows = has_whole_rows(p);
  const size_t run = whole_rows ? (size_t)p->kernel[1] * channels : taken;
  if (whole_rows && run <= EQ_RUN) {
    if (p->kernel[0] == 3 && run == RGB_RUN) {
      gather_short(patch, window, g, m, 3, RGB_RUN);
    } else if (p->kernel[0] == 3) {
      gather_short(patch, window, g, m, 3, run);
    } else {
      gather_short(patch, window, g, m, p->kernel[0], run);
    }
    return;
  }
  const int32_t runs = whole_rows ? 1 : p->kernel[1];
  const size_t step = (size_t)p->dilation[1] * channels;
  for (int32_t i = 0; i < m; i++, patch += g->patch_bytes, window += g->pixel_bytes) {
    int8_t *to = patch;
    for (int32_t y = 0; y < p->kernel[0]; y++) to = copy_runs(to, window + (size_t)y * g->row_bytes, runs, step, run);
  }
}

/* The output pixels of a line whose windows are gathered from the image itself: of a line that one strip does not serve,
 * those whose last bytes, and up to 15 that are read beyond them, lie in the input, which ends at `end`. */
static pixel_range find_direct(const eq_conv2d_params *p, const eq_strips *strips, const line_rows *rows,
                               pixel_range inside, const int8_t *end) {
  const pixel_range none = {p->output[W], p->output[W]};
  if (p->output[W] <= strips->pixels || !has_whole_rows(p) || !is_tall(p, rows) || inside.first == inside.last) return none;
  const size_t below = (size_t)((p->kernel[0] - 1) * p->dilation[0]) * (size_t)p->input[W];
  const int8_t *last = window_of(p, rows, inside.last - 1) + (below + (size_t)p->kernel[1]) * (size_t)p->input[C];
  return end - last < EQ_RUN - 1 ? none : inside;
}

void eq_run_patches(const eq_step_io *io, const eq_conv2d_params *p, const eq_strips *strips, int8_t *out,
                    const int8_t *in, const int8_t *weights, const eq_linear_s8 *linear) {
  const int32_t n = p->output[C] / p->groups;
  const size_t pixel = (size_t)p->input[C], out_pixel = (size_t)p->output[C];
  const int8_t *end = in + (size_t)p->input[N] * (size_t)p->input[H] * (size_t)p->input[W] * pixel;
  int8_t *strip = io->scratch;
  int8_t *patches = strip + strips->strip_bytes;
  const int8_t *first = patches;
  const eq_gemm_rows rows = {&first, 1, strips->run * p->kernel[0], (size_t)strips->patch_bytes};
  const uint32_t room = (io->scratch_bytes - (uint32_t)strips->strip_bytes - EQ_RUN) / (uint32_t)strips->patch_bytes;
  const int32_t most = io->scratch_bytes < eq_windows_scratch(strips) ? strips->patches
                       : room > EQ_MOST_PATCHES                      ? EQ_MOST_PATCHES
                                                                     : (int32_t)(room / 4 * 4);
  int32_t from, to, waiting = 0;
  eq_share(io, p->output[N] * p->output[H], 1, &from, &to);
  out += (size_t)from * (size_t)p->output[W] * out_pixel;
  const pixel_range inside = find_inside(p);
  for (int32_t line = from; line < to; line++) {
    const line_rows image_rows = rows_of(p, in, line);
    const pixel_range direct = find_direct(p, strips, &image_rows, inside, end);
    for (int32_t x = 0, m; x < p->output[W]; x += m) {
      patch_geometry geometry = {.patch_bytes = rows.stride, .pixel_bytes = (size_t)p->stride[1] * pixel};
      const int8_t *window = strip;
      if (x == direct.first) {
        m = direct.last - x;
        window = window_of(p, &image_rows, x);
        geometry.row_bytes = (size_t)p->dilation[0] * (size_t)p->input[W] * pixel;
      } else {
        m = eq_min32(strips->pixels, (x < direct.first ? direct.first : p->output[W]) - x);
        geometry.row_bytes = fill_strip(io, p, &image_rows, x, m);
      }
      for (int32_t left = m, count; left > 0; left -= count, window += (size_t)count * geometry.pixel_bytes) {
        count = eq_min32(most - waiting, left);
        gather(patches + (size_t)waiting * rows.stride, window, &geometry, p, count);
        waiting += count;
        if (waiting < most) continue;
        io->kernels->packed_gemm_s8(out, out_pixel, &rows, weights, waiting, n, linear);
        out += (size_t)waiting * out_pixel;
        waiting = 0;
      }
    }
  }
  if (waiting > 0) io->kernels->packed_gemm_s8(out, out_pixel, &rows, weights, waiting, n, linear);
}
