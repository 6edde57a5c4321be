/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution: the kernel sees only taps inside the image, those outside go into the bias. */
#include "edgeq/fixed_point.h"
#include "edgeq/ops.h"
#include "ops/linear.h"

enum { N, H, W, C };

eq_status eq_check_depthwise_conv2d(const eq_step_check *s, const eq_depthwise_conv2d_params *p) {
  const uint64_t in_bytes = eq_volume(p->input, 4), out_bytes = eq_volume(p->output, 4);
  if (!eq_has_operands(s, 1, 1) || !eq_input_is(s, 0, in_bytes) || !eq_output_is(s, 0, out_bytes)) return EQ_ERR_STEP;
  if (p->input[N] != p->output[N] || p->input[C] != p->output[C]) return EQ_ERR_STEP;
  for (int32_t axis = 0; axis < 2; axis++) {
    if (!eq_axis_legal(p->output[H + axis], p->kernel[axis], p->stride[axis], p->dilation[axis], p->padding[axis]))
      return EQ_ERR_STEP;
  }
  const uint32_t n = (uint32_t)p->output[C];
  const uint64_t taps = eq_volume2(p->kernel[0], p->kernel[1]);
  if (taps > EQ_MAX_DEPTH || !eq_span_is(s, p->weights, n * taps)) return EQ_ERR_STEP;
  if (!eq_channels_legal(s, p->bias, n, 4, p->multipliers, p->shifts, n, 30)) return EQ_ERR_STEP;
  if (!eq_codes_legal(p->input_zero, p->weights_zero, p->output_zero, p->act_min, p->act_max, p->mode))
    return EQ_ERR_STEP;
  return s->scratch_bytes >= 4 * (uint64_t)n ? EQ_OK : EQ_ERR_STEP;
}

/* Taps lo <= i < hi of one axis lie in the image; the first tap is at coordinate `first`. */
typedef struct span {
  int32_t first;
  int32_t lo;
  int32_t hi;
} span;

static span clip(int32_t first, int32_t taps, int32_t dilation, int32_t size) {
  span s = {.first = first, .lo = 0, .hi = taps};
  if (first < 0) s.lo = eq_min32((-first + dilation - 1) / dilation, taps);
  if (first + (taps - 1) * dilation >= size) s.hi = first >= size ? 0 : (size - first + dilation - 1) / dilation;
  if (s.hi < s.lo) s.hi = s.lo;
  return s;
}

/* Write the bias of a window that leaves the image: out-of-image taps count as the input's zero point. */
static void fold_outside(int32_t *bias, const eq_depthwise_conv2d_params *p, const int32_t *inside_bias,
                         const int8_t *weights, span rows, span columns) {
  const int32_t channels = p->input[C];
  const int16_t zero = (int16_t)p->input_zero, weights_zero = (int16_t)p->weights_zero;
  eq_copy(bias, inside_bias, (size_t)channels * sizeof *bias);
  for (int32_t i = 0; i < p->kernel[0]; i++) {
    for (int32_t j = 0; j < p->kernel[1]; j++, weights += channels) {
      if (i >= rows.lo && i < rows.hi && j >= columns.lo && j < columns.hi) continue;
      for (int32_t c = 0; c < channels; c++) {
        const int16_t product = (int16_t)(zero * (int16_t)(weights[c] - weights_zero)); /* |.| <= 128 * 255 */
        bias[c] = eq_add32(bias[c], product);
      }
    }
  }
}

/* m neighbouring output pixels whose windows leave the image alike. */
static void run_pixels(const eq_step_io *io, const eq_depthwise_conv2d_params *p, int8_t *out, const int8_t *image,
                       span rows, span columns, int32_t m) {
  const size_t channels = (size_t)p->input[C], line = (size_t)p->input[W] * channels;
  const int8_t *weights = eq_constant(io, p->weights);
  const eq_depthwise_window window = {
      .rows = rows.hi - rows.lo,
      .columns = columns.hi - columns.lo,
      .x_row = (size_t)p->dilation[0] * line,
      .x_column = (size_t)p->dilation[1] * channels,
      .x_pixel = (size_t)p->stride[1] * channels,
      .w_row = (size_t)p->kernel[1] * channels,
      .w_column = channels,
  };
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
  if ((window.rows < p->kernel[0] || window.columns < p->kernel[1]) && p->input_zero != 0) {
    fold_outside(io->scratch, p, linear.bias, weights, rows, columns);
    linear.bias = io->scratch;
  }
  if (window.rows > 0 && window.columns > 0) {
    image += (size_t)(rows.first + rows.lo * p->dilation[0]) * line;
    image += (size_t)(columns.first + columns.lo * p->dilation[1]) * channels;
    weights += (size_t)rows.lo * window.w_row + (size_t)columns.lo * channels;
  }
  io->kernels->depthwise_s8(out, image, weights, m, p->input[C], &window, &linear);
}

void eq_op_depthwise_conv2d(const eq_step_io *io, const eq_depthwise_conv2d_params *p) {
  const int8_t *image = eq_in(io, 0);
  int8_t *out = eq_out(io, 0);
  const size_t channels = (size_t)p->input[C];
  for (int32_t n = 0; n < p->output[N]; n++) {
    for (int32_t y = 0; y < p->output[H]; y++) {
      const span rows = clip(y * p->stride[0] - p->padding[0], p->kernel[0], p->dilation[0], p->input[H]);
      int32_t m;
      for (int32_t x = 0; x < p->output[W]; x += m, out += (size_t)m * channels) {
        const span columns = clip(x * p->stride[1] - p->padding[1], p->kernel[1], p->dilation[1], p->input[W]);
        m = 1;
        if (columns.lo == 0 && columns.hi == p->kernel[1]) {
          const int32_t last = columns.first + (p->kernel[1] - 1) * p->dilation[1];
          m = eq_min32((p->input[W] - 1 - last) / p->stride[1] + 1, p->output[W] - x);
        }
        run_pixels(io, p, out, image, rows, columns, m);
      }
    }
    image += (size_t)p->input[H] * (size_t)p->input[W] * channels;
  }
}
