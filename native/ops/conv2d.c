/* SPDX-License-Identifier: Apache-2.0
 * Convolution, also grouped, and fully connected layers: matrix products over image windows. */
#include "edgeq/fixed_point.h"
#include "edgeq/ops.h"
#include "kernels/packed.h"
#include "ops/linear.h"
#include "ops/order.h"
#include "ops/pack.h"
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

/* True when every output pixel is one input pixel times the weights, so that rows can be read in place. */
static bool is_pointwise(const eq_conv2d_params *p) {
  return p->kernel[0] == 1 && p->kernel[1] == 1 && p->padding[0] == 0 && p->padding[1] == 0 &&
         (p->output[H] - 1) * p->stride[0] < p->input[H] && (p->output[W] - 1) * p->stride[1] < p->input[W];
}

static uint64_t depth(const eq_conv2d_params *p) {
  return eq_volume4(p->kernel[0], p->kernel[1], p->input[C] / p->groups, 1);
}

/* Packed weights are longer than row-major ones, so the size of the span tells them apart. */
static bool may_be_packed(uint32_t layout, const eq_conv2d_params *p) {
  return layout != EQ_LAYOUT_PORTABLE && p->weights_zero == 0;
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
  const uint64_t in_bytes = eq_volume(p->input, 4), out_bytes = eq_volume(p->output, 4);
  if (!eq_has_operands(s, 1, 1) || !eq_input_is(s, 0, in_bytes) || !eq_output_is(s, 0, out_bytes)) return EQ_ERR_STEP;
  if (out_bytes > INT32_MAX || p->input[N] != p->output[N] || p->groups < 1) return EQ_ERR_STEP;
  if (p->input[C] % p->groups != 0 || p->output[C] % p->groups != 0) return EQ_ERR_STEP;
  for (int32_t axis = 0; axis < 2; axis++) {
    if (!eq_axis_legal(p->output[H + axis], p->kernel[axis], p->stride[axis], p->dilation[axis], p->padding[axis]) ||
        p->padding[axis] < 0)
      return EQ_ERR_STEP;
  }
  const uint64_t k = depth(p);
  const uint32_t n = (uint32_t)p->output[C];
  if (k > EQ_MAX_DEPTH) return EQ_ERR_STEP;
  const uint64_t weights_bytes = may_be_packed(s->layout, p) ? packed_bytes(s->layout, p) : n * k;
  const bool packed = p->weights.bytes == weights_bytes && weights_bytes != n * k;
  if (!eq_span_is(s, p->weights, packed ? weights_bytes : n * k)) return EQ_ERR_STEP;
  if (!eq_channels_legal(s, p->bias, n, 4, p->multipliers, p->shifts, n, 30)) return EQ_ERR_STEP;
  if (!eq_codes_legal(p->input_zero, p->weights_zero, p->output_zero, p->act_min, p->act_max, p->mode))
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

/* One group of output channels of a pointwise convolution; unit strides make one product of the whole batch. */
static void run_pointwise(const eq_step_io *io, const eq_conv2d_params *p, int8_t *out, const int8_t *in,
                          const int8_t *weights, const eq_linear_s8 *linear) {
  const int32_t n = in_group(p, p->output[C]), k = in_group(p, p->input[C]);
  const size_t in_pixel = (size_t)p->input[C], out_pixel = (size_t)p->output[C];
  if (p->input[H] == p->output[H] && p->input[W] == p->output[W]) {
    const int32_t pixels = p->output[N] * p->output[H] * p->output[W];
    io->kernels->gemm_s8(out, out_pixel, in, in_pixel, weights, pixels, n, k, linear);
    return;
  }
  for (int32_t image = 0; image < p->output[N]; image++) {
    for (int32_t y = 0; y < p->output[H]; y++) {
      const size_t line = (size_t)image * (size_t)p->input[H] + (size_t)y * (size_t)p->stride[0];
      io->kernels->gemm_s8(out, out_pixel, in + line * (size_t)p->input[W] * in_pixel, in_pixel * (size_t)p->stride[1],
                           weights, p->output[W], n, k, linear);
      out += (size_t)p->output[W] * out_pixel;
    }
  }
}

/* One group of output channels, a few gathered windows at a time. */
static void run_gathered(const eq_step_io *io, const eq_conv2d_params *p, int8_t *out, const int8_t *in,
                         const int8_t *weights, const eq_linear_s8 *linear) {
  const eq_window window = {
      .height = p->input[H], .width = p->input[W], .rows = p->kernel[0], .columns = p->kernel[1],
      .dilation_y = p->dilation[0], .dilation_x = p->dilation[1], .pixel_bytes = (size_t)p->input[C],
      .taken_bytes = (size_t)(in_group(p, p->input[C])), .fill = (uint8_t)p->input_zero,
  };
  const int32_t k = (int32_t)depth(p);
  const size_t image_bytes = (size_t)p->input[H] * (size_t)p->input[W] * (size_t)p->input[C];
  uint8_t *patches = io->scratch;
  int32_t waiting = 0;
  for (int32_t image = 0; image < p->output[N]; image++) {
    for (int32_t y = 0; y < p->output[H]; y++) {
      for (int32_t x = 0; x < p->output[W]; x++) {
        eq_gather(patches + (size_t)waiting * (size_t)k, (const uint8_t *)in + (size_t)image * image_bytes, &window,
                  y * p->stride[0] - p->padding[0], x * p->stride[1] - p->padding[1]);
        waiting++;
        const bool last = image + 1 == p->output[N] && y + 1 == p->output[H] && x + 1 == p->output[W];
        if (waiting < EQ_PATCHES && !last) continue;
        io->kernels->gemm_s8(out, (size_t)p->output[C], (const int8_t *)patches, (size_t)k, weights, waiting,
                             in_group(p, p->output[C]), k, linear);
        out += (size_t)waiting * (size_t)p->output[C];
        waiting = 0;
      }
    }
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

/* The same when there are fewer pixels than a part would want: every pixel, but a share of the channels. */
static void run_packed_channels(const eq_step_io *io, const eq_conv2d_params *p, int8_t *out, const int8_t *in,
                                const int8_t *end, const int8_t *weights, const eq_linear_s8 *linear) {
  const int32_t granule = eq_layout_of(io->layout).channels;
  int32_t from, to;
  eq_share(io, p->output[C], granule, &from, &to);
  if (from == to) return;
  eq_step_io whole = *io;
  whole.part = whole.parts = 0;
  eq_linear_s8 part = *linear;
  part.bias += from;
  part.multipliers += from;
  part.shifts += from;
  weights += (size_t)(from / granule) * eq_packed_group_bytes(io->layout, p->input[C]);
  run_packed_pointwise(&whole, p, out + from, in, end, weights, to - from, &part);
}

/* This part's lines of a convolution with a window, group after group. */
static void run_packed_windows(const eq_step_io *io, const eq_conv2d_params *p, int8_t *out, const int8_t *in,
                               const int8_t *weights, const eq_linear_s8 *linear) {
  const int32_t n = in_group(p, p->output[C]), k = (int32_t)depth(p);
  const eq_strips strips = eq_strips_of(p, (uint32_t)k);
  const size_t group_bytes = (size_t)eq_packed_bytes(io->layout, n, k);
  eq_linear_s8 part = *linear;
  for (int32_t group = 0; group < p->groups; group++) {
    (strips.patches == 0 ? eq_run_strips : eq_run_patches)(io, p, &strips, out, in, weights, &part);
    in += in_group(p, p->input[C]);
    out += n;
    weights += group_bytes;
    part.bias += n;
    part.multipliers += n;
    part.shifts += n;
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
  return ((window | image | others) == 0) & (io->layout != EQ_LAYOUT_PORTABLE) & (io->parts <= 1) &
         (p->weights.bytes != (uint32_t)n * (uint32_t)k);
}

static void run_one_product(const eq_step_io *io, const eq_conv2d_params *p) {
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

static void run_any(const eq_step_io *io, const eq_conv2d_params *p) {
  const int32_t n = in_group(p, p->output[C]);
  const size_t k = (size_t)p->kernel[0] * (size_t)p->kernel[1] * (size_t)in_group(p, p->input[C]);
  eq_linear_s8 linear = linear_of(io, p);
  const int8_t *weights = eq_constant(io, p->weights);
  const int8_t *in = eq_in(io, 0);
  int8_t *out = eq_out(io, 0);
  const bool packed = may_be_packed(io->layout, p) && p->weights.bytes != (size_t)p->output[C] * k;
  const bool pointwise = is_pointwise(p);
  if (packed && !pointwise) {
    run_packed_windows(io, p, out, in, weights, &linear);
    return;
  }
  if (!packed && io->part != 0) return; /* row-major weights are not worth dividing */
  const int8_t *end = in + (size_t)p->input[N] * (size_t)p->input[H] * (size_t)p->input[W] * (size_t)p->input[C];
  const uint32_t pixels = (uint32_t)(p->output[N] * p->output[H] * p->output[W]);
  if (packed && io->parts > 1 && p->groups == 1 && pixels < io->parts * PART_PIXELS) {
    run_packed_channels(io, p, out, in, end, weights, &linear);
    return;
  }
  const size_t group_bytes = packed ? (size_t)eq_packed_bytes(io->layout, n, (int32_t)k) : (size_t)n * k;
  for (int32_t group = 0; group < p->groups; group++) {
    if (packed) {
      run_packed_pointwise(io, p, out, in, end, weights, n, &linear);
    } else {
      (pointwise ? run_pointwise : run_gathered)(io, p, out, in, weights, &linear);
    }
    in += in_group(p, p->input[C]);
    out += n;
    weights += group_bytes;
    linear.bias += n;
    linear.multipliers += n;
    linear.shifts += n;
  }
}

void eq_op_conv2d(const eq_step_io *io, const eq_conv2d_params *p) {
  (is_one_product(io, p) ? run_one_product : run_any)(io, p);
}

eq_sharing eq_sharing_conv2d(const eq_conv2d_params *p, const uint8_t *constants, uint32_t input, uint32_t output,
                             int64_t ahead) {
  (void)constants, (void)input, (void)output;
  if (p->groups != 1) return EQ_APART;
  if (is_pointwise(p)) {
    const eq_pixel_order pixels = {.in = p->input, .out = p->output, .stride = p->stride, .group = EQ_GEMM_ROWS};
    return ahead >= eq_pixel_distance(&pixels) ? EQ_OVER : EQ_APART;
  }
  const eq_row_order rows = {
      .images = p->input[N], .in_rows = p->input[H], .out_rows = p->output[H],
      .in_row_bytes = (int64_t)p->input[W] * p->input[C], .out_row_bytes = (int64_t)p->output[W] * p->output[C],
      .stride = p->stride[0], .before = p->padding[0],
  };
  return ahead >= eq_row_distance(&rows) ? EQ_OVER : EQ_APART;
}
