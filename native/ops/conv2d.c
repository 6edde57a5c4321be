/* SPDX-License-Identifier: Apache-2.0
 * Convolution, also grouped, and fully connected layers: matrix products over image windows. */
#include "edgeq/fixed_point.h"
#include "edgeq/ops.h"
#include "kernels/packed.h"
#include "ops/conv2d.h"
#include "ops/pack.h"
#include "ops/rows.h"
#include "ops/windows.h"

enum { N, H, W, C };
enum {
  SLICE_BYTES = 16384, /* of weights, half a small first-level cache */
  PART_PIXELS = 64,    /* with fewer for each part, channels are divided */
};

/* Channels of one group: no division where there is one group alone, as division is slow on small CPUs. */
static int32_t in_group(const eq_conv2d_params *p, int32_t channels) {
  return p->groups == 1 ? channels : channels / p->groups;
}

static bool is_pointwise(const eq_conv2d_params *p) {
  const eq_geometry g = EQ_GEOMETRY(p);
  return eq_is_pointwise(&g);
}

static uint64_t depth(const eq_conv2d_params *p) {
  const eq_geometry g = EQ_GEOMETRY(p);
  return eq_depth(&g);
}

/* Packed weights are longer than row-major ones, so the size of the span tells them apart. */
static bool may_be_packed(uint32_t layout, const eq_conv2d_params *p) {
  return EQ_READS_PACKED && layout != EQ_LAYOUT_PORTABLE && p->weights_zero == 0;
}

static uint64_t packed_bytes(uint32_t layout, const eq_conv2d_params *p) {
  return (uint64_t)(uint32_t)p->groups * eq_packed_bytes(layout, in_group(p, p->output[C]), (int32_t)depth(p));
}

/* The last pixels of an image from which a kernel that reads whole runs would read beyond the image. */
static uint64_t tail_rows(const eq_conv2d_params *p) {
  const uint64_t k = (uint32_t)(p->input[C] / p->groups);
  const uint64_t pixel = (uint32_t)p->input[C];
  return (eq_align_run(k) - k + pixel - 1) / pixel;
}

static uint64_t packed_scratch(const eq_conv2d_params *p) {
  const uint64_t k = depth(p);
  if (is_pointwise(p)) return tail_rows(p) * eq_align_run(k);
  const eq_strips strips = eq_strips_of(p, (uint32_t)k);
  return eq_windows_scratch(&strips);
}

eq_status eq_check_conv2d(const eq_step_check *s, const eq_conv2d_params *p) {
  const eq_geometry g = EQ_GEOMETRY(p);
  if (!eq_geometry_legal(s, &g)) return EQ_ERR_STEP;
  const uint64_t k = depth(p);
  const uint32_t n = (uint32_t)p->output[C];
  if (k > EQ_MAX_DEPTH) return EQ_ERR_STEP;
  const uint64_t weights_bytes = may_be_packed(s->layout, p) ? packed_bytes(s->layout, p) : n * k;
  const bool packed = p->weights.bytes == weights_bytes && weights_bytes != n * k;
  if (!eq_span_is(s, p->weights, packed ? weights_bytes : n * k)) return EQ_ERR_STEP;
  if (!eq_channels_legal(s, p->bias, n, 4, p->multipliers, p->shifts, n, 30)) return EQ_ERR_STEP;
  if (!eq_codes_legal(p->input_zero, p->weights_zero, p->output_zero, p->act_min, p->act_max, p->mode,
                      eq_all_half(s, p->multipliers)))
    return EQ_ERR_STEP;
  const uint64_t scratch = packed ? packed_scratch(p) : is_pointwise(p) ? 0 : EQ_PATCHES * k;
  return s->scratch_bytes >= scratch ? EQ_OK : EQ_ERR_STEP;
}

uint64_t eq_packed_conv2d(const eq_conv2d_params *p, uint32_t layout, uint32_t scratch_bytes) {
  return may_be_packed(layout, p) && packed_scratch(p) <= scratch_bytes ? packed_bytes(layout, p) : 0;
}

void eq_pack_conv2d(int8_t *to, const int8_t *weights, const eq_conv2d_params *p, uint32_t layout) {
  const int32_t n = p->output[C] / p->groups, k = (int32_t)depth(p);
  for (int32_t group = 0; group < p->groups; group++) {
    eq_pack_weights(to, weights, layout, n, k);
    to += eq_packed_bytes(layout, n, k);
    weights += (size_t)n * (size_t)k;
  }
}

