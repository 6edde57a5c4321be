/* SPDX-License-Identifier: Apache-2.0
 * Sums and differences of int8 codes, 32 at a time. */
#if defined(__aarch64__)
#include "edgeq/ops.h"
#include "kernels/neon/elementwise_neon.h"

/* What turns codes into terms of the sum. */
typedef struct operand {
  int8x16_t zero;
  int16x8_t first_shift; /* the left shift in two steps: of int16, which holds 9 bits shifted by up to 6, ... */
  int16x4_t second;      /* ... and a product with 2^14 or less */
  eq_channels4 scale;
} operand;

EQ_ALWAYS_INLINE operand operand_of(int32_t zero, int32_t left_shift, int32_t multiplier, int32_t shift, bool half,
                                 eq_requant_form form) {
  const int32_t total = left_shift - half, second = eq_min32(total, 14);
  int8x16_t zeros = vdupq_n_s8((int8_t)zero);
  __asm__("" : "+w"(zeros)); /* that its halves are the same would move codes' high halves down to meet the low one */
  return (operand){
      .zero = zeros,
      .first_shift = vdupq_n_s16((int16_t)(total - second)),
      .second = vdup_n_s16((int16_t)(1 << second)),
      .scale = eq_scale_of(multiplier, shift, form),
  };
}

/* Multiplying by one half is exact, a left shift less by one; the operand of the larger scale of a sum comes so. */
static inline bool is_half(int32_t left_shift, int32_t multiplier, int32_t shift) {
  return left_shift >= 1 && multiplier == 1 << 30 && shift == 0;
}

EQ_ALWAYS_INLINE int32x4_t term(int32x4_t x, const operand *o, bool half, eq_requant_form form) {
  return half ? x : eq_requant4(x, &o->scale, form);
}

EQ_ALWAYS_INLINE void widen(int32x4_t x[4], int8x16_t codes, const operand *o) {
  const int16x8_t low = vshlq_s16(vsubl_s8(vget_low_s8(codes), vget_low_s8(o->zero)), o->first_shift);
  const int16x8_t high = vshlq_s16(vsubl_high_s8(codes, o->zero), o->first_shift);
  const int16x8_t second = vcombine_s16(o->second, o->second);
  x[0] = vmull_s16(vget_low_s16(low), o->second);
  x[1] = vmull_high_s16(low, second);
  x[2] = vmull_s16(vget_low_s16(high), o->second);
  x[3] = vmull_high_s16(high, second);
}

/* True when the codes' bounds are -128, which is also the zero point, and 127, and no sum's result leaves int16; for form
 * UP, half as below and a second shift < 0, which make a sum at most 255 << left_shift, < 2^28. */
static inline bool is_plain(const eq_add_params *p) {
  return p->zero == INT8_MIN && p->act_min == INT8_MIN && p->act_max == INT8_MAX &&
         eq_requant_double(255 << p->left_shift, p->multiplier, p->shift) < INT16_MAX;
}

