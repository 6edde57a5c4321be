/* SPDX-License-Identifier: Apache-2.0
 * From int32 sums to int8 codes in NEON registers, four channels at a time: the vector twin of eq_requant_s8. */
#ifndef EDGEQ_REQUANT_NEON_H
#define EDGEQ_REQUANT_NEON_H

#include <arm_neon.h>

#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"

#define EQ_ALWAYS_INLINE static inline __attribute__((always_inline))

/* How sums become codes, decided once per call. Functions that take a form are inlined: call them with a constant. */
typedef enum eq_requant_form {
  EQ_FORM_UP,     /* mode double, shifts <= 0, negative results are clamped: which way their ties went is not seen */
  EQ_FORM_AWAY,   /* mode double, shifts < 0 */
  EQ_FORM_DOUBLE, /* mode double */
  EQ_FORM_SINGLE, /* mode single, shifts < 0 */
  EQ_FORM_WIDE,   /* mode single, by 64-bit products */
  EQ_FORM_EXACT,  /* mode exact, by 64-bit products */
  EQ_FORM_RIGHT,  /* mode exact, shifts < 0 */
  EQ_FORM_SHIFT,  /* mode shift */
} eq_requant_form;

/* The largest of n shifts; INT8_MIN when there are none. */
EQ_ALWAYS_INLINE int32_t eq_largest_shift(const int8_t *shifts, int32_t n) {
  int32_t largest = INT8_MIN, i = 0;
  if (n >= 16) {
    int8x16_t found = vld1q_s8(shifts + (n - 16));
    for (; i + 64 <= n; i += 64) {
      const int8x16_t low = vmaxq_s8(vld1q_s8(shifts + i), vld1q_s8(shifts + i + 16));
      const int8x16_t high = vmaxq_s8(vld1q_s8(shifts + i + 32), vld1q_s8(shifts + i + 48));
      found = vmaxq_s8(found, vmaxq_s8(low, high));
    }
    for (; i + 16 <= n; i += 16) found = vmaxq_s8(found, vld1q_s8(shifts + i));
    return vmaxvq_s8(found);
  }
  for (; i < n; i++) largest = eq_max32(largest, shifts[i]);
  return largest;
}

/* The form that serves n channels of a layer. */
EQ_ALWAYS_INLINE eq_requant_form eq_requant_form_of(const eq_linear_s8 *linear, int32_t n) {
  if (linear->mode == EQ_MODE_EXACT) return EQ_FORM_EXACT;
  if (linear->mode == EQ_MODE_SHIFT) return EQ_FORM_SHIFT;
  const int32_t largest = eq_largest_shift(linear->shifts, n);
  if (linear->mode == EQ_MODE_SINGLE) return largest < 0 ? EQ_FORM_SINGLE : EQ_FORM_WIDE;
  if (largest <= 0 && linear->act_min >= linear->zero) return EQ_FORM_UP;
  return largest < 0 ? EQ_FORM_AWAY : EQ_FORM_DOUBLE;
}

/* The constants of four channels. */
typedef struct eq_channels4 {
  int32x4_t bias;
  int32x4_t multipliers; /* negated in form RIGHT */
  int32x4_t right; /* min(shift, 0) in form DOUBLE, shift - 1 in form SHIFT, otherwise the shift */
  int32x4_t left;  /* max(shift, 0), for form DOUBLE */
  int64x2_t wide[2]; /* shift - 31, for products of 64 bits */
} eq_channels4;

EQ_ALWAYS_INLINE eq_channels4 eq_channels4_of(int32x4_t bias, int32x4_t multipliers, int32x4_t shifts,
                                              eq_requant_form form) {
  eq_channels4 c = {.bias = bias, .multipliers = multipliers, .right = shifts, .left = shifts};
  if (form == EQ_FORM_DOUBLE) {
    c.right = vminq_s32(shifts, vdupq_n_s32(0));
    c.left = vmaxq_s32(shifts, vdupq_n_s32(0));
  }
  if (form == EQ_FORM_SHIFT) c.right = vsubq_s32(shifts, vdupq_n_s32(1));
  const int32x4_t lowered = vsubq_s32(shifts, vdupq_n_s32(31));
  if (form == EQ_FORM_RIGHT) c.multipliers = vnegq_s32(multipliers);
  c.wide[0] = vmovl_s32(vget_low_s32(lowered));
  c.wide[1] = vmovl_high_s32(lowered);
  return c;
}

