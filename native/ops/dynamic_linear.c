/* SPDX-License-Identifier: Apache-2.0
 * Convolution, also grouped, depthwise and fully connected, of rows with scales that only the run knows. */
#include "edgeq/fixed_point.h"
#include "edgeq/ops.h"
#include "ops/dynamic_rows.h"
#include "ops/linear.h"

enum { N, H, W, C };
enum { STATIC = 3 }; /* row_range of static codes */

static uint64_t depth(const eq_dynamic_linear_params *p) {
  return eq_volume4(p->kernel[0], p->kernel[1], p->input[C] / p->groups, 1);
}

/* Where a row's values wait: all of them until its range is known, or those of one call of the kernel. */
static uint64_t waiting_values(const eq_dynamic_linear_params *p) {
  const uint64_t pixels = p->row_range == STATIC ? EQ_PATCHES : eq_volume(p->output, 3) / (uint32_t)p->rows;
  return pixels * (uint32_t)p->output[C];
}

static bool result_legal(const eq_step_check *s, const eq_dynamic_linear_params *p, uint64_t elements) {
  if (elements > INT32_MAX) return false;
  if (p->row_range != STATIC) {
    return eq_has_operands(s, 2, 2) && eq_output_is(s, 0, elements) &&
           eq_output_is(s, 1, eq_scaled(eq_volume2(p->rows, EQ_SCALE_COLUMNS), 4)) &&
           eq_row_range_legal(p->row_range, p->deviations, p->step);
  }
  const int32_t least = p->element_bytes == 1 ? INT8_MIN : INT16_MIN;
  return eq_has_operands(s, 2, 1) && eq_within(p->element_bytes, 1, 2) && eq_scale_legal(p->step) &&
         eq_output_is(s, 0, eq_scaled(elements, (uint32_t)p->element_bytes)) &&
         eq_within(p->output_zero, least, -1 - least);
}

eq_status eq_check_dynamic_linear(const eq_step_check *s, const eq_dynamic_linear_params *p) {
  if (!result_legal(s, p, eq_volume(p->output, 4)) || !eq_input_is(s, 0, eq_volume(p->input, 4))) return EQ_ERR_STEP;
  if (!eq_input_is(s, 1, eq_scaled(eq_volume2(p->rows, EQ_SCALE_COLUMNS), 4))) return EQ_ERR_STEP;
  if (!eq_windows_legal(p->input, p->output, p->groups, p->kernel, p->stride, p->dilation, p->padding)) return EQ_ERR_STEP;
  if (p->input[N] % p->rows != 0) return EQ_ERR_STEP;
  const uint64_t k = depth(p);
  const uint32_t n = (uint32_t)p->output[C];
  if (k > EQ_MAX_DEPTH || !eq_span_is(s, p->weights, n * k) || !eq_span_is(s, p->sums, eq_scaled(n, 4))) return EQ_ERR_STEP;
  if (!eq_channels_legal(s, p->bias, n, 4, p->multipliers, p->shifts, n, 30)) return EQ_ERR_STEP;
  if (!eq_scale_legal(p->unit) || !eq_scale_legal(p->bias_unit) || !eq_scale_legal(p->bound_unit)) return EQ_ERR_STEP;
  return s->scratch_bytes >= 4 * (n + waiting_values(p)) + EQ_PATCHES * k ? EQ_OK : EQ_ERR_STEP;
}

/* What the scale of a row makes of the step's constants. */
typedef struct row_constants {
  const int32_t *bias; /* in the common unit */
  int32_t zero;        /* of the row's codes */
  int32_t coarser;     /* bits by which the row's unit is above the common one */
  int32_t lower;
  int32_t upper;
  eq_scale result; /* of static codes */
} row_constants;

enum { FITTING = 9 }; /* the exponent of a scale that takes the largest bias code, 2^20, to less than 2^29 */

static row_constants constants_of(const eq_step_io *io, const eq_dynamic_linear_params *p, const int32_t *scale,
                                  int32_t *bias) {
  const eq_scale kept = eq_read_scale(scale), inverse = eq_scale_inverse(kept);
  const eq_scale bias_unit = eq_scale_product(inverse, eq_constant_scale(p->bias_unit));
  const eq_scale bound_unit = eq_scale_product(inverse, eq_constant_scale(p->bound_unit));
  row_constants row = {.bias = bias, .zero = eq_read_zero(scale), .coarser = eq_max32(0, bias_unit.e - FITTING),
                       .lower = p->lower, .upper = p->upper};
  const int32_t *codes = eq_constant(io, p->bias);
  for (int32_t c = 0; c < p->output[C]; c++) bias[c] = eq_apply_scale(codes[c], bias_unit.m, bias_unit.e - row.coarser);
  if (p->lower != INT32_MIN) row.lower = eq_apply_scale(p->lower, bound_unit.m, bound_unit.e - row.coarser);
  if (p->upper != INT32_MAX) row.upper = eq_apply_scale(p->upper, bound_unit.m, bound_unit.e - row.coarser);
  if (p->row_range == STATIC) {
    row.result = eq_scale_product(eq_scale_product(kept, eq_constant_scale(p->unit)), eq_constant_scale(p->step));
    row.result.e += row.coarser;
  }
  return row;
}

