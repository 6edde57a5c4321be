/* SPDX-License-Identifier: Apache-2.0
 * Cortex-M55 MVE: 4 outputs at a time. Right shifts are stored negated, as VRSHL takes them. */
#include <arm_mve.h>

#include "requant_forms_bare.h"

#define SINGLE_LAYOUT ROUNDED
#define DOUBLE_LAYOUT PLAIN
enum { RIGHT_SIGN = -1 };

static inline int32x4_t single(int32x4_t x, int32x4_t m, int32x4_t right) {
  return vrshlq_s32(vqdmulhq_s32(x, m), right);
}

static inline int32x4_t double_up(int32x4_t x, int32x4_t m, int32x4_t right) {
  return vrshlq_s32(vqrdmulhq_s32(x, m), right);
}

/* A negative number less one rounds its ties down. right is negative or 0, so high & right has the sign of high where
 * there is a shift, and is 0 where there is none. */
static inline int32x4_t both(int32x4_t x, int32x4_t m, int32x4_t right) {
  const int32x4_t high = vqrdmulhq_s32(x, m);
  return vrshlq_s32(vaddq_s32(high, vshrq_n_s32(vandq_s32(high, right), 31)), right);
}

static inline int32x4_t both_narrow(int32x4_t x, int32x4_t m, int32x4_t right) {
  const int32x4_t high = vqrdmulhq_s32(x, m);
  return vrshlq_s32(vaddq_s32(high, vshrq_n_s32(high, 31)), right);
}

static inline int32x4_t exact(int32x4_t x, int32x4_t m, int32x4_t right) {
  const int32x4_t y = single(vabsq_s32(x), m, right), sign = vshrq_n_s32(x, 31);
  return vsubq_s32(veorq_s32(y, sign), sign);
}

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

LOOP(single_narrow, single, 0)
LOOP(single_wide, single, 1)
LOOP(double_up_narrow, double_up, 0)
LOOP(double_up_wide, double_up, 1)
LOOP(double_narrow, both_narrow, 0)
LOOP(double_wide, both, 1)
LOOP(exact_narrow, exact, 0)
LOOP(exact_wide, exact, 1)
