/* SPDX-License-Identifier: Apache-2.0
 * Transposed convolution: one ordinary convolution per phase of the stride, its outputs interleaved with the others'.
 * Output o meets input i through tap k when o = i * stride + k - padding, so the outputs o = t * stride + start all use
 * the taps k = (start + padding) mod stride + j * stride. */
#include "edgeq/ops.h"
#include "ops/linear.h"

enum { N, H, W, C };

eq_status eq_check_transpose_conv(const eq_step_check *s, const eq_transpose_conv_params *p) {
  const uint64_t in_bytes = eq_volume(p->input, 4), out_bytes = eq_volume(p->output, 4);
  if (!eq_has_operands(s, 1, 1) || !eq_input_is(s, 0, in_bytes) || !eq_output_is(s, 0, out_bytes)) return EQ_ERR_STEP;
  if (p->input[N] != p->output[N]) return EQ_ERR_STEP;
  int32_t taps[2];
  for (int32_t axis = 0; axis < 2; axis++) {
    if (!eq_axis_legal(p->output[H + axis], p->kernel[axis], p->stride[axis], 1, p->padding[axis]) ||
        p->padding[axis] < 0)
      return EQ_ERR_STEP;
    taps[axis] = (p->kernel[axis] + p->stride[axis] - 1) / p->stride[axis];
  }
  const uint32_t n = (uint32_t)p->output[C];
  const uint64_t k = eq_volume4(taps[0], taps[1], p->input[C], 1);
  const uint64_t products = eq_volume4(p->kernel[0], p->kernel[1], p->input[C], p->output[C]);
  if (k > EQ_MAX_DEPTH || !eq_span_is(s, p->weights, products)) return EQ_ERR_STEP;
  const uint64_t n_bias = eq_volume4(p->stride[0], p->stride[1], p->output[C], 1);
  if (!eq_channels_legal(s, p->bias, n_bias, 4, p->multipliers, p->shifts, n, 30)) return EQ_ERR_STEP;
  if (!eq_codes_legal(p->input_zero, p->weights_zero, p->output_zero, p->act_min, p->act_max, p->mode,
                      eq_all_half(s, p->multipliers)))
    return EQ_ERR_STEP;
  return s->scratch_bytes >= EQ_PATCHES * k ? EQ_OK : EQ_ERR_STEP;
}

/* One axis of a phase: how many taps and output pixels, and where the window of the first output begins. */
typedef struct axis_phase {
  int32_t taps;
  int32_t outputs;
  int32_t first;
} axis_phase;

static axis_phase phase_of(int32_t start, int32_t padding, int32_t kernel, int32_t stride, int32_t output) {
  const int32_t first_tap = (start + padding) % stride;
  const int32_t taps = kernel > first_tap ? (kernel - first_tap + stride - 1) / stride : 0;
  return (axis_phase){
      .taps = taps,
      .outputs = output > start ? (output - start + stride - 1) / stride : 0,
      .first = (start + padding) / stride - (taps - 1),
  };
}

/* The output pixels of one phase; out is the first of them in the first image. */
static void run_phase(const eq_step_io *io, const eq_transpose_conv_params *p, int8_t *out, axis_phase rows,
                      axis_phase columns, const int8_t *weights, const eq_linear_s8 *linear) {
  const size_t pixel = (size_t)p->output[C], line = (size_t)p->output[W] * pixel;
  const size_t image_bytes = (size_t)p->input[H] * (size_t)p->input[W] * (size_t)p->input[C];
  const size_t step = (size_t)p->stride[1] * pixel;
  const eq_window window = {
      .height = p->input[H],
      .width = p->input[W],
      .rows = rows.taps,
      .columns = columns.taps,
      .dilation_y = 1,
      .dilation_x = 1,
      .pixel_bytes = (size_t)p->input[C],
      .taken_bytes = (size_t)p->input[C],
      .fill = (uint8_t)p->input_zero,
  };
  const int32_t k = rows.taps * columns.taps * p->input[C];
  const uint8_t *image = eq_in(io, 0);
  uint8_t *patches = io->scratch;
  for (int32_t n = 0; n < p->output[N]; n++, image += image_bytes) {
    for (int32_t y = 0; y < rows.outputs; y++) {
      int8_t *to = out + ((size_t)n * (size_t)p->output[H] + (size_t)y * (size_t)p->stride[0]) * line;
      for (int32_t x = 0; x < columns.outputs; x += EQ_PATCHES) {
        const int32_t m = columns.outputs - x < EQ_PATCHES ? columns.outputs - x : EQ_PATCHES;
        for (int32_t i = 0; i < m; i++) {
          eq_gather(patches + (size_t)i * (size_t)k, image, &window, y + rows.first, x + i + columns.first);
        }
        io->kernels->gemm_s8(to + (size_t)x * step, step, (const int8_t *)patches, (size_t)k, weights, m, p->output[C],
                             k, linear);
      }
    }
  }
}

void eq_op_transpose_conv(const eq_step_io *io, const eq_transpose_conv_params *p) {
  eq_linear_s8 linear = {
      .bias = eq_constant(io, p->bias),
      .multipliers = eq_constant(io, p->multipliers),
      .shifts = eq_constant(io, p->shifts),
      .weights_zero = p->weights_zero,
      .zero = p->output_zero,
      .act_min = p->act_min,
      .act_max = p->act_max,
      .mode = p->mode,
  };
  const int8_t *weights = eq_constant(io, p->weights);
  int8_t *out = eq_out(io, 0);
  for (int32_t y = 0; y < p->stride[0]; y++) {
    const axis_phase rows = phase_of(y, p->padding[0], p->kernel[0], p->stride[0], p->output[H]);
    for (int32_t x = 0; x < p->stride[1]; x++) {
      const axis_phase columns = phase_of(x, p->padding[1], p->kernel[1], p->stride[1], p->output[W]);
      if (rows.outputs > 0 && columns.outputs > 0) {
        const size_t first = ((size_t)y * (size_t)p->output[W] + (size_t)x) * (size_t)p->output[C];
        run_phase(io, p, out + first, rows, columns, weights, &linear);
      }
      weights += (size_t)rows.taps * (size_t)columns.taps * (size_t)p->input[C] * (size_t)p->output[C];
      linear.bias += p->output[C];
    }
  }
}
