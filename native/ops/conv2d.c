/* SPDX-License-Identifier: Apache-2.0
 * Convolution, also grouped, and fully connected layers: matrix products over image windows. */
#include "edgeq/ops.h"
#include "ops/linear.h"

enum { N, H, W, C };

/* True when every output pixel is one input pixel times the weights, so that rows can be read in place. */
static bool is_pointwise(const eq_conv2d_params *p) {
  return p->kernel[0] == 1 && p->kernel[1] == 1 && p->padding[0] == 0 && p->padding[1] == 0 &&
         (p->output[H] - 1) * p->stride[0] < p->input[H] && (p->output[W] - 1) * p->stride[1] < p->input[W];
}

static uint64_t depth(const eq_conv2d_params *p) {
  return eq_volume4(p->kernel[0], p->kernel[1], p->input[C] / p->groups, 1);
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
  if (k > EQ_MAX_DEPTH || !eq_span_is(s, p->weights, n * k)) return EQ_ERR_STEP;
  if (!eq_channels_legal(s, p->bias, n, 4, p->multipliers, p->shifts, n, 30)) return EQ_ERR_STEP;
  if (!eq_codes_legal(p->input_zero, p->weights_zero, p->output_zero, p->act_min, p->act_max, p->mode))
    return EQ_ERR_STEP;
  return is_pointwise(p) || s->scratch_bytes >= EQ_PATCHES * k ? EQ_OK : EQ_ERR_STEP;
}

/* One group of output channels of a pointwise convolution; unit strides make one product of the whole batch. */
static void run_pointwise(const eq_step_io *io, const eq_conv2d_params *p, int8_t *out, const int8_t *in,
                          const int8_t *weights, const eq_linear_s8 *linear) {
  const int32_t n = p->output[C] / p->groups, k = p->input[C] / p->groups;
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
      .taken_bytes = (size_t)(p->input[C] / p->groups), .fill = (uint8_t)p->input_zero,
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
                             p->output[C] / p->groups, k, linear);
        out += (size_t)waiting * (size_t)p->output[C];
        waiting = 0;
      }
    }
  }
}

void eq_op_conv2d(const eq_step_io *io, const eq_conv2d_params *p) {
  const int32_t n = p->output[C] / p->groups;
  eq_linear_s8 linear = {
      .bias = eq_constant(io, p->bias), .multipliers = eq_constant(io, p->multipliers),
      .shifts = eq_constant(io, p->shifts), .weights_zero = p->weights_zero, .zero = p->output_zero,
      .act_min = p->act_min, .act_max = p->act_max, .mode = p->mode,
  };
  const int8_t *weights = eq_constant(io, p->weights);
  const int8_t *in = eq_in(io, 0);
  int8_t *out = eq_out(io, 0);
  for (int32_t group = 0; group < p->groups; group++) {
    (is_pointwise(p) ? run_pointwise : run_gathered)(io, p, out, in, weights, &linear);
    in += p->input[C] / p->groups;
    out += n;
    weights += (size_t)n * (size_t)depth(p);
    linear.bias += n;
    linear.multipliers += n;
    linear.shifts += n;
  }
}