/* The constants of channels first .. first + 7, all of which exist. */
EQ_ALWAYS_INLINE void eq_load_channels8(eq_channels4 c[2], const eq_linear_s8 *linear, int32_t first,
                                        eq_requant_form form) {
  const int32_t *bias = linear->bias + first, *multipliers = linear->multipliers + first;
  const int16x8_t shifts = vmovl_s8(vld1_s8(linear->shifts + first));
  c[0] = eq_channels4_of(vld1q_s32(bias), vld1q_s32(multipliers), vmovl_s16(vget_low_s16(shifts)), form);
  c[1] = eq_channels4_of(vld1q_s32(bias + 4), vld1q_s32(multipliers + 4), vmovl_high_s16(shifts), form);
}

/* The constants of channels first .. first + count - 1, zeros in place of others; 0 <= count <= 8. */
EQ_ALWAYS_INLINE void eq_load_channels(eq_channels4 c[2], const eq_linear_s8 *linear, int32_t first, int32_t count,
                                       eq_requant_form form) {
  if (count == 8) {
    eq_load_channels8(c, linear, first, form);
    return;
  }
  int32_t bias[8] = {0}, multipliers[8] = {0}, shifts[8] = {0};
  for (int32_t i = 0; i < count; i++) {
    bias[i] = linear->bias[first + i];
    multipliers[i] = linear->multipliers[first + i];
    shifts[i] = linear->shifts[first + i];
  }
  c[0] = eq_channels4_of(vld1q_s32(bias), vld1q_s32(multipliers), vld1q_s32(shifts), form);
  c[1] = eq_channels4_of(vld1q_s32(bias + 4), vld1q_s32(multipliers + 4), vld1q_s32(shifts + 4), form);
}

/* requant(x) for sums x to which the bias was added. The high product never saturates, for multipliers are >= 0. */
EQ_ALWAYS_INLINE int32x4_t eq_requant4(int32x4_t x, const eq_channels4 *c, eq_requant_form form) {
  if (form == EQ_FORM_WIDE || form == EQ_FORM_EXACT) {
    int64x2_t low = vmull_s32(vget_low_s32(x), vget_low_s32(c->multipliers));
    int64x2_t high = vmull_high_s32(x, c->multipliers);
    if (form == EQ_FORM_EXACT) { /* less one where negative: that rounds ties down */
      low = vsraq_n_s64(low, low, 63);
      high = vsraq_n_s64(high, high, 63);
    }
    low = vrshlq_s64(low, c->wide[0]);
    high = vrshlq_s64(high, c->wide[1]);
    return vuzp1q_s32(vreinterpretq_s32_s64(low), vreinterpretq_s32_s64(high));
  }
  if (form == EQ_FORM_RIGHT) {
    /* Less one where negative, ahead of a floor, is the complement of the magnitude's floor. Minus the magnitude exists for
     * every x, and its product with minus the multiplier does not saturate. */
    const int32x4_t sign = vreinterpretq_s32_u32(vcltzq_s32(x));
    const int32x4_t floor = vqdmulhq_s32(vminq_s32(x, vnegq_s32(x)), c->multipliers);
    return vrshlq_s32(veorq_s32(floor, sign), c->right);
  }
  if (form == EQ_FORM_SHIFT) return vrshlq_s32(x, c->right);
  if (form == EQ_FORM_SINGLE) return vrshlq_s32(vqdmulhq_s32(x, c->multipliers), c->right);
  int32x4_t high = vqrdmulhq_s32(form == EQ_FORM_DOUBLE ? vshlq_s32(x, c->left) : x, c->multipliers);
  if (form == EQ_FORM_AWAY) high = vsraq_n_s32(high, high, 31);
  if (form == EQ_FORM_DOUBLE) high = vsraq_n_s32(high, vandq_s32(high, c->right), 31); /* shifted ones only */
  return vrshlq_s32(high, c->right);
}

/* The zero point and the bounds of codes. */
typedef struct eq_codes {
  int16x8_t zero;
  int8x16_t least;
  int8x16_t largest;
  uint8x16_t zero_code; /* the zero point's eight bits */
  uint8x16_t above;     /* largest - zero point, where the zero point is the least code */
} eq_codes;

EQ_ALWAYS_INLINE eq_codes eq_codes_of(const eq_linear_s8 *linear) {
  return (eq_codes){
      .zero = vdupq_n_s16((int16_t)linear->zero),
      .least = vdupq_n_s8((int8_t)linear->act_min),
      .largest = vdupq_n_s8((int8_t)linear->act_max),
      .zero_code = vdupq_n_u8((uint8_t)linear->zero),
      .above = vdupq_n_u8((uint8_t)(linear->act_max - linear->zero)),
  };
}

