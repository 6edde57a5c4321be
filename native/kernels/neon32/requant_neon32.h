/* SPDX-License-Identifier: Apache-2.0
 * From int32 sums to int8 codes in the registers of 32-bit NEON, in every rounding mode and for every shift. */
#ifndef EDGEQ_REQUANT_NEON32_H
#define EDGEQ_REQUANT_NEON32_H

#include <arm_neon.h>

#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"

/* The instructions that a mode takes, decided once for all channels of a call. */
typedef enum eq_form {
  EQ_FORM_UP,     /* mode double, no left shifts, and negative results are clamped: which way their ties go is not seen */
  EQ_FORM_AWAY,   /* mode double, right shifts only */
  EQ_FORM_MIXED,  /* mode double, no left shifts */
  EQ_FORM_SINGLE, /* mode single, right shifts only */
  EQ_FORM_LEFT,   /* mode double with left shifts among others */
  EQ_FORM_WIDE,   /* modes single and exact, through 64-bit products */
  EQ_FORM_SHIFT,  /* mode shift */
} eq_form;

typedef struct eq_scaling {
  eq_form form;
  bool away; /* of EQ_FORM_WIDE: ties away from zero */
} eq_scaling;

static inline eq_scaling eq_scaling_of(int32_t mode, int32_t highest_shift, bool negative_clamped) {
  if (mode == EQ_MODE_DOUBLE) {
    if (highest_shift > 0) return (eq_scaling){EQ_FORM_LEFT, true};
    return (eq_scaling){negative_clamped ? EQ_FORM_UP : highest_shift < 0 ? EQ_FORM_AWAY : EQ_FORM_MIXED, true};
  }
  if (mode == EQ_MODE_SHIFT) return (eq_scaling){EQ_FORM_SHIFT, false};
  const bool single = mode == EQ_MODE_SINGLE;
  return (eq_scaling){single && highest_shift < 0 ? EQ_FORM_SINGLE : EQ_FORM_WIDE, !single};
}

static inline eq_scaling eq_scaling_of_linear(const eq_linear_s8 *linear, int32_t n) {
  int8x8_t highest = vdup_n_s8(-31);
  int32_t c = 0;
  for (; c + 8 <= n; c += 8) highest = vmax_s8(highest, vld1_s8(linear->shifts + c));
  for (int32_t i = 0; i < 3; i++) highest = vpmax_s8(highest, highest);
  int32_t shift = vget_lane_s8(highest, 0);
  for (; c < n; c++) shift = eq_max32(shift, linear->shifts[c]);
  return eq_scaling_of(linear->mode, shift, linear->act_min >= linear->zero);
}

/* x * m * 2^(shift - 31) rounded once; any shift from -31 to 30. */
static inline int32x2_t eq_scale_wide(int32x2_t x, int32x2_t m, int32x2_t shift, bool away) {
  int64x2_t p = vmull_s32(x, m);
  if (away) p = vsraq_n_s64(p, p, 63); /* less one where negative: rounds ties down */
  return vmovn_s64(vrshlq_s64(p, vaddw_s32(vdupq_n_s64(-31), shift)));
}

/* eq_requant of four numbers. */
static inline int32x4_t eq_scale(int32x4_t x, int32x4_t m, int32x4_t shift, eq_scaling scaling) {
  switch (scaling.form) {
    case EQ_FORM_UP:
      return vrshlq_s32(vqrdmulhq_s32(x, m), shift);
    case EQ_FORM_SINGLE:
      return vrshlq_s32(vqdmulhq_s32(x, m), shift);
    case EQ_FORM_SHIFT:
      return vrshlq_s32(x, vsubq_s32(shift, vdupq_n_s32(1)));
    case EQ_FORM_WIDE:
      return vcombine_s32(eq_scale_wide(vget_low_s32(x), vget_low_s32(m), vget_low_s32(shift), scaling.away),
                          eq_scale_wide(vget_high_s32(x), vget_high_s32(m), vget_high_s32(shift), scaling.away));
    case EQ_FORM_AWAY: {
      const int32x4_t high = vqrdmulhq_s32(x, m);
      return vrshlq_s32(vsraq_n_s32(high, high, 31), shift); /* less one where negative: rounds ties down */
    }
    default: {
      const int32x4_t none = vdupq_n_s32(0);
      if (scaling.form == EQ_FORM_LEFT) {
        x = vshlq_s32(x, vmaxq_s32(shift, none));
        shift = vminq_s32(shift, none);
      }
      const int32x4_t high = vqrdmulhq_s32(x, m); /* m >= 0, so nothing saturates */
      return vrshlq_s32(vsraq_n_s32(high, vandq_s32(high, shift), 31), shift); /* only what is shifted has ties */
    }
  }
}

