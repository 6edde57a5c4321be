/* SPDX-License-Identifier: Apache-2.0
 * Softmax of int8 rows: the largest code 16 at a time, quotients 8 at a time. */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"

enum { LANES = 8 };

static inline int32_t largest_of(const int8_t *in, int32_t depth) {
  int32_t largest = INT8_MIN, i = 0;
  if (depth >= 16) {
    int8x16_t found = vld1q_s8(in + depth - 16);
    for (; i + 16 <= depth; i += 16) found = vmaxq_s8(found, vld1q_s8(in + i));
    return vmaxvq_s8(found);
  }
  for (; i < depth; i++) largest = eq_max32(largest, in[i]);
  return largest;
}

/* Exponentials are >= 0, and so are quotients: their ties are rounded up, which is away from zero. */
static inline int32x4_t exponentials(const int32_t exps[256], int32_t largest, const int8_t *in) {
  const int32_t found[4] = {exps[largest - in[0]], exps[largest - in[1]], exps[largest - in[2]], exps[largest - in[3]]};
  return vld1q_s32(found);
}

void eq_softmax_s8_neon(int8_t *out, const int8_t *in, const int32_t exps[256], int32_t rows, int32_t depth) {
  for (int32_t row = 0; row < rows; row++, in += depth, out += depth) {
    const int32_t largest = largest_of(in, depth);
    int32x4_t sums = vdupq_n_s32(0);
    int32_t i = 0;
    for (; i + LANES <= depth; i += LANES) {
      sums = vrsraq_n_s32(sums, exponentials(exps, largest, in + i), 12);
      sums = vrsraq_n_s32(sums, exponentials(exps, largest, in + i + 4), 12);
    }
    int32_t sum = vaddvq_s32(sums); /* Q12.19, < 4096 * 2^19 */
    for (; i < depth; i++) sum += eq_rdp(exps[largest - in[i]], 12);

    const int32_t headroom = eq_clz32((uint32_t)sum); /* <= 12, for the largest code's part is 2^19 */
    const int32_t inverse = eq_recip1p((int32_t)(((uint32_t)sum << headroom) - UINT32_C(0x80000000)));
    const int32_t shift = 12 - headroom + 31 - 8; /* a shift of 32 or more leaves 0 */
    const int32x4_t right = vdupq_n_s32(-shift);
    for (i = 0; i + LANES <= depth; i += LANES) {
      int32x4_t low = vqrdmulhq_n_s32(exponentials(exps, largest, in + i), inverse);
      int32x4_t high = vqrdmulhq_n_s32(exponentials(exps, largest, in + i + 4), inverse);
      low = vrshlq_s32(low, right);
      high = vrshlq_s32(high, right);
      const int16x8_t quotients = vuzp1q_s16(vreinterpretq_s16_s32(low), vreinterpretq_s16_s32(high)); /* <= 256 */
      vst1_s8(out + i, vqmovn_s16(vsubq_s16(quotients, vdupq_n_s16(128))));
    }
    for (; i < depth; i++) {
      const int32_t y = shift > 31 ? 0 : eq_rdp(eq_srdhm(inverse, exps[largest - in[i]]), shift);
      out[i] = (int8_t)eq_clamp32(y - 128, INT8_MIN, INT8_MAX);
    }
  }
}
#endif
