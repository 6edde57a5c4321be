/* SPDX-License-Identifier: Apache-2.0
 * How depthwise kernels make codes, decided once per call. */
#ifndef EDGEQ_DEPTHWISE_FORM_NEON_H
#define EDGEQ_DEPTHWISE_FORM_NEON_H

#include "kernels/neon/depthwise_neon.h"

/* True when high products can lose EQ_DEPTHWISE_CUT bits and be saturated to 16 before they are shifted, which the
 * smallest and the largest shift tell: more bits are shifted out; and what saturates becomes 255 or more, as
 * 2^bits >> (bits - 8) is 256, or nothing does, for 2^14 * taps + |bias| < 2^(bits + EQ_DEPTHWISE_CUT). Of 16 bits,
 * `bits` are left for positive products: all where negative ones become 0. */
static inline bool eq_can_cut(const eq_linear_s8 *linear, int32_t channels, int32_t taps, int32_t least, int32_t largest,
                              int32_t bits) {
  if (largest >= -EQ_DEPTHWISE_CUT) return false;
  if (least >= 8 - bits - EQ_DEPTHWISE_CUT) return true;
  const int32_t limit = (1 << (bits + EQ_DEPTHWISE_CUT)) - (taps << 14);
  int32x4_t low = vdupq_n_s32(0), high = low;
  for (int32_t c = 0; c < channels; c += 4) {
    const int32x4_t bias = vld1q_s32(linear->bias + eq_min32(c, channels - 4));
    low = vminq_s32(low, bias);
    high = vmaxq_s32(high, bias);
  }
  return vmaxvq_s32(high) < limit && vminvq_s32(low) > -limit;
}

/* How the assembly makes codes of sums of `taps` products; channels >= 8. */
static inline int32_t eq_depthwise_form(const eq_linear_s8 *linear, int32_t channels, int32_t taps) {
  int8x8_t largest = vld1_s8(linear->shifts + channels - 8), least = largest;
  if (channels >= EQ_DEPTHWISE_LANES) {
    int8x16_t high = vld1q_s8(linear->shifts + channels - EQ_DEPTHWISE_LANES), low = high;
    for (int32_t c = 0; c + EQ_DEPTHWISE_LANES < channels; c += EQ_DEPTHWISE_LANES) {
      const int8x16_t shifts = vld1q_s8(linear->shifts + c);
      high = vmaxq_s8(high, shifts);
      low = vminq_s8(low, shifts);
    }
    largest = vpmax_s8(vget_low_s8(high), vget_high_s8(high));
    least = vpmin_s8(vget_low_s8(low), vget_high_s8(low));
  } else {
    largest = vmax_s8(largest, vld1_s8(linear->shifts));
    least = vmin_s8(least, vld1_s8(linear->shifts));
  }
  const int32_t shift = vmaxv_s8(largest);
  const bool clamped = linear->zero == INT8_MIN && linear->act_min == INT8_MIN;
  if (linear->mode == EQ_MODE_DOUBLE && shift <= 0) {
    const bool all = linear->act_min == INT8_MIN && linear->act_max == INT8_MAX;
    /* assembly that cuts has at least two pairs of taps; that for nine keeps to ReLU */
    if (!all || taps <= 2 || (taps == 9 && !clamped)) return EQ_DW_GENERAL;
    if (!eq_can_cut(linear, channels, taps, vminv_s8(least), shift, clamped ? 16 : 15)) return EQ_DW_GENERAL;
    return clamped ? 0 : EQ_DW_SIGNED;
  }
  if (linear->mode == EQ_MODE_SHIFT) return EQ_DW_SHIFTED | (clamped ? 0 : EQ_DW_GENERAL);
  return linear->mode == EQ_MODE_SINGLE && shift < 0 ? EQ_DW_SINGLE | (clamped ? 0 : EQ_DW_GENERAL) : EQ_DW_OTHER;
}

#endif
