/* SPDX-License-Identifier: Apache-2.0
 * Convolution of int16 activations with int8 weights, also grouped and fully connected. */
#include "edgeq/fixed_point.h"
#include "edgeq/ops.h"
#include "ops/linear.h"

enum { N, H, W, C };

static uint64_t depth(const eq_conv2d_s16_params *p) {
  return eq_volume4(p->kernel[0], p->kernel[1], p->input[C] / p->groups, 1);
}

/* Biases small enough for the 64-bit accumulator: |bias| <= 2^46. */
static bool biases_legal(const eq_step_check *s, eq_span bias) {
  const int64_t *values = (const int64_t *)(const void *)(s->constants + bias.offset);
  for (uint32_t i = 0; i < bias.bytes / 8; i++) {
    if (values[i] > (INT64_C(1) << 46) || values[i] < -(INT64_C(1) << 46)) return false;
  }
  return true;
}

eq_status eq_check_conv2d_s16(const eq_step_check *s, const eq_conv2d_s16_params *p) {
  const uint64_t in_bytes = eq_scaled(eq_volume(p->input, 4), 2), out_bytes = eq_scaled(eq_volume(p->output, 4), 2);
  if (!eq_has_operands(s, 1, 1) || !eq_input_is(s, 0, in_bytes) || !eq_output_is(s, 0, out_bytes)) return EQ_ERR_STEP;
  if (!eq_windows_legal(p->input, p->output, p->groups, p->kernel, p->stride, p->dilation, p->padding)) return EQ_ERR_STEP;
  const uint64_t k = depth(p);
  const uint32_t n = (uint32_t)p->output[C];
  if (k > EQ_MAX_DEPTH_S16 || !eq_span_is(s, p->weights, n * k)) return EQ_ERR_STEP;
  if (!eq_channels_legal(s, p->bias, n, 8, p->multipliers, p->shifts, n, 14)) return EQ_ERR_STEP;
  if (!biases_legal(s, p->bias) || !eq_within(p->mode, 0, 3) || p->mode == EQ_MODE_SINGLE) return EQ_ERR_STEP;
  if (!eq_within(p->act_min, INT16_MIN, INT16_MAX) || !eq_within(p->act_max, p->act_min, INT16_MAX)) return EQ_ERR_STEP;
  return s->scratch_bytes >= 2 * EQ_PATCHES * k ? EQ_OK : EQ_ERR_STEP;
}

/* One group of output channels, a few gathered windows of one image row at a time. */
static void run_group(const eq_step_io *io, const eq_conv2d_s16_params *p, int16_t *out, const int16_t *in,
                      const int8_t *weights, const eq_linear_s16 *linear) {
  const eq_window window = {
      .height = p->input[H],
      .width = p->input[W],
      .rows = p->kernel[0],
      .columns = p->kernel[1],
      .dilation_y = p->dilation[0],
      .dilation_x = p->dilation[1],
      .pixel_bytes = 2 * (size_t)p->input[C],
      .taken_bytes = 2 * (size_t)(p->input[C] / p->groups),
      .fill = 0,
  };
  const int32_t k = (int32_t)depth(p);
  const size_t pixel = (size_t)p->output[C];
  int16_t *patches = io->scratch;
  for (int32_t n = 0; n < p->output[N]; n++) {
    for (int32_t y = 0; y < p->output[H]; y++) {
      for (int32_t x = 0; x < p->output[W]; x += EQ_PATCHES) {
        const int32_t m = p->output[W] - x < EQ_PATCHES ? p->output[W] - x : EQ_PATCHES;
        for (int32_t i = 0; i < m; i++) {
          eq_gather((uint8_t *)(patches + (size_t)i * (size_t)k), (const uint8_t *)in, &window,
                    y * p->stride[0] - p->padding[0], (x + i) * p->stride[1] - p->padding[1]);
        }
        io->kernels->gemm_s16(out, pixel, patches, (size_t)k, weights, m, p->output[C] / p->groups, k, linear);
        out += (size_t)m * pixel;
      }
    }
    in += (size_t)p->input[H] * (size_t)p->input[W] * (size_t)p->input[C];
  }
}

void eq_op_conv2d_s16(const eq_step_io *io, const eq_conv2d_s16_params *p) {
  const int32_t n = p->output[C] / p->groups;
  eq_linear_s16 linear = {
      .bias = eq_constant(io, p->bias),
      .multipliers = eq_constant(io, p->multipliers),
      .shifts = eq_constant(io, p->shifts),
      .act_min = p->act_min,
      .act_max = p->act_max,
      .mode = p->mode,
  };
  const int8_t *weights = eq_constant(io, p->weights);
  const int16_t *in = eq_in(io, 0);
  int16_t *out = eq_out(io, 0);
  for (int32_t group = 0; group < p->groups; group++) {
    run_group(io, p, out, in, weights, &linear);
    in += p->input[C] / p->groups;
    out += n;
    weights += (size_t)n * (size_t)depth(p);
    linear.bias += n;
    linear.multipliers += n;
    linear.shifts += n;
  }
}
