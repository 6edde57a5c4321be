/* SPDX-License-Identifier: Apache-2.0
 * What the linear kernels of Thumb-1 share: codes of a tile's sums, and how their assembly begins and ends. */
#ifndef EDGEQ_REQUANT_THUMB_H
#define EDGEQ_REQUANT_THUMB_H

#include "kernels/kernels.h"

enum { EQ_TILE = 16 /* channels whose sums wait on the stack */ };

/* eq_requant_s8. */
void eq_requant_s8_thumb(int8_t *restrict out, const int32_t *restrict sums, int32_t first, int32_t n,
                         const eq_linear_s8 *linear);

/* A function whose body is assembly over all registers, with its one argument in r0 and at [sp]. */
#define EQ_THUMB_FUNCTION __attribute__((naked, noinline))
#define EQ_THUMB_BEGIN        \
  ".syntax unified\n\t"       \
  "push {r4-r7, lr}\n\t"      \
  "mov r4, r8\n\t"            \
  "mov r5, r9\n\t"            \
  "mov r6, r10\n\t"           \
  "mov r7, r11\n\t"           \
  "push {r0, r4-r7}\n\t"
/* r0 is what it returns. */
#define EQ_THUMB_END          \
  "pop {r3-r7}\n\t"           \
  "mov r8, r4\n\t"            \
  "mov r9, r5\n\t"            \
  "mov r10, r6\n\t"           \
  "mov r11, r7\n\t"           \
  "pop {r4-r7, pc}"

/* r3 + (r4 >> 15) = r1 * m / 2^31 with m's low half in r2 and its high one, which is not negative, in r3; takes r5. The
 * number x of r1 and m are xh * 2^16 + xl and mh * 2^16 + ml with 0 <= xl, ml < 2^16, |xh| <= 2^15 and 0 <= mh < 2^15, so
 * that all four products fit 32 bits, as do the sums
 *     u = xh * ml + (xl * ml >> 16),  |u| < 2^31: xh * ml <= (2^15 - 1) (2^16 - 1), and
 *     v = xl * mh + (u & 0xFFFF) < 2^31;
 * x * m is ((xh * mh + (u >> 16)) << 32) + (v << 16), less than 2^16 left out. From bit 31 on it is
 * 2 (xh * mh + (u >> 16)) + (v >> 15); the last bit that LSRS drops of v, bit 30 of x * m, is left in the carry. */
#define EQ_THUMB_PRODUCT         \
  "uxth r4, r1\n\t"              \
  "asrs r1, r1, #16\n\t"         \
  "mov r5, r2\n\t"               \
  "muls r5, r4, r5\n\t"          \
  "muls r2, r1, r2\n\t"          \
  "muls r4, r3, r4\n\t"          \
  "muls r3, r1, r3\n\t"          \
  "lsrs r5, r5, #16\n\t"         \
  "adds r2, r2, r5\n\t"          \
  "uxth r5, r2\n\t"              \
  "adds r4, r4, r5\n\t"          \
  "asrs r2, r2, #16\n\t"         \
  "adds r3, r3, r2\n\t"          \
  "adds r3, r3, r3\n\t"          \
  "lsrs r4, r4, #15\n\t"

/* Its rounding in mode double, and what makes ties of a negative number round down in the shift that follows; an ASRS
 * leaves the last bit that it drops in the carry, for ADCS to add as half of the last place. */
#define EQ_THUMB_ROUND_DOUBLE    \
  "adcs r3, r3, r4\n\t"          \
  "asrs r5, r3, #31\n\t"         \
  "adds r3, r3, r5\n\t"
#define EQ_THUMB_ROUND_SINGLE "adds r3, r3, r4\n\t"

/* r3 clamped to 0 .. r12, of which it lies outside. */
#define EQ_THUMB_CLAMP           \
  "asrs r3, r3, #31\n\t"         \
  "mov r5, r12\n\t"              \
  "bics r5, r5, r3\n\t"          \
  "mov r3, r5\n\t"

#endif
