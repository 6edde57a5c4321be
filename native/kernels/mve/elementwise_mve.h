/* SPDX-License-Identifier: Apache-2.0
 * The loop of elementwise kernels on two int8 operands: four elements at a time. */
#ifndef EDGEQ_ELEMENTWISE_MVE_H
#define EDGEQ_ELEMENTWISE_MVE_H

#include "edgeq/memory.h"
#include "kernels/mve/requant_mve.h"

/* Two operands and their result; the elements that are no multiple of four are left to the scalar kernel. */
typedef struct eq_fours {
  int8_t *out;
  const int8_t *a;
  const int8_t *b;
  size_t a_step;
  size_t b_step;
  int32_t n;
} eq_fours;

/* The operands of a kernel; one that is the same element for all is spread over four bytes. */
EQ_ALWAYS_INLINE eq_fours eq_fours_of(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step,
                                      int32_t n, int8_t same_a[4], int8_t same_b[4]) {
  eq_fours f = {.out = out, .a = a, .b = b, .a_step = 4, .b_step = 4, .n = n / 4};
  if (a_step == 0 && n > 0) {
    eq_fill(same_a, (uint8_t)*a, 4);
    f.a = same_a, f.a_step = 0;
  }
  if (b_step == 0 && n > 0) {
    eq_fill(same_b, (uint8_t)*b, 4);
    f.b = same_b, f.b_step = 0;
  }
  return f;
}

/* A multiplier and shift that all elements share; negated for EQ_WAY_EXACT and less one for EQ_WAY_SHIFT. */
typedef struct eq_scale {
  int32_t multiplier;
  int32_t shift;
} eq_scale;

EQ_ALWAYS_INLINE eq_scale eq_scale_of(int32_t multiplier, int32_t shift, eq_way way) {
  return (eq_scale){way == EQ_WAY_EXACT ? -multiplier : multiplier, way == EQ_WAY_SHIFT ? shift - 1 : shift};
}

/* eq_requant4 with one scale. Its shift alone says whether EQ_WAY_DOUBLE shifts, and ties then are as in EQ_WAY_UP. */
EQ_ALWAYS_INLINE int32x4_t eq_requant4_by(int32x4_t x, eq_scale c, eq_way way) {
  if (way == EQ_WAY_UP || way == EQ_WAY_DOUBLE) return vrshlq_n_s32(vqrdmulhq_n_s32(x, c.multiplier), c.shift);
  if (way == EQ_WAY_AWAY) {
    const int32x4_t high = vqrdmulhq_n_s32(x, c.multiplier);
    return vrshlq_n_s32(vaddq_s32(high, vshrq_n_s32(high, 31)), c.shift);
  }
  if (way == EQ_WAY_SINGLE) return vrshlq_n_s32(vqdmulhq_n_s32(x, c.multiplier), c.shift);
  if (way == EQ_WAY_EXACT) {
    const int32x4_t floor = vqdmulhq_n_s32(vminq_s32(x, vnegq_s32(x)), c.multiplier);
    return vrshlq_n_s32(veorq_s32(floor, vshrq_n_s32(x, 31)), c.shift);
  }
  return vrshlq_n_s32(x, c.shift);
}

/* For every four elements: `body` makes int32x4_t y, results that become codes, of int32x4_t x_a and x_b. */
#define EQ_FOR_FOURS(f, codes, body)                                                   \
  for (; (f).n > 0; (f).n--, (f).a += (f).a_step, (f).b += (f).b_step, (f).out += 4) { \
    int32x4_t x_a = vldrbq_s32((f).a), x_b = vldrbq_s32((f).b), y;                     \
    body;                                                                              \
    vstrbq_s32((f).out, eq_code4(y, &(codes)));                                        \
  }

#endif