/* clamp(zero + y) of four times four results; saturation on the way reaches no result that is not clamped. */
EQ_ALWAYS_INLINE int8x16_t eq_codes16(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d, const eq_codes *codes) {
  const int16x8_t low = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), codes->zero);
  const int16x8_t high = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(c), d), codes->zero);
  const int8x16_t found = vqmovn_high_s16(vqmovn_s16(low), high);
  return vminq_s8(vmaxq_s8(found, codes->least), codes->largest);
}

/* The same of two times four results. */
EQ_ALWAYS_INLINE int8x8_t eq_codes8(int32x4_t a, int32x4_t b, const eq_codes *codes) {
  const int8x8_t found = vqmovn_s16(vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), codes->zero));
  return vmin_s8(vmax_s8(found, vget_low_s8(codes->least)), vget_low_s8(codes->largest));
}

/* eq_codes16 where the zero point is the least code: saturation to unsigned numbers clamps below. */
EQ_ALWAYS_INLINE int8x16_t eq_codes16_relu(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d, const eq_codes *codes) {
  const uint16x8_t low = vqmovun_high_s32(vqmovun_s32(a), b), high = vqmovun_high_s32(vqmovun_s32(c), d);
  const uint8x16_t above = vminq_u8(vqmovn_high_u16(vqmovn_u16(low), high), codes->above);
  return vreinterpretq_s8_u8(vaddq_u8(above, codes->zero_code));
}

/* True when no result of n channels leaves int16, whatever k inputs are; all shifts <= 0. */
EQ_ALWAYS_INLINE bool eq_results_fit_s16(const eq_linear_s8 *linear, int32_t n, int32_t k) {
  const int32_t products = k * 128 * 128; /* <= 2^30 */
  int32x4_t largest = vdupq_n_s32(0);
  if (k > 65536 || n < 4) return false;
  for (int32_t next = 0; next < n; next += 4) {
    const int32_t first = eq_min32(next, n - 4);
    const int32x4_t bias = vqabsq_s32(vld1q_s32(linear->bias + first)), reach = vqaddq_s32(bias, vdupq_n_s32(products));
    int32_t four;
    __builtin_memcpy(&four, linear->shifts + first, sizeof four);
    const int8x8_t bytes = vreinterpret_s8_s32(vdup_n_s32(four));
    const int32x4_t shifts = vmovl_s16(vget_low_s16(vmovl_s8(bytes)));
    const int32x4_t high = vqrdmulhq_s32(reach, vld1q_s32(linear->multipliers + first));
    largest = vmaxq_s32(largest, vrshlq_s32(high, shifts));
  }
  return vmaxvq_s32(largest) < INT16_MAX; /* a negative result's magnitude may be larger by one */
}

/* Codes of results that lie within int16, for bounds -128 and 127; in the second function the zero point is -128. */
EQ_ALWAYS_INLINE int8x16_t eq_plain_codes16(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d, const eq_codes *codes) {
  const int16x8_t low = vuzp1q_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
  const int16x8_t high = vuzp1q_s16(vreinterpretq_s16_s32(c), vreinterpretq_s16_s32(d));
  return vqmovn_high_s16(vqmovn_s16(vqaddq_s16(low, codes->zero)), vqaddq_s16(high, codes->zero));
}

EQ_ALWAYS_INLINE int8x16_t eq_plain_codes16_relu(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d,
                                                 const eq_codes *codes) {
  const int16x8_t low = vuzp1q_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
  const int16x8_t high = vuzp1q_s16(vreinterpretq_s16_s32(c), vreinterpretq_s16_s32(d));
  const uint8x16_t above = vqmovun_high_s16(vqmovun_s16(low), high);
  return vreinterpretq_s8_u8(vaddq_u8(above, codes->zero_code));
}

/* eq_codes8 where the zero point is the least code. */
EQ_ALWAYS_INLINE int8x8_t eq_codes8_relu(int32x4_t a, int32x4_t b, const eq_codes *codes) {
  const uint8x8_t found = vqmovn_u16(vqmovun_high_s32(vqmovun_s32(a), b));
  return vreinterpret_s8_u8(vadd_u8(vmin_u8(found, vget_low_u8(codes->above)), vget_low_u8(codes->zero_code)));
}

#endif
