/* SPDX-License-Identifier: Apache-2.0
 * Weighted sum of four int8 vectors, 16 elements at a time; for 32-bit NEON too. */
#if defined(__ARM_NEON)
#include <arm_neon.h>

#include "kernels/kernels.h"

eq_blend_s8_fn eq_blend_s8_scalar;

enum { LANES = 16 };

static inline void add_tap(int32x4_t sums[4], int8x16_t codes, int32_t weight) {
  const int16x8_t low = vmovl_s8(vget_low_s8(codes)), high = vmovl_s8(vget_high_s8(codes));
  sums[0] = vmlaq_n_s32(sums[0], vmovl_s16(vget_low_s16(low)), weight);
  sums[1] = vmlaq_n_s32(sums[1], vmovl_s16(vget_high_s16(low)), weight);
  sums[2] = vmlaq_n_s32(sums[2], vmovl_s16(vget_low_s16(high)), weight);
  sums[3] = vmlaq_n_s32(sums[3], vmovl_s16(vget_high_s16(high)), weight);
}

/* sum / 2^20, rounded to nearest, ties away from zero: ties go up, and negative sums are less by one before. */
static inline int32x4_t quotient(int32x4_t sum) { return vrshrq_n_s32(vsraq_n_s32(sum, sum, 31), 20); }

static inline void blend_block(int8_t *out, const int8_t *const in[4], const int32_t weights[4], int32_t first) {
  const int32x4_t none = vdupq_n_s32(0);
  int32x4_t sums[4] = {none, none, none, none};
  for (int32_t tap = 0; tap < 4; tap++) add_tap(sums, vld1q_s8(in[tap] + first), weights[tap]);
  const int16x8_t low = vcombine_s16(vmovn_s32(quotient(sums[0])), vmovn_s32(quotient(sums[1])));
  const int16x8_t high = vcombine_s16(vmovn_s32(quotient(sums[2])), vmovn_s32(quotient(sums[3])));
  vst1q_s8(out + first, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}

void eq_blend_s8_neon(int8_t *out, const int8_t *const in[4], const int32_t weights[4], int32_t n) {
  if (n < LANES) {
    eq_blend_s8_scalar(out, in, weights, n);
    return;
  }
  for (int32_t first = 0; first + LANES <= n; first += LANES) blend_block(out, in, weights, first);
  if (n % LANES != 0) blend_block(out, in, weights, n - LANES); /* moved back until it ends with the vector */
}
#endif
