/* SPDX-License-Identifier: Apache-2.0
 * Convolution, also grouped and fully connected, with packed low-bit weights. */
#include "edgeq/ops.h"
#include "ops/rows.h"

enum { MAX_MAGNITUDE_BITS = 40 }; /* of the integer that a MINIFLOAT code stands for */

static bool kind_legal(const eq_coded_conv2d_params *p) {
  if (!eq_within(p->bits, 1, 8)) return false;
  if (p->kind == EQ_CODE_MINIFLOAT) {
    return eq_within(p->mantissa_bits, 1, p->bits - 2) &&
           p->mantissa_bits + (1 << (p->bits - 1 - p->mantissa_bits)) - 1 <= MAX_MAGNITUDE_BITS;
  }
  return eq_within(p->kind, EQ_CODE_TWOS, EQ_CODE_SHIFTS) && p->mantissa_bits == 0 &&
         (p->kind != EQ_CODE_TERNARY || p->bits == 2);
}

/* Groups of a row of k codes; 0 where codes have none. */
static uint64_t groups_of_row(const eq_coded_conv2d_params *p, uint64_t k) {
  const uint32_t group = (uint32_t)p->group;
  return group == 0 ? 0 : (k + group - 1) / group;
}

/* True when the constants of n rows of k codes have their sizes. A table has an entry for every code, and every exponent of
 * 5 bits is legal, so neither needs a look at the contents. */
static bool codes_legal(const eq_step_check *s, const eq_coded_conv2d_params *p, uint64_t n, uint64_t k) {
  const bool tabled = p->kind == EQ_CODE_LEVELS || p->kind == EQ_CODE_SHIFTS;
  if (tabled ? p->tables != 1 && (uint32_t)p->tables != n : p->tables != 0) return false;
  const uint64_t row_bytes = (k * (uint32_t)p->bits + 7) / 8, groups = groups_of_row(p, k);
  const uint64_t zeros = p->group_zeros.bytes == 0 || p->kind != EQ_CODE_UNSIGNED ? 0 : groups;
  return p->group >= 0 && eq_span_is(s, p->codes, n * row_bytes) &&
         eq_span_is(s, p->levels, ((uint64_t)(uint32_t)p->tables << p->bits) * 2) &&
         eq_span_is(s, p->group_scales, n * groups) && eq_span_is(s, p->group_zeros, n * zeros);
}

eq_status eq_check_coded_conv2d(const eq_step_check *s, const eq_coded_conv2d_params *p) {
  const eq_geometry g = EQ_GEOMETRY(p);
  if (!eq_geometry_legal(s, &g) || !kind_legal(p) || !eq_within(p->wide, 0, 1)) return EQ_ERR_STEP;
  const uint64_t n = (uint32_t)p->output[EQ_C], k = eq_depth(&g);
  if (k > EQ_MAX_DEPTH || !codes_legal(s, p, n, k)) return EQ_ERR_STEP;
  const bool wide = p->wide == 1;
  if (!eq_span_is(s, wide ? p->bias : p->wide_bias, 0)) return EQ_ERR_STEP;
  if (!eq_channels_legal(s, wide ? p->wide_bias : p->bias, n, wide ? 8 : 4, p->multipliers, p->shifts, n, wide ? 14 : 30))
    return EQ_ERR_STEP;
  if (!eq_codes_legal(p->input_zero, 0, p->output_zero, p->act_min, p->act_max, p->mode,
                      !wide && eq_all_half(s, p->multipliers)))
    return EQ_ERR_STEP;
  if (p->mode == EQ_MODE_DOUBLE) return EQ_ERR_STEP;
  return s->scratch_bytes >= (eq_is_pointwise(&g) ? 0 : EQ_PATCHES * k) ? EQ_OK : EQ_ERR_STEP;
}

/* Go on to the rows of the next group of n output channels. */
static void advance(eq_coded_weights *w, eq_linear_s8 *linear, const eq_coded_conv2d_params *p, size_t n, size_t k) {
  w->codes += n * ((k * (size_t)p->bits + 7) / 8);
  w->levels += n * w->levels_step;
  w->scales += n * (size_t)groups_of_row(p, k);
  if (w->zeros != NULL) w->zeros += n * (size_t)groups_of_row(p, k);
  if (w->wide_biases != NULL) {
    w->wide_biases += n;
  } else {
    linear->bias += n;
  }
  linear->multipliers += n;
  linear->shifts += n;
}

void eq_op_coded_conv2d(const eq_step_io *io, const eq_coded_conv2d_params *p) {
  const eq_geometry g = EQ_GEOMETRY(p);
  const size_t pixel = (size_t)p->output[EQ_C];
  const int32_t n = p->output[EQ_C] / p->groups, k = (int32_t)eq_depth(&g);
  eq_coded_weights w = {
      .kind = p->kind, .bits = p->bits, .mantissa_bits = p->mantissa_bits, .group = p->group,
      .codes = eq_constant(io, p->codes), .levels = eq_constant(io, p->levels),
      .levels_step = p->tables > 1 ? (size_t)1 << p->bits : 0, .scales = eq_constant(io, p->group_scales),
      .zeros = p->group_zeros.bytes == 0 ? NULL : eq_constant(io, p->group_zeros),
      .wide_biases = p->wide == 1 ? eq_constant(io, p->wide_bias) : NULL,
  };
  eq_linear_s8 linear = {
      .bias = eq_constant(io, p->bias), .multipliers = eq_constant(io, p->multipliers),
      .shifts = eq_constant(io, p->shifts), .zero = p->output_zero, .act_min = p->act_min, .act_max = p->act_max,
      .mode = p->mode,
  };
  const int8_t *in = eq_in(io, 0);
  int8_t *out = eq_out(io, 0);
  for (int32_t group = 0; group < p->groups; group++) {
    int8_t *to = out;
    for (eq_rows rows = {0}; eq_next_rows(&rows, &g, in, io->scratch, p->input_zero);) {
      io->kernels->coded_gemm_s8(to, pixel, rows.x, rows.x_stride, &w, rows.m, n, k, &linear);
      to += (size_t)rows.m * pixel;
    }
    in += p->input[EQ_C] / p->groups;
    out += n;
    advance(&w, &linear, p, (size_t)n, (size_t)k);
  }
}

eq_sharing eq_sharing_coded_conv2d(const eq_coded_conv2d_params *p, const uint8_t *constants, uint32_t input,
                                   uint32_t output, int64_t ahead) {
  (void)constants, (void)input, (void)output;
  const eq_geometry g = EQ_GEOMETRY(p);
  return eq_convolution_sharing(&g, ahead);
}
