/* SPDX-License-Identifier: Apache-2.0
 * Codes of four places side by side, as SDOT adds their products: quads. */
#ifndef EDGEQ_QUADS_DOTPROD_H
#define EDGEQ_QUADS_DOTPROD_H

#include "kernels/neon/requant_neon.h"

#define QUAD_INLINE __attribute__((target("arch=armv8.2-a+dotprod"))) EQ_ALWAYS_INLINE

enum { GROUP = 8 /* channels */, QUAD = 4 };

/* Eight channels at four places, a channel's codes side by side. */
QUAD_INLINE void interleave(int8x16_t quad[2], int8x8_t a, int8x8_t b, int8x8_t c, int8x8_t d) {
  const int8x8_t none = vdup_n_s8(0);
  const int16x8_t ab = vreinterpretq_s16_s8(vzip1q_s8(vcombine_s8(a, none), vcombine_s8(b, none)));
  const int16x8_t cd = vreinterpretq_s16_s8(vzip1q_s8(vcombine_s8(c, none), vcombine_s8(d, none)));
  quad[0] = vreinterpretq_s8_s16(vzip1q_s16(ab, cd));
  quad[1] = vreinterpretq_s8_s16(vzip2q_s16(ab, cd));
}

#endif
