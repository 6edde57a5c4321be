/* SPDX-License-Identifier: Apache-2.0
 * From int32 sums to int8 codes in MVE registers, four channels at a time: the vector twin of eq_requant_s8. */
#ifndef EDGEQ_REQUANT_MVE_H
#define EDGEQ_REQUANT_MVE_H

#include <arm_mve.h>

#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"

#define EQ_ALWAYS_INLINE static inline __attribute__((always_inline))
#define EQ_NOINLINE __attribute__((noinline)) /* so that assembly finds registers */

/* The instructions that turn a sum into a result, chosen once for all channels of a call. */
typedef enum eq_way {
  EQ_WAY_UP,     /* mode double, no left shifts, negative results are clamped: nobody sees where their ties went */
  EQ_WAY_AWAY,   /* mode double, right shifts only */
  EQ_WAY_DOUBLE, /* mode double, no left shifts */
  EQ_WAY_SINGLE, /* mode single, right shifts only */
  EQ_WAY_EXACT,  /* mode exact, right shifts only */
  EQ_WAY_SHIFT,  /* mode shift */
  EQ_WAY_SCALAR, /* everything else: by eq_requant_s8 */
} eq_way;

/* The way for a mode when no shift is above `largest`; `unseen` when negative results are clamped. */
EQ_ALWAYS_INLINE eq_way eq_way_of(int32_t mode, int32_t largest, bool unseen) {
  if (mode == EQ_MODE_SHIFT) return EQ_WAY_SHIFT;
  if (mode == EQ_MODE_DOUBLE) {
    return largest > 0 ? EQ_WAY_SCALAR : unseen ? EQ_WAY_UP : largest < 0 ? EQ_WAY_AWAY : EQ_WAY_DOUBLE;
  }
  if (largest >= 0) return EQ_WAY_SCALAR;
  return mode == EQ_MODE_SINGLE ? EQ_WAY_SINGLE : EQ_WAY_EXACT;
}

/* The way that serves n channels of a layer. */
EQ_ALWAYS_INLINE eq_way eq_way_of_linear(const eq_linear_s8 *linear, int32_t n) {
  int8x16_t found = vdupq_n_s8(INT8_MIN);
  const int8_t *shifts = linear->shifts;
  for (; n >= 16; n -= 16, shifts += 16) found = vmaxq_s8(found, vldrbq_s8(shifts));
  if (n > 0) {
    const mve_pred16_t present = vctp8q((uint32_t)n);
    found = vmaxq_m_s8(found, found, vldrbq_z_s8(shifts, present), present);
  }
  return eq_way_of(eq_mode(linear->mode), vmaxvq_s8(INT8_MIN, found), linear->act_min >= linear->zero);
}

/* What turns sums of four channels into results. */
typedef struct eq_scale4 {
  int32x4_t multipliers; /* negated for EQ_WAY_EXACT */
  int32x4_t shifts;      /* less one for EQ_WAY_SHIFT */
} eq_scale4;

EQ_ALWAYS_INLINE eq_scale4 eq_scale4_of(int32x4_t multipliers, int32x4_t shifts, eq_way way) {
  if (way == EQ_WAY_EXACT) multipliers = vnegq_s32(multipliers);
  if (way == EQ_WAY_SHIFT) shifts = vsubq_n_s32(shifts, 1);
  return (eq_scale4){multipliers, shifts};
}

/* requant(x) for sums x to which the bias was added, not for EQ_WAY_SCALAR. No high product saturates, for multipliers
 * are >= 0. */
EQ_ALWAYS_INLINE int32x4_t eq_requant4(int32x4_t x, eq_scale4 c, eq_way way) {
  if (way == EQ_WAY_UP) return vrshlq_s32(vqrdmulhq_s32(x, c.multipliers), c.shifts);
  if (way == EQ_WAY_AWAY || way == EQ_WAY_DOUBLE) {
    /* A negative number less one rounds its ties down. high & shift has the sign of high where there is a shift. */
    const int32x4_t high = vqrdmulhq_s32(x, c.multipliers);
    const int32x4_t shifted = way == EQ_WAY_AWAY ? high : vandq_s32(high, c.shifts);
    return vrshlq_s32(vaddq_s32(high, vshrq_n_s32(shifted, 31)), c.shifts);
  }
  if (way == EQ_WAY_SINGLE) return vrshlq_s32(vqdmulhq_s32(x, c.multipliers), c.shifts);
  if (way == EQ_WAY_EXACT) {
    /* Less one where negative, ahead of a floor, is the complement of the magnitude's floor. Minus the magnitude exists
     * for every x, and its product with minus the multiplier does not saturate. */
    const int32x4_t floor = vqdmulhq_s32(vminq_s32(x, vnegq_s32(x)), c.multipliers);
    return vrshlq_s32(veorq_s32(floor, vshrq_n_s32(x, 31)), c.shifts);
  }
  return vrshlq_s32(x, c.shifts);
}

/* What results become codes with. */
typedef struct eq_codes {
  int32_t zero;
  int32x4_t least;
  int32x4_t largest;
} eq_codes;

EQ_ALWAYS_INLINE eq_codes eq_codes_of(int32_t zero, int32_t act_min, int32_t act_max) {
  return (eq_codes){zero, vdupq_n_s32(act_min), vdupq_n_s32(act_max)};
}

/* clamp(zero + y); the sum saturates. */
EQ_ALWAYS_INLINE int32x4_t eq_code4(int32x4_t y, const eq_codes *codes) {
  return vminq_s32(vmaxq_s32(vqaddq_n_s32(y, codes->zero), codes->least), codes->largest);
}

/* Do `work(way)` with the constant that is the value of `chosen`, which is not EQ_WAY_SCALAR. */
#define EQ_FOR_WAY(chosen, work)            \
  do {                                      \
    if ((chosen) == EQ_WAY_UP) {            \
      work(EQ_WAY_UP);                      \
    } else if ((chosen) == EQ_WAY_AWAY) {   \
      work(EQ_WAY_AWAY);                    \
    } else if ((chosen) == EQ_WAY_DOUBLE) { \
      work(EQ_WAY_DOUBLE);                  \
    } else if ((chosen) == EQ_WAY_SINGLE) { \
      work(EQ_WAY_SINGLE);                  \
    } else if ((chosen) == EQ_WAY_EXACT) {  \
      work(EQ_WAY_EXACT);                   \
    } else {                                \
      work(EQ_WAY_SHIFT);                   \
    }                                       \
  } while (0)

/* out[i] = clamp(zero + requant(bias + sums[i])) with the constants of channel first + i, for i < n: eq_requant_s8. */
void eq_finish_mve(int8_t *out, const int32_t *sums, int32_t first, int32_t n, const eq_linear_s8 *linear, eq_way way);

#endif
