/* SPDX-License-Identifier: Apache-2.0
 * The loop of elementwise kernels on two int8 operands: 16 elements at a time. */
#ifndef EDGEQ_ELEMENTWISE_NEON_H
#define EDGEQ_ELEMENTWISE_NEON_H

#include "kernels/neon/requant_neon.h"

/* A multiplier and shift that all elements share. */
EQ_ALWAYS_INLINE eq_channels4 eq_scale_of(int32_t multiplier, int32_t shift, eq_requant_form form) {
  return eq_channels4_of(vdupq_n_s32(0), vdupq_n_s32(multiplier), vdupq_n_s32(shift), form);
}

/* The form that serves one shift in a mode; `unseen` when negative results are clamped. */
EQ_ALWAYS_INLINE eq_requant_form eq_scale_form(int32_t mode, int32_t shift, bool unseen) {
  if (mode == EQ_MODE_EXACT) return EQ_FORM_EXACT;
  if (mode == EQ_MODE_SHIFT) return EQ_FORM_SHIFT;
  if (mode == EQ_MODE_SINGLE) return shift < 0 ? EQ_FORM_SINGLE : EQ_FORM_WIDE;
  if (shift <= 0 && unseen) return EQ_FORM_UP;
  return shift < 0 ? EQ_FORM_AWAY : EQ_FORM_DOUBLE;
}

/* The codes of step->zero, act_min and act_max. */
EQ_ALWAYS_INLINE eq_codes eq_codes_within(int32_t zero, int32_t act_min, int32_t act_max) {
  const eq_linear_s8 bounds = {.zero = zero, .act_min = act_min, .act_max = act_max};
  return eq_codes_of(&bounds);
}

/* A loop over 32 elements at a time: `body` sets int8x16_t y[2] from x_a[2] and x_b[2]. The rest of fewer than 32 goes
 * through copies, for out may be an operand and nothing may be touched beyond. */
#define EQ_FOR_32(out, a, a_step, b, b_step, n, body)                                            \
  do {                                                                                           \
    int8_t same_a[32], same_b[32]; /* an operand that stays, or the rest of one */               \
    const int8_t *next_a = (a), *next_b = (b);                                                   \
    int8_t *next = (out);                                                                        \
    int32_t left = (n);                                                                          \
    const size_t step_a = (a_step) == 0 ? 0 : 32, step_b = (b_step) == 0 ? 0 : 32;               \
    if (step_a == 0) next_a = eq_spread_32(same_a, left > 0 ? *next_a : 0);                      \
    if (step_b == 0) next_b = eq_spread_32(same_b, left > 0 ? *next_b : 0);                      \
    for (; left >= 32; left -= 32, next_a += step_a, next_b += step_b, next += 32) {             \
      const int8x16_t x_a[2] = {vld1q_s8(next_a), vld1q_s8(next_a + 16)};                        \
      const int8x16_t x_b[2] = {vld1q_s8(next_b), vld1q_s8(next_b + 16)};                        \
      int8x16_t y[2];                                                                            \
      body;                                                                                      \
      vst1q_s8(next, y[0]);                                                                      \
      vst1q_s8(next + 16, y[1]);                                                                 \
    }                                                                                            \
    if (left > 0) {                                                                              \
      for (int32_t i = 0; i < left && step_a != 0; i++) same_a[i] = next_a[i];                   \
      for (int32_t i = 0; i < left && step_b != 0; i++) same_b[i] = next_b[i];                   \
      const int8x16_t x_a[2] = {vld1q_s8(same_a), vld1q_s8(same_a + 16)};                        \
      const int8x16_t x_b[2] = {vld1q_s8(same_b), vld1q_s8(same_b + 16)};                        \
      int8x16_t y[2];                                                                            \
      body;                                                                                      \
      vst1q_s8(same_a, y[0]);                                                                    \
      vst1q_s8(same_a + 16, y[1]);                                                               \
      for (int32_t i = 0; i < left; i++) next[i] = same_a[i];                                    \
    }                                                                                            \
  } while (0)

EQ_ALWAYS_INLINE const int8_t *eq_spread_32(int8_t to[32], int8_t code) {
  vst1q_s8(to, vdupq_n_s8(code));
  vst1q_s8(to + 16, vdupq_n_s8(code));
  return to;
}

#endif