/* half: the first operand is multiplied by one half; its form and the second's is `terms`. plain: see is_plain. */
EQ_ALWAYS_INLINE void add(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                          const eq_add_params *p, bool half, bool plain, eq_requant_form terms, eq_requant_form form) {
  const operand first = operand_of(p->zero_a, p->left_shift, p->multiplier_a, p->shift_a, half, terms);
  const operand second = operand_of(p->zero_b, p->left_shift, p->multiplier_b, p->shift_b, false, terms);
  const eq_channels4 scale = eq_scale_of(p->multiplier, p->shift, form);
  const eq_codes codes = eq_codes_within(p->zero, p->act_min, p->act_max);
  const int32x4_t sign = vdupq_n_s32(p->sign);
#define ADD_32                                                                                            \
  int32x4_t u[8], v[8];                                                                                   \
  widen(u, x_a[0], &first);                                                                               \
  widen(u + 4, x_a[1], &first);                                                                           \
  widen(v, x_b[0], &second);                                                                              \
  widen(v + 4, x_b[1], &second);                                                                          \
  _Pragma("GCC unroll 8") for (int i = 0; i < 8; i++) {                                                   \
    const int32x4_t term_a = term(u[i], &first, half, terms), term_b = term(v[i], &second, false, terms); \
    u[i] = eq_requant4(half ? vaddq_s32(term_a, term_b) : vmlaq_s32(term_a, term_b, sign), &scale, form); \
  }                                                                                                       \
  _Pragma("GCC unroll 2") for (int i = 0; i < 2; i++) {                                                   \
    y[i] = plain ? eq_plain_codes16_relu(u[4 * i], u[4 * i + 1], u[4 * i + 2], u[4 * i + 3], &codes)      \
                 : eq_codes16(u[4 * i], u[4 * i + 1], u[4 * i + 2], u[4 * i + 3], &codes);                \
  }
  EQ_FOR_32(out, a, a_step, b, b_step, n, ADD_32);
}

void eq_add_s8_neon(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                    const eq_add_params *p) {
  eq_add_params q = *p;
  if (p->sign > 0 && !is_half(p->left_shift, p->multiplier_a, p->shift_a)) { /* the one that may be halved goes first */
    q.zero_a = p->zero_b, q.multiplier_a = p->multiplier_b, q.shift_a = p->shift_b;
    q.zero_b = p->zero_a, q.multiplier_b = p->multiplier_a, q.shift_b = p->shift_a;
    const int8_t *swapped = a;
    const int32_t swapped_step = a_step;
    a = b, a_step = b_step;
    b = swapped, b_step = swapped_step;
  }
  const bool half = p->sign > 0 && is_half(q.left_shift, q.multiplier_a, q.shift_a);
  const eq_requant_form terms = eq_scale_form(q.mode, half ? q.shift_b : eq_max32(q.shift_a, q.shift_b), false);
  const eq_requant_form form = eq_scale_form(q.mode, q.shift, q.act_min >= q.zero);
  if (half && terms == EQ_FORM_AWAY && form == EQ_FORM_UP && is_plain(&q)) {
    add(out, a, a_step, b, b_step, n, &q, true, true, EQ_FORM_AWAY, EQ_FORM_UP);
  } else if (half && terms == EQ_FORM_AWAY && form == EQ_FORM_UP) {
    add(out, a, a_step, b, b_step, n, &q, true, false, EQ_FORM_AWAY, EQ_FORM_UP);
  } else if (half && terms == EQ_FORM_AWAY && form == EQ_FORM_AWAY) {
    add(out, a, a_step, b, b_step, n, &q, true, false, EQ_FORM_AWAY, EQ_FORM_AWAY);
  } else if (half && terms == EQ_FORM_SINGLE && form == EQ_FORM_SINGLE) {
    add(out, a, a_step, b, b_step, n, &q, true, false, EQ_FORM_SINGLE, EQ_FORM_SINGLE);
  } else if (half && form == EQ_FORM_SHIFT) {
    add(out, a, a_step, b, b_step, n, &q, true, false, EQ_FORM_SHIFT, EQ_FORM_SHIFT);
  } else if (form == EQ_FORM_SHIFT) {
    add(out, a, a_step, b, b_step, n, &q, false, false, EQ_FORM_SHIFT, EQ_FORM_SHIFT);
  } else if (q.mode == EQ_MODE_DOUBLE) {
    add(out, a, a_step, b, b_step, n, &q, false, false, EQ_FORM_DOUBLE, EQ_FORM_DOUBLE);
  } else if (q.mode == EQ_MODE_SINGLE) {
    add(out, a, a_step, b, b_step, n, &q, false, false, EQ_FORM_WIDE, EQ_FORM_WIDE);
  } else {
    add(out, a, a_step, b, b_step, n, &q, false, false, EQ_FORM_EXACT, EQ_FORM_EXACT);
  }
}
#endif
