/* SPDX-License-Identifier: Apache-2.0
 * From int32 sums to int8 codes that are the top byte of a saturated number, four channels at a time.
 *
 * A channel with the multiplier m and the shift -e, 0 <= e <= 23, and the code's zero point z have the code
 *   clamp(z + floor((h + r) / 2^e)) = the top byte of (h + o) * 2^(24 - e), saturated to 32 bits, where
 *   h = SQRDMULH(x, m), r = 2^(e - 1), for e = 0 nothing, and o = z * 2^e + r, |o| < 2^31.
 * SQRDMLAH adds h to o; where that saturates, |h + o| / 2^e >= 2^8 and the code is a bound already. So one instruction
 * each multiplies, shifts, rounds, adds the zero point and clamps, and none narrows: halves are picked. */
#ifndef EDGEQ_TOP_BYTE_DOTPROD_H
#define EDGEQ_TOP_BYTE_DOTPROD_H

#include "kernels/neon/requant_neon.h"

/* A function of at most 2 KiB lies in one page: it takes one entry of the TLB, and emulators do not cut its loops in two.
 * Where size is what counts, its place is not worth the padding. */
#if defined(__OPTIMIZE_SIZE__)
#define EQ_ONE_PAGE
#else
#define EQ_ONE_PAGE __attribute__((aligned(2048)))
#endif
#define EQ_TOP_INLINE __attribute__((target("arch=armv8.2-a+dotprod"))) EQ_ALWAYS_INLINE

/* The constants of eight channels. */
typedef struct eq_top8 {
  int32_t up[8];     /* 24 - e */
  int32_t offset[8]; /* o */
} eq_top8;

/* Which form codes of n channels are top bytes in, UP or AWAY; EXACT where they are not: the bounds are -128 and 127, the
 * shifts within -23 .. 0, in form AWAY -23 .. -1. */
EQ_ALWAYS_INLINE eq_requant_form eq_top_form_of(const eq_linear_s8 *linear, int32_t n) {
  if (linear->mode != EQ_MODE_DOUBLE || linear->act_min != INT8_MIN || linear->act_max != INT8_MAX) return EQ_FORM_EXACT;
  const bool up = linear->zero == INT8_MIN;
  const int32_t least = up ? 0 : 1;
  uint32_t largest = 0; /* of -shift - least, as an unsigned number */
  if (n >= 16) {
    const int8x16_t from = vdupq_n_s8((int8_t)-least);
    uint8x16_t found = vreinterpretq_u8_s8(vsubq_s8(from, vld1q_s8(linear->shifts + (n - 16))));
    for (int32_t i = 0; i + 16 <= n; i += 16) {
      found = vmaxq_u8(found, vreinterpretq_u8_s8(vsubq_s8(from, vld1q_s8(linear->shifts + i))));
    }
    largest = vmaxvq_u8(found);
  } else {
    for (int32_t i = 0; i < n; i++) {
      const uint8_t found = (uint8_t)(-linear->shifts[i] - least);
      if (found > largest) largest = found;
    }
  }
  return largest > (uint32_t)(23 - least) ? EQ_FORM_EXACT : up ? EQ_FORM_UP : EQ_FORM_AWAY;
}

/* The constants of channels first .. first + 7, all of which exist. */
EQ_ALWAYS_INLINE void eq_load_top8(eq_top8 *top, const eq_linear_s8 *linear, int32_t first) {
  const int16x8_t shifts = vmovl_s8(vld1_s8(linear->shifts + first));
  const int32x4_t zero = vdupq_n_s32(2 * linear->zero + 1); /* and a half, times two */
#pragma GCC unroll 2
  for (int h = 0; h < 2; h++) {
    const int32x4_t shift = h == 0 ? vmovl_s16(vget_low_s16(shifts)) : vmovl_high_s16(shifts);
    vst1q_s32(top->up + 4 * h, vaddq_s32(shift, vdupq_n_s32(24)));
    vst1q_s32(top->offset + 4 * h, vshlq_s32(zero, vmvnq_s32(shift))); /* by e - 1, for e = 0 down by 1 */
  }
}