/* Rows times all channels; weights that would not stay in a small first-level cache are taken in slices of channels while
 * the rows are read again, unless the output follows its input through memory. */
static void multiply(const eq_step_io *io, int8_t *out, size_t out_pixel, const eq_gemm_rows *rows, const int8_t *weights,
                     int32_t m, int32_t n, const eq_linear_s8 *linear) {
  if (m <= EQ_GEMM_ROWS) {
    io->kernels->packed_gemm_s8(out, out_pixel, rows, weights, m, n, linear);
    return;
  }
  const size_t group_bytes = eq_packed_group_bytes(io->layout, rows->n_runs * rows->run);
  const int32_t channels = eq_layout_of(io->layout).channels;
  const int32_t groups = group_bytes >= SLICE_BYTES ? 1 : (int32_t)(SLICE_BYTES / group_bytes);
  const int32_t slice = groups * channels;
  const uintptr_t written = (uintptr_t)out, read = (uintptr_t)rows->runs[0];
  const bool apart = written + (size_t)m * out_pixel <= read || read + (size_t)m * rows->stride <= written;
  if (slice >= n || !apart) {
    io->kernels->packed_gemm_s8(out, out_pixel, rows, weights, m, n, linear);
    return;
  }
  eq_linear_s8 part = *linear;
  for (int32_t first = 0; first < n; first += slice) {
    io->kernels->packed_gemm_s8(out + first, out_pixel, rows, weights, m, eq_min32(slice, n - first), &part);
    weights += (size_t)groups * group_bytes;
    part.bias += slice;
    part.multipliers += slice;
    part.shifts += slice;
  }
}

/* Pixels through a packed kernel, the last few by way of the scratch so that no byte behind the input is read. */
static void run_packed_pixels(const eq_step_io *io, const eq_conv2d_params *p, int8_t *out, const int8_t *x, size_t stride,
                              const int8_t *end, const int8_t *weights, int32_t m, int32_t n,
                              const eq_linear_s8 *linear) {
  const int32_t k = in_group(p, p->input[C]);
  const size_t out_pixel = (size_t)p->output[C], padded = (size_t)eq_align_run((uint64_t)k);
  const size_t left = (size_t)(end - x); /* whole rows fit while row * stride + padded <= left */
  const bool fits = padded == (size_t)k || (size_t)(m - 1) * stride + padded <= left;
  const int32_t direct = fits ? m : left < padded ? 0 : (int32_t)((left - padded) / stride) + 1;
  const eq_gemm_rows rows = {.runs = &x, .n_runs = 1, .run = k, .stride = stride};
  if (direct > 0) multiply(io, out, out_pixel, &rows, weights, direct, n, linear);
  if (direct == m) return;
  int8_t *copies = io->scratch;
  for (int32_t r = direct; r < m; r++) {
    eq_copy(copies + (size_t)(r - direct) * padded, x + (size_t)r * stride, (size_t)k);
  }
  const int8_t *first = copies;
  const eq_gemm_rows tail = {.runs = &first, .n_runs = 1, .run = k, .stride = padded};
  io->kernels->packed_gemm_s8(out + (size_t)direct * out_pixel, out_pixel, &tail, weights, m - direct, n, linear);
}

/* This part's share of n output channels of a pointwise convolution: some of the pixels or, where those are few, of the
 * lines' channels. */
static void run_packed_pointwise(const eq_step_io *io, const eq_conv2d_params *p, int8_t *out, const int8_t *in,
                                 const int8_t *end, const int8_t *weights, int32_t n, const eq_linear_s8 *linear) {
  const size_t in_pixel = (size_t)p->input[C], out_pixel = (size_t)p->output[C];
  int32_t from, to;
  if (p->input[H] == p->output[H] && p->input[W] == p->output[W]) {
    eq_share(io, p->output[N] * p->output[H] * p->output[W], EQ_GEMM_ROWS, &from, &to);
    if (from == to) return;
    run_packed_pixels(io, p, out + (size_t)from * out_pixel, in + (size_t)from * in_pixel, in_pixel, end, weights,
                      to - from, n, linear);
    return;
  }
  eq_share(io, p->output[N] * p->output[H], 1, &from, &to);
  for (int32_t line = from; line < to; line++) {
    const size_t image = (size_t)(line / p->output[H]), y = (size_t)(line % p->output[H]) * (size_t)p->stride[0];
    const size_t pixel = (image * (size_t)p->input[H] + y) * (size_t)p->input[W];
    run_packed_pixels(io, p, out + (size_t)line * (size_t)p->output[W] * out_pixel, in + pixel * in_pixel,
                      in_pixel * (size_t)p->stride[1], end, weights, p->output[W], n, linear);
  }
}

