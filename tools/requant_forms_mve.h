/* SPDX-License-Identifier: Apache-2.0
 * Cortex-M55 MVE: 4 outputs at a time. */
#include <arm_mve.h>

#include "requant_forms_bare.h"

/* x + (bits >> 31): less one where bits are negative. */
static inline int32x4_t add_sign(int32x4_t x, int32x4_t bits) { return vaddq_s32(x, vshrq_n_s32(bits, 31)); }

#include "requant_forms_lanes.h"

#define LOOP(name, form, wide)                                                                           \
  LOOP_FUNCTION name(const request *r, int32_t n, bounds to) {                                           \
    const int32_t *sums = r->sums, *m = r->m, *left = r->left, *right = r->right;                        \
    int8_t *out = r->out;                                                                                \
    const int32x4_t lo = vdupq_n_s32(to.lo), hi = vdupq_n_s32(to.hi);                                    \
    for (int32_t i = 0; i < n; i += 4) {                                                                 \
      int32x4_t x = vldrwq_s32(sums);                                                                    \
      if (wide) x = vshlq_s32(x, vldrwq_s32(left));                                                      \
      const int32x4_t y = form(x, vldrwq_s32(m), vldrwq_s32(right));                                     \
      vstrbq_s32(out, vminq_s32(vmaxq_s32(vaddq_n_s32(y, to.zero), lo), hi));                            \
      sums += 4, m += 4, left += 4, right += 4, out += 4;                                                \
    }                                                                                                    \
  }