/* Sums of m pixels to values of the common unit, in place: |v| <= 2^30. */
static void to_common_unit(const eq_step_io *io, const eq_dynamic_linear_params *p, int32_t *v, int32_t m,
                           const row_constants *row) {
  const int32_t *sums = eq_constant(io, p->sums), *multipliers = eq_constant(io, p->multipliers);
  const int8_t *shifts = eq_constant(io, p->shifts);
  for (int32_t i = 0; i < m; i++, v += p->output[C]) {
    for (int32_t c = 0; c < p->output[C]; c++) {
      /* wraps for sums that are not those of the weights alone */
      const int32_t centred = eq_sub32(v[c], (int32_t)((uint32_t)row->zero * (uint32_t)sums[c]));
      const int32_t y = eq_apply_scale(centred, (uint32_t)multipliers[c], shifts[c] - row->coarser) + row->bias[c];
      v[c] = eq_min32(eq_max32(y, row->lower), row->upper);
    }
  }
}

/* `count` values to static codes, from element `at` of the output on. */
static void to_static(const eq_step_io *io, const eq_dynamic_linear_params *p, size_t at, const int32_t *v, int32_t count,
                      eq_scale scale) {
  void *out = eq_out(io, 0);
  for (int32_t i = 0; i < count; i++) {
    const int32_t y = eq_apply_scale(v[i], scale.m, scale.e) + p->output_zero;
    if (p->element_bytes == 1) {
      ((int8_t *)out)[at + (size_t)i] = (int8_t)eq_clamp32(y, INT8_MIN, INT8_MAX);
    } else {
      ((int16_t *)out)[at + (size_t)i] = (int16_t)eq_clamp32(y, INT16_MIN, INT16_MAX);
    }
  }
}

/* Sums of m neighbouring pixels from (y, x) of the output on, all channels. */
static void sum_pixels(const eq_step_io *io, const eq_dynamic_linear_params *p, int32_t *v, const int8_t *image, int32_t y,
                       int32_t x, int32_t m, int8_t *patches, int32_t zero) {
  const eq_window window = {
      .height = p->input[H], .width = p->input[W], .rows = p->kernel[0], .columns = p->kernel[1],
      .dilation_y = p->dilation[0], .dilation_x = p->dilation[1], .pixel_bytes = (size_t)p->input[C],
      .taken_bytes = (size_t)(p->input[C] / p->groups), .fill = (uint8_t)zero,
  };
  const size_t k = (size_t)depth(p);
  const int32_t n = p->output[C] / p->groups;
  const int8_t *weights = eq_constant(io, p->weights);
  for (int32_t group = 0; group < p->groups; group++) {
    for (int32_t i = 0; i < m; i++) {
      eq_gather((uint8_t *)patches + (size_t)i * k, (const uint8_t *)image, &window,
                y * p->stride[0] - p->padding[0], (x + i) * p->stride[1] - p->padding[1]);
    }
    io->kernels->sums_s8(v, (size_t)p->output[C], patches, k, weights, m, n, (int32_t)k);
    v += n;
    image += window.taken_bytes;
    weights += (size_t)n * k;
  }
}

/* One row: images `from` up to `to`. Returns how many values wait in v. */
static int32_t run_row(const eq_step_io *io, const eq_dynamic_linear_params *p, int32_t *v, int32_t from, int32_t to,
                       int8_t *patches, const row_constants *row) {
  const size_t image_bytes = (size_t)p->input[H] * (size_t)p->input[W] * (size_t)p->input[C];
  int32_t waiting = 0;
  for (int32_t image = from; image < to; image++) {
    const int8_t *in = (const int8_t *)eq_in(io, 0) + (size_t)image * image_bytes;
    for (int32_t y = 0; y < p->output[H]; y++) {
      for (int32_t x = 0; x < p->output[W]; x += EQ_PATCHES) {
        const int32_t m = eq_min32(EQ_PATCHES, p->output[W] - x), count = m * p->output[C];
        sum_pixels(io, p, v + waiting, in, y, x, m, patches, row->zero);
        to_common_unit(io, p, v + waiting, m, row);
        if (p->row_range != STATIC) {
          waiting += count;
        } else {
          const size_t line = (size_t)image * (size_t)p->output[H] + (size_t)y;
          to_static(io, p, (line * (size_t)p->output[W] + (size_t)x) * (size_t)p->output[C], v, count, row->result);
        }
      }
    }
  }
  return waiting;
}

void eq_op_dynamic_linear(const eq_step_io *io, const eq_dynamic_linear_params *p) {
  const int32_t images = p->input[N] / p->rows;
  int32_t *bias = io->scratch;
  int32_t *v = bias + p->output[C];
  int8_t *patches = (int8_t *)(v + waiting_values(p));
  const int32_t *scales = eq_in(io, 1);
  size_t at = 0;
  for (int32_t r = 0; r < p->rows; r++, scales += EQ_SCALE_COLUMNS) {
    const row_constants row = constants_of(io, p, scales, bias);
    const int32_t waiting = run_row(io, p, v, r * images, (r + 1) * images, patches, &row);
    if (p->row_range == STATIC) continue;
    eq_row_range range = {.kind = p->row_range, .deviations = p->deviations, .source = eq_read_scale(scales),
                          .kept = eq_read_scale(scales), .step = eq_constant_scale(p->step)};
    range.source.e += row.coarser;
    eq_quantize_row((int8_t *)eq_out(io, 0) + at, (int32_t *)eq_out(io, 1) + r * EQ_SCALE_COLUMNS, v, waiting, &range);
    at += (size_t)waiting;
  }
}