static eq_linear_s8 linear_of(const eq_step_io *io, const eq_conv2d_params *p) {
  return (eq_linear_s8){
      .bias = eq_constant(io, p->bias), .multipliers = eq_constant(io, p->multipliers),
      .shifts = eq_constant(io, p->shifts), .weights_zero = p->weights_zero, .zero = p->output_zero,
      .act_min = p->act_min, .act_max = p->act_max, .mode = p->mode,
  };
}

/* True when the whole step is one product of packed weights with pixels of whole blocks: decided without a branch, for
 * that is all that small layers have to decide. */
static bool is_one_product(const eq_step_io *io, const eq_conv2d_params *p) {
  const int32_t k = p->input[C], n = p->output[C];
  const int32_t window = (p->kernel[0] ^ 1) | (p->kernel[1] ^ 1) | p->padding[0] | p->padding[1];
  const int32_t image = (p->input[H] ^ p->output[H]) | (p->input[W] ^ p->output[W]) |
                        (p->output[H] - 1) * (p->stride[0] - 1) | (p->output[W] - 1) * (p->stride[1] - 1);
  const int32_t others = (p->groups ^ 1) | p->weights_zero | (k & (EQ_RUN - 1));
  return EQ_READS_PACKED && ((window | image | others) == 0) & (io->layout != EQ_LAYOUT_PORTABLE) & (io->parts <= 1) &
         (p->weights.bytes != (uint32_t)n * (uint32_t)k);
}

void eq_run_conv2d_product(const eq_step_io *io, const eq_conv2d_params *p) {
  const int8_t *in = eq_in(io, 0);
  const int32_t k = p->input[C], n = p->output[C], m = p->output[N] * p->output[H] * p->output[W];
  const eq_gemm_rows rows = {.runs = &in, .n_runs = 1, .run = k, .stride = (size_t)k};
  const eq_linear_s8 linear = linear_of(io, p);
  const int8_t *weights = eq_constant(io, p->weights);
  int8_t *out = eq_out(io, 0);
  if (m > EQ_GEMM_ROWS) {
    multiply(io, out, (size_t)n, &rows, weights, m, n, &linear);
  } else {
    io->kernels->packed_gemm_s8(out, (size_t)n, &rows, weights, m, n, &linear);
  }
}

static bool is_packed(const eq_step_io *io, const eq_conv2d_params *p) {
  const size_t k = (size_t)p->kernel[0] * (size_t)p->kernel[1] * (size_t)in_group(p, p->input[C]);
  return may_be_packed(io->layout, p) && p->weights.bytes != (size_t)p->output[C] * k;
}

/* Go on to the next group of n output channels, whose weights lie group_bytes further on. */
static void advance(eq_linear_s8 *linear, const int8_t **weights, int32_t n, size_t group_bytes) {
  *weights += group_bytes;
  linear->bias += n;
  linear->multipliers += n;
  linear->shifts += n;
}

/* The byte behind a step's input. */
static const int8_t *input_end(const eq_step_io *io, const eq_conv2d_params *p) {
  return (const int8_t *)eq_in(io, 0) +
         (size_t)p->input[N] * (size_t)p->input[H] * (size_t)p->input[W] * (size_t)p->input[C];
}

/* Windows: this part's lines, group after group. */
void eq_run_conv2d_windows(const eq_step_io *io, const eq_conv2d_params *p) {
  const int32_t n = in_group(p, p->output[C]), k = (int32_t)depth(p);
  const eq_strips strips = eq_strips_of(p, (uint32_t)k);
  const size_t group_bytes = (size_t)eq_packed_bytes(io->layout, n, k);
  eq_linear_s8 linear = linear_of(io, p);
  const int8_t *weights = eq_constant(io, p->weights), *in = eq_in(io, 0);
  int8_t *out = eq_out(io, 0);
  for (int32_t group = 0; group < p->groups; group++) {
    (strips.patches == 0 ? eq_windows_ways.strips : eq_windows_ways.patches)(io, p, &strips, out, in, weights, &linear);
    in += in_group(p, p->input[C]);
    out += n;
    advance(&linear, &weights, n, group_bytes);
  }
}

