/* SPDX-License-Identifier: Apache-2.0
 * Pooling: one window after the other, clipped to the image. */
#include "edgeq/ops.h"
#include "kernels/kernels.h"
#include "ops/order.h"

/* True when every window along an axis holds a pixel and its coordinates are well inside int32. */
static bool axis_legal(const eq_pool_params *p, int32_t axis) {
  const int64_t last = (int64_t)(p->output[axis] - 1) * p->stride[axis] - p->before[axis];
  return p->kernel[axis] >= 1 && p->stride[axis] >= 1 && eq_within(p->before[axis], 0, p->kernel[axis] - 1) &&
         last < p->size[axis] && p->size[axis] <= INT32_MAX - p->kernel[axis];
}

eq_status eq_check_pool(const eq_step_check *s, const eq_pool_params *p) {
  if (!eq_has_operands(s, 1, 1) || !eq_within(p->average, 0, 2) || !eq_within(p->element_bytes, 1, 2)) {
    return EQ_ERR_STEP;
  }
  const uint32_t bytes = (uint32_t)p->element_bytes;
  if (!eq_input_is(s, 0, eq_scaled(eq_volume4(p->batch, p->size[0], p->size[1], p->channels), bytes)) ||
      !eq_output_is(s, 0, eq_scaled(eq_volume4(p->batch, p->output[0], p->output[1], p->channels), bytes))) {
    return EQ_ERR_STEP;
  }
  if (!axis_legal(p, 0) || !axis_legal(p, 1) || eq_volume2(p->kernel[0], p->kernel[1]) > 65535) return EQ_ERR_STEP;
  const int32_t low = bytes == 1 ? INT8_MIN : INT16_MIN;
  if (!eq_within(p->act_min, low, -1 - low) || !eq_within(p->act_max, p->act_min, -1 - low)) return EQ_ERR_STEP;
  return EQ_OK;
}

/* The part [first, first + count) of an axis that output position i covers. */
static int32_t clip(const eq_pool_params *p, int32_t axis, int32_t i, int32_t *count) {
  const int32_t start = i * p->stride[axis] - p->before[axis];
  const int32_t first = start < 0 ? 0 : start;
  const int32_t end = start + p->kernel[axis];
  *count = (end < p->size[axis] ? end : p->size[axis]) - first;
  return first;
}

void eq_op_pool(const eq_step_io *io, const eq_pool_params *p) {
  const uint8_t *image = eq_in(io, 0);
  uint8_t *out = eq_out(io, 0);
  const size_t pixel = (size_t)p->channels, row = (size_t)p->size[1] * pixel, bytes = (size_t)p->element_bytes;
  eq_pool_window window = {.channels = p->channels, .x_row = row, .act_min = p->act_min, .act_max = p->act_max, .ties_up = p->average == 2};
  for (int32_t n = 0; n < p->batch; n++, image += (size_t)p->size[0] * row * bytes) {
    for (int32_t y = 0; y < p->output[0]; y++) {
      const size_t top = (size_t)clip(p, 0, y, &window.rows);
      for (int32_t x = 0; x < p->output[1]; x++, out += pixel * bytes) {
        const size_t left = (size_t)clip(p, 1, x, &window.columns);
        const void *first = image + (top * row + left * pixel) * bytes;
        if (bytes == 1) {
          (p->average ? io->kernels->average_pool_s8 : io->kernels->max_pool_s8)((int8_t *)out, first, &window);
        } else {
          (p->average ? io->kernels->average_pool_s16 : io->kernels->max_pool_s16)((int16_t *)(void *)out, first,
                                                                                 &window);
        }
      }
    }
  }
}

eq_sharing eq_sharing_pool(const eq_pool_params *p, const uint8_t *constants, uint32_t input, uint32_t output,
                           int64_t ahead) {
  (void)constants, (void)input, (void)output;
  const int64_t pixel_bytes = (int64_t)p->channels * p->element_bytes;
  const eq_row_order rows = {
      .images = p->batch, .in_rows = p->size[0], .out_rows = p->output[0], .in_row_bytes = p->size[1] * pixel_bytes,
      .out_row_bytes = p->output[1] * pixel_bytes, .stride = p->stride[0], .before = p->before[0],
  };
  return ahead >= eq_row_distance(&rows) ? EQ_OVER : EQ_APART;
}