/* Zero point and bounds of eight codes. */
typedef struct eq_code_range {
  int16x8_t zero;
  int8x8_t low;
  int8x8_t high;
} eq_code_range;

static inline eq_code_range eq_code_range_of(int32_t zero, int32_t low, int32_t high) {
  return (eq_code_range){vdupq_n_s16((int16_t)zero), vdup_n_s8((int8_t)low), vdup_n_s8((int8_t)high)};
}

/* clamp(zero + x); saturation on the way changes only what is clamped. */
static inline int8x8_t eq_to_codes(int32x4_t first, int32x4_t second, const eq_code_range *range) {
  const int16x8_t x = vqaddq_s16(vcombine_s16(vqmovn_s32(first), vqmovn_s32(second)), range->zero);
  return vmin_s8(vmax_s8(vqmovn_s16(x), range->low), range->high);
}

/* Constants of four channels. */
typedef struct eq_quad {
  int32x4_t bias;
  int32x4_t multipliers;
  int32x4_t shifts;
} eq_quad;

/* Those of the first n <= 4 channels from c on. */
static inline eq_quad eq_load_quad(const eq_linear_s8 *linear, int32_t c, int32_t n) {
  if (n == 4) {
    int32_t packed;
    __builtin_memcpy(&packed, linear->shifts + c, 4);
    const int16x8_t shifts = vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(packed)));
    return (eq_quad){vld1q_s32(linear->bias + c), vld1q_s32(linear->multipliers + c), vmovl_s16(vget_low_s16(shifts))};
  }
  int32_t bias[4] = {0}, multipliers[4] = {0}, shifts[4] = {0};
  for (int32_t i = 0; i < n; i++) {
    bias[i] = linear->bias[c + i];
    multipliers[i] = linear->multipliers[c + i];
    shifts[i] = linear->shifts[c + i];
  }
  return (eq_quad){vld1q_s32(bias), vld1q_s32(multipliers), vld1q_s32(shifts)};
}

static inline void eq_store_quad(int8_t *out, uint32_t codes, int32_t channels) {
  if (channels == 4) {
    __builtin_memcpy(out, &codes, 4);
  } else {
    for (int32_t c = 0; c < channels; c++, codes >>= 8) out[c] = (int8_t)(codes & 0xFF);
  }
}

/* Codes of `rows` rows of four sums, of which the first `channels` are stored. */
static inline __attribute__((always_inline)) void eq_requant_rows_as(int8_t *out, size_t out_stride, const int32_t *sums,
                                                                     int32_t rows, const eq_quad *q, int32_t channels,
                                                                     const eq_linear_s8 *linear, eq_scaling scaling) {
  const eq_code_range range = eq_code_range_of(linear->zero, linear->act_min, linear->act_max);
  for (; rows > 0; rows -= 2, sums += 8, out += 2 * out_stride) {
    const int32x4_t a = eq_scale(vaddq_s32(vld1q_s32(sums), q->bias), q->multipliers, q->shifts, scaling);
    const int32x4_t b = eq_scale(vaddq_s32(vld1q_s32(rows > 1 ? sums + 4 : sums), q->bias), q->multipliers, q->shifts, scaling);
    const uint32x2_t codes = vreinterpret_u32_s8(eq_to_codes(a, b, &range));
    eq_store_quad(out, vget_lane_u32(codes, 0), channels);
    if (rows > 1) eq_store_quad(out + out_stride, vget_lane_u32(codes, 1), channels);
  }
}

