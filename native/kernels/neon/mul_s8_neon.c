/* SPDX-License-Identifier: Apache-2.0
 * Products of int8 codes, 32 at a time. */
#if defined(__aarch64__)
#include "edgeq/ops.h"
#include "kernels/neon/elementwise_neon.h"

/* Codes less their zero point, which has 9 bits. */
EQ_ALWAYS_INLINE void center(int16x8_t x[2], int8x16_t codes, int8x16_t zero) {
  x[0] = vsubl_s8(vget_low_s8(codes), vget_low_s8(zero));
  x[1] = vsubl_high_s8(codes, zero);
}

EQ_ALWAYS_INLINE void multiply(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                               const eq_mul_params *p, eq_requant_form form) {
  const int8x16_t zero_a = vdupq_n_s8((int8_t)p->zero_a), zero_b = vdupq_n_s8((int8_t)p->zero_b);
  const eq_channels4 scale = eq_scale_of(p->multiplier, p->shift, form);
  const eq_codes codes = eq_codes_within(p->zero, p->act_min, p->act_max);
#define MUL_32                                                                                              \
  _Pragma("GCC unroll 2") for (int i = 0; i < 2; i++) {                                                     \
    int16x8_t u[2], v[2];                                                                                   \
    center(u, x_a[i], zero_a);                                                                              \
    center(v, x_b[i], zero_b);                                                                              \
    y[i] = eq_codes16(eq_requant4(vmull_s16(vget_low_s16(u[0]), vget_low_s16(v[0])), &scale, form),         \
                      eq_requant4(vmull_high_s16(u[0], v[0]), &scale, form),                                \
                      eq_requant4(vmull_s16(vget_low_s16(u[1]), vget_low_s16(v[1])), &scale, form),         \
                      eq_requant4(vmull_high_s16(u[1], v[1]), &scale, form), &codes);                       \
  }
  EQ_FOR_32(out, a, a_step, b, b_step, n, MUL_32);
}

void eq_mul_s8_neon(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                    const eq_mul_params *p) {
  const eq_mul_params q = *p; /* which out cannot alias */
  const eq_requant_form form = eq_scale_form(q.mode, q.shift, q.act_min >= q.zero);
  if (form == EQ_FORM_UP) {
    multiply(out, a, a_step, b, b_step, n, &q, EQ_FORM_UP);
  } else if (form == EQ_FORM_AWAY) {
    multiply(out, a, a_step, b, b_step, n, &q, EQ_FORM_AWAY);
  } else if (form == EQ_FORM_SINGLE) {
    multiply(out, a, a_step, b, b_step, n, &q, EQ_FORM_SINGLE);
  } else if (form == EQ_FORM_SHIFT) {
    multiply(out, a, a_step, b, b_step, n, &q, EQ_FORM_SHIFT);
  } else if (form == EQ_FORM_DOUBLE) {
    multiply(out, a, a_step, b, b_step, n, &q, EQ_FORM_DOUBLE);
  } else if (form == EQ_FORM_WIDE) {
    multiply(out, a, a_step, b, b_step, n, &q, EQ_FORM_WIDE);
  } else {
    multiply(out, a, a_step, b, b_step, n, &q, EQ_FORM_EXACT);
  }
}
#endif
