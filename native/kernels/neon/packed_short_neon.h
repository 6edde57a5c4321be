/* SPDX-License-Identifier: Apache-2.0
 * Rows of at most eight inputs times sixteen packed channels (layout C4K16).
 *
 * With so few inputs a tile would mostly add up its sums' lanes. Here channels stay in lanes: a vector of weights is two
 * inputs of each of eight channels, an input pair is copied to every lane, and the one addition of neighbours that
 * widens products to int32 also finishes their channel's sum. */
#ifndef EDGEQ_PACKED_SHORT_NEON_H
#define EDGEQ_PACKED_SHORT_NEON_H

#include "kernels/neon/requant_neon.h"

enum { EQ_SHORT_INPUTS = 8, EQ_SHORT_CHANNELS = 16 };

/* What sixteen channels need. */
typedef struct eq_short_channels {
  int8x16_t weights[2][4]; /* of each half: input pairs; channels 0-3 and 4-7 of the half in halves of the vector */
  eq_channels4 constants[4];
  int16x8_t zero;
} eq_short_channels;

/* False when a weight is -128: then two products may leave int16. Groups of four channels are group_bytes apart. */
static inline bool eq_load_short(eq_short_channels *s, const int8_t *weights, size_t group_bytes,
                                 const eq_linear_s8 *linear, int32_t first, eq_requant_form form) {
  int8x16_t least = vdupq_n_s8(0);
  for (int half = 0; half < 2; half++) {
    /* a channel's second four pairs are padding, and lie in the upper halves of 32 bits */
    const int16_t *group = (const int16_t *)(const void *)(weights + 16);
    const int16x8x4_t low = vld4q_s16(group);
    const int16x8x4_t high = vld4q_s16(group + group_bytes / 2);
    for (int pair = 0; pair < 4; pair++) {
      const int16x4_t four = vmovn_s32(vreinterpretq_s32_s16(low.val[pair]));
      s->weights[half][pair] = vreinterpretq_s8_s16(vmovn_high_s32(four, vreinterpretq_s32_s16(high.val[pair])));
      least = vminq_s8(least, s->weights[half][pair]);
    }
    weights += 2 * group_bytes;
    eq_load_channels8(s->constants + 2 * half, linear, first + 8 * half, form);
  }
  s->zero = vdupq_n_s16((int16_t)linear->zero);
  return vminvq_s8(least) > INT8_MIN;
}

/* The codes of one row, without bounds but saturation; 16 bytes at x are read. */
EQ_ALWAYS_INLINE int8x16_t eq_short_row(const int8_t *x, const eq_short_channels *s, eq_requant_form form) {
  const int16x8_t inputs = vreinterpretq_s16_s8(vld1q_s8(x));
  const int8x16_t pairs[4] = {
      vreinterpretq_s8_s16(vdupq_laneq_s16(inputs, 0)), vreinterpretq_s8_s16(vdupq_laneq_s16(inputs, 1)),
      vreinterpretq_s8_s16(vdupq_laneq_s16(inputs, 2)), vreinterpretq_s8_s16(vdupq_laneq_s16(inputs, 3)),
  };
  int32x4_t sums[4];
#pragma GCC unroll 2
  for (int half = 0; half < 2; half++) {
    const int8x16_t *w = s->weights[half];
    int16x8_t low = vmull_s8(vget_low_s8(pairs[0]), vget_low_s8(w[0]));
    int16x8_t high = vmull_high_s8(pairs[0], w[0]);
    low = vmlal_s8(low, vget_low_s8(pairs[1]), vget_low_s8(w[1]));
    high = vmlal_high_s8(high, pairs[1], w[1]);
    sums[2 * half] = vpaddlq_s16(low);
    sums[2 * half + 1] = vpaddlq_s16(high);
    low = vmull_s8(vget_low_s8(pairs[2]), vget_low_s8(w[2]));
    high = vmull_high_s8(pairs[2], w[2]);
    low = vmlal_s8(low, vget_low_s8(pairs[3]), vget_low_s8(w[3]));
    high = vmlal_high_s8(high, pairs[3], w[3]);
    sums[2 * half] = vpadalq_s16(sums[2 * half], low);
    sums[2 * half + 1] = vpadalq_s16(sums[2 * half + 1], high);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    sums[i] = eq_requant4(vaddq_s32(sums[i], s->constants[i].bias), &s->constants[i], form);
  }
  const int16x8_t low = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(sums[0]), sums[1]), s->zero);
  const int16x8_t high = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(sums[2]), sums[3]), s->zero);
  return vqmovn_high_s16(vqmovn_s16(low), high);
}

/* m rows. */
EQ_ALWAYS_INLINE void eq_run_short(int8_t *out, size_t out_stride, const int8_t *x, size_t x_stride, int32_t m,
                                   const eq_short_channels *channels, eq_requant_form form) {
  const eq_short_channels s = *channels;
  for (; m > 0; m--, x += x_stride, out += out_stride) vst1q_s8(out, eq_short_row(x, &s, form));
}

#endif