/* The same for any form; channel c is the first one. */
static inline void eq_requant_rows(int8_t *out, size_t out_stride, const int32_t *sums, int32_t rows, int32_t c,
                                   int32_t channels, const eq_linear_s8 *linear, eq_scaling scaling) {
  const eq_quad q = eq_load_quad(linear, c, channels);
  if (scaling.form == EQ_FORM_UP && channels == 4) {
    eq_requant_rows_as(out, out_stride, sums, rows, &q, 4, linear, (eq_scaling){EQ_FORM_UP, true});
  } else if (scaling.form == EQ_FORM_AWAY && channels == 4) {
    eq_requant_rows_as(out, out_stride, sums, rows, &q, 4, linear, (eq_scaling){EQ_FORM_AWAY, true});
  } else if (scaling.form == EQ_FORM_SINGLE && channels == 4) {
    eq_requant_rows_as(out, out_stride, sums, rows, &q, 4, linear, (eq_scaling){EQ_FORM_SINGLE, true});
  } else if (scaling.form == EQ_FORM_SHIFT && channels == 4) {
    eq_requant_rows_as(out, out_stride, sums, rows, &q, 4, linear, (eq_scaling){EQ_FORM_SHIFT, false});
  } else {
    eq_requant_rows_as(out, out_stride, sums, rows, &q, channels, linear, scaling);
  }
}

/* Constants of eight channels. */
typedef struct eq_octet {
  eq_quad low;
  eq_quad high;
} eq_octet;

/* Those from channel c on, all of which there are. */
static inline eq_octet eq_load_octet(const eq_linear_s8 *linear, int32_t c) {
  const int16x8_t shifts = vmovl_s8(vld1_s8(linear->shifts + c));
  return (eq_octet){
      {vld1q_s32(linear->bias + c), vld1q_s32(linear->multipliers + c), vmovl_s16(vget_low_s16(shifts))},
      {vld1q_s32(linear->bias + c + 4), vld1q_s32(linear->multipliers + c + 4), vmovl_s16(vget_high_s16(shifts))},
  };
}

/* The codes of eight channels' sums, bias included. */
static inline int8x8_t eq_requant_octet(int32x4_t low, int32x4_t high, const eq_octet *o, const eq_code_range *range,
                                        eq_scaling scaling) {
  return eq_to_codes(eq_scale(low, o->low.multipliers, o->low.shifts, scaling),
                     eq_scale(high, o->high.multipliers, o->high.shifts, scaling), range);
}

/* Codes of the sums of channels c .. c + n. */
static inline void eq_requant_vector(int8_t *out, const int32_t *sums, int32_t c, int32_t n, const eq_linear_s8 *linear,
                                     eq_scaling scaling) {
  const eq_code_range range = eq_code_range_of(linear->zero, linear->act_min, linear->act_max);
  for (; n >= 8; n -= 8, c += 8, sums += 8, out += 8) {
    const eq_octet o = eq_load_octet(linear, c);
    vst1_s8(out, eq_requant_octet(vaddq_s32(vld1q_s32(sums), o.low.bias), vaddq_s32(vld1q_s32(sums + 4), o.high.bias), &o,
                                  &range, scaling));
  }
  for (; n > 0; n -= 4, c += 4, sums += 4, out += 4) {
    const int32_t channels = eq_min32(n, 4);
    const eq_quad q = eq_load_quad(linear, c, channels);
    const int32x4_t y = eq_scale(vaddq_s32(vld1q_s32(sums), q.bias), q.multipliers, q.shifts, scaling);
    eq_store_quad(out, vget_lane_u32(vreinterpret_u32_s8(eq_to_codes(y, y, &range)), 0), channels);
  }
}

#endif