/* Instructions from here on stay in their order, as some of them multiply, which one pipe of two does, and some shift,
 * which the other does: compilers would let one pipe wait for the other. */

/* Eight constants, loaded wherever they are used: copies between registers would take the multipliers' time. */
EQ_TOP_INLINE void eq_load_8(int32x4_t to[2], const int32_t from[8]) {
  __asm__ volatile("ldp %q0, %q1, [%2]"
                   : "=w"(to[0]), "=w"(to[1])
                   : "r"(from), "m"(*(const int32_t(*)[8])from));
}

/* offset + the product of a sum x, bias included; form AWAY where negative ones round down, too: they are less by one
 * ahead of the shift, or their product is 0 and both round to 0. */
EQ_TOP_INLINE void eq_multiply_top(int32x4_t *offset, int32x4_t x, int32x4_t multipliers, bool away) {
  if (away) __asm__ volatile("ssra %0.4s, %1.4s, #31" : "+w"(*offset) : "w"(x));
  __asm__ volatile("sqrdmlah %0.4s, %1.4s, %2.4s" : "+w"(*offset) : "w"(x), "w"(multipliers));
}

EQ_TOP_INLINE void eq_shift_top(int32x4_t *y, int32x4_t up) {
  __asm__ volatile("sqshl %0.4s, %0.4s, %1.4s" : "+w"(*y) : "w"(up));
}

/* The top bytes of two times eight numbers, eight to either place. */
EQ_TOP_INLINE void eq_store_tops(int8_t *low, int8_t *high, const int32x4_t y[4]) {
  int8_t(*const to)[8] = (int8_t(*)[8])low, (*const to_high)[8] = (int8_t(*)[8])high;
  int16x8_t a, b;
  __asm__ volatile("uzp2 %0.8h, %1.8h, %2.8h" : "=w"(a) : "w"(y[0]), "w"(y[1]));
  __asm__ volatile("uzp2 %0.8h, %1.8h, %2.8h" : "=w"(b) : "w"(y[2]), "w"(y[3]));
  __asm__ volatile("uzp2 %0.16b, %0.16b, %1.16b" : "+w"(a) : "w"(b));
  __asm__ volatile("str %d1, %0" : "=Q"(*to) : "w"(a));
  __asm__ volatile("st1 {%1.d}[1], %0" : "=Q"(*to_high) : "w"(a));
}

/* The same of eight numbers. */
EQ_TOP_INLINE void eq_store_top(int8_t *to, const int32x4_t y[2]) {
  int16x8_t a;
  __asm__ volatile("uzp2 %0.8h, %1.8h, %2.8h" : "=w"(a) : "w"(y[0]), "w"(y[1]));
  __asm__ volatile("uzp2 %0.16b, %0.16b, %0.16b" : "+w"(a));
  __asm__ volatile("str %d1, %0" : "=Q"(*(int8_t(*)[8])to) : "w"(a));
}

/* The codes of `rows` times eight sums, an even number of rows up to 8: while two rows are multiplied, two are shifted and
 * two are stored. */
EQ_TOP_INLINE void eq_store_top_rows(int8_t *out, size_t stride, const int32_t multipliers[8], const eq_top8 *top,
                                     const int32x4_t *sums, int rows, bool away) {
  const int32x4_t m[2] = {vld1q_s32(multipliers), vld1q_s32(multipliers + 4)};
  const int32x4_t up[2] = {vld1q_s32(top->up), vld1q_s32(top->up + 4)};
  const int pairs = rows / 2;
  int32x4_t y[4][4];
#pragma GCC unroll 6
  for (int pair = 0; pair < pairs + 2; pair++) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      if (pair < pairs && i % 2 == 0) eq_load_8(&y[pair][i], top->offset);
      if (pair < pairs) eq_multiply_top(&y[pair][i], sums[4 * pair + i], m[i % 2], away);
      if (pair > 0 && pair <= pairs) eq_shift_top(&y[pair - 1][i], up[i % 2]);
    }
    if (pair < 2) continue;
    eq_store_tops(out, out + stride, y[pair - 2]);
    out += 2 * stride;
  }
}

#endif