/* Pixels, group after group. */
void eq_run_conv2d_pixels(const eq_step_io *io, const eq_conv2d_params *p) {
  const int32_t n = in_group(p, p->output[C]);
  const size_t group_bytes = (size_t)eq_packed_bytes(io->layout, n, in_group(p, p->input[C]));
  eq_linear_s8 linear = linear_of(io, p);
  const int8_t *weights = eq_constant(io, p->weights), *in = eq_in(io, 0), *end = input_end(io, p);
  int8_t *out = eq_out(io, 0);
  for (int32_t group = 0; group < p->groups; group++) {
    run_packed_pointwise(io, p, out, in, end, weights, n, &linear);
    in += in_group(p, p->input[C]);
    out += n;
    advance(&linear, &weights, n, group_bytes);
  }
}

/* Fewer pixels than a part would want, of one group: every pixel, but a share of the channels. */
void eq_run_conv2d_channels(const eq_step_io *io, const eq_conv2d_params *p) {
  const int32_t granule = eq_layout_of(io->layout).channels;
  int32_t from, to;
  eq_share(io, p->output[C], granule, &from, &to);
  if (from == to) return;
  eq_step_io whole = *io;
  whole.part = whole.parts = 0;
  eq_linear_s8 linear = linear_of(io, p);
  const int8_t *weights = eq_constant(io, p->weights);
  const size_t first_group = (size_t)(from / granule) * eq_packed_group_bytes(io->layout, p->input[C]);
  advance(&linear, &weights, from, first_group);
  run_packed_pointwise(&whole, p, (int8_t *)eq_out(io, 0) + from, eq_in(io, 0), input_end(io, p), weights, to - from,
                       &linear);
}

void eq_run_conv2d_rows(const eq_step_io *io, const eq_conv2d_params *p) {
  if (io->part != 0) return; /* row-major weights are not worth dividing */
  const eq_geometry g = EQ_GEOMETRY(p);
  const int32_t n = in_group(p, p->output[C]), k = (int32_t)depth(p);
  eq_linear_s8 linear = linear_of(io, p);
  const int8_t *weights = eq_constant(io, p->weights);
  const int8_t *in = eq_in(io, 0);
  int8_t *out = eq_out(io, 0);
  for (int32_t group = 0; group < p->groups; group++) {
    int8_t *to = out;
    for (eq_rows rows = {0}; eq_next_rows(&rows, &g, in, io->scratch, p->input_zero);) {
      io->kernels->gemm_s8(to, (size_t)p->output[C], rows.x, rows.x_stride, weights, rows.m, n, k, &linear);
      to += (size_t)rows.m * (size_t)p->output[C];
    }
    in += in_group(p, p->input[C]);
    out += n;
    advance(&linear, &weights, n, (size_t)n * (size_t)k);
  }
}

#if !defined(EQ_FIXED_MODEL) /* which has tables of its own */
const eq_conv2d_table eq_conv2d_ways = {
    .product = eq_run_conv2d_product, .pixels = eq_run_conv2d_pixels, .channels = eq_run_conv2d_channels,
    .windows = eq_run_conv2d_windows, .rows = eq_run_conv2d_rows,
};
const eq_windows_table eq_windows_ways = {.strips = eq_run_strips, .patches = eq_run_patches};
#endif

static eq_conv2d_run *way_of_packed(const eq_step_io *io, const eq_conv2d_params *p) {
  if (!is_pointwise(p)) return eq_conv2d_ways.windows;
  const uint32_t pixels = (uint32_t)(p->output[N] * p->output[H] * p->output[W]);
  const bool few = io->parts > 1 && p->groups == 1 && pixels < io->parts * PART_PIXELS;
  return few ? eq_conv2d_ways.channels : eq_conv2d_ways.pixels;
}

void eq_op_conv2d(const eq_step_io *io, const eq_conv2d_params *p) {
  eq_conv2d_run *run = is_one_product(io, p) ? eq_conv2d_ways.product
                       : is_packed(io, p)    ? way_of_packed(io, p)
                                             : eq_conv2d_ways.rows;
  run(io, p);
}

eq_sharing eq_sharing_conv2d(const eq_conv2d_params *p, const uint8_t *constants, uint32_t input, uint32_t output,
                             int64_t ahead) {
  (void)constants, (void)input, (void)output;
  const eq_geometry g = EQ_GEOMETRY(p);
  return eq_convolution_sharing(&g, ahead);
}
