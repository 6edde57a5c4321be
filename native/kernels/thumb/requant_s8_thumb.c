/* SPDX-License-Identifier: Apache-2.0
 * From int32 sums to int8 codes: the high word of a product out of 16-bit pieces. */
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
#include "edgeq/fixed_point.h"
#include "kernels/requant.h"
#include "kernels/thumb/requant_thumb.h"

/* What the assembly takes; it knows the offsets. Pointers point behind the last of the channels. */
typedef struct channels {
  const int32_t *sums;
  const int32_t *bias;
  const int32_t *multipliers;
  const int8_t *shifts;
  uint32_t range; /* act_max - act_min */
  int32_t zero;   /* above act_min */
  int32_t low;    /* act_min */
  int8_t *out;
  int32_t at; /* 4 * channel, from -4 * n to 0 */
} channels;

/* x = sum + bias and m are xh * 2^16 + xl and mh * 2^16 + ml with 0 <= xl, ml < 2^16, |xh| <= 2^15 and 0 <= mh < 2^15, so
 * that all four products fit 32 bits, as do the sums
 *     u = xh * ml + (xl * ml >> 16),  |u| < 2^31: xh * ml <= (2^15 - 1) (2^16 - 1), and
 *     v = xl * mh + (u & 0xFFFF) < 2^31;
 * x * m is ((xh * mh + (u >> 16)) << 32) + (v << 16), less than 2^16 left out. Its upper part from bit 31 on is
 * 2 (xh * mh + (u >> 16)) + (v >> 15); the last bit that LSRS drops of v, bit 30 of x * m, is then in the carry. */
#define HIGH_PRODUCT             \
  "1:\n\t"                       \
  "mov r0, r11\n\t"              \
  "asrs r5, r7, #2\n\t"          \
  "ldrsb r0, [r0, r5]\n\t"       \
  "rsbs r0, r0, #0\n\t"          \
  "ble 4f\n\t"                   \
  "mov r1, r8\n\t"               \
  "ldr r1, [r1, r7]\n\t"         \
  "mov r2, r9\n\t"               \
  "ldr r2, [r2, r7]\n\t"         \
  "adds r1, r1, r2\n\t"          \
  "mov r3, r10\n\t"              \
  "adds r3, r3, r7\n\t"          \
  "ldrh r2, [r3]\n\t"            \
  "ldrh r3, [r3, #2]\n\t"        \
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
/* Rounded by the carry; a negative number less one rounds its ties down. */
#define ROUND_DOUBLE             \
  "adcs r3, r3, r4\n\t"          \
  "asrs r5, r3, #31\n\t"         \
  "adds r3, r3, r5\n\t"
#define ROUND_SINGLE "adds r3, r3, r4\n\t"

/* Codes of channels from `at` on as long as shifts are below 0; returns where it stopped. ASRS leaves the last bit that it
 * drops in the carry, which ADCS adds as half of the last place. */
#define REQUANT(name, round)                                                                        \
  static EQ_THUMB_FUNCTION int32_t name(__attribute__((unused)) const channels *c) {                \
    __asm__(EQ_THUMB_BEGIN                                                                          \
            "ldm r0!, {r1-r6}\n\t"                                                                  \
            "mov r8, r1\n\t"                                                                        \
            "mov r9, r2\n\t"                                                                        \
            "mov r10, r3\n\t"                                                                       \
            "mov r11, r4\n\t"                                                                       \
            "mov r12, r5\n\t"                                                                       \
            "ldm r0!, {r1, r2, r3}\n\t"                                                             \
            "mov lr, r1\n\t"                                                                        \
            "mov r7, r3\n\t"                                                                        \
            "push {r2}\n\t" HIGH_PRODUCT round                                                      \
            "asrs r3, r3, r0\n\t"                                                                   \
            "adcs r3, r3, r6\n\t"                                                                   \
            "cmp r3, r12\n\t"                                                                       \
            "bhi 3f\n\t"                                                                            \
            "2:\n\t"                                                                                \
            "add r3, r3, lr\n\t"                                                                    \
            "asrs r5, r7, #2\n\t"                                                                   \
            "ldr r0, [sp]\n\t"                                                                      \
            "strb r3, [r0, r5]\n\t"                                                                 \
            "adds r7, r7, #4\n\t"                                                                   \
            "bne 1b\n\t"                                                                            \
            "b 4f\n\t"                                                                              \
            "3:\n\t" /* 0 for a number below, the range for one above */                            \
            "asrs r3, r3, #31\n\t"                                                                  \
            "mov r5, r12\n\t"                                                                       \
            "bics r5, r5, r3\n\t"                                                                   \
            "mov r3, r5\n\t"                                                                        \
            "b 2b\n\t"                                                                              \
            "4:\n\t"                                                                                \
            "mov r0, r7\n\t"                                                                        \
            "add sp, #4\n\t" EQ_THUMB_END);                                                         \
  }
REQUANT(requant_double, ROUND_DOUBLE)
REQUANT(requant_single, ROUND_SINGLE)

void eq_requant_s8_thumb(int8_t *restrict out, const int32_t *restrict sums, int32_t first, int32_t n,
                         const eq_linear_s8 *linear) {
  const int32_t mode = eq_mode(linear->mode);
  if (mode == EQ_MODE_EXACT) {
    eq_requant_s8(out, sums, first, n, linear);
    return;
  }
  channels c = {
      .sums = sums + n,
      .bias = linear->bias + first + n,
      .multipliers = linear->multipliers + first + n,
      .shifts = linear->shifts + first + n,
      .range = (uint32_t)(linear->act_max - linear->act_min),
      .zero = linear->zero - linear->act_min,
      .low = linear->act_min,
      .out = out + n,
      .at = -4 * n,
  };
  while (c.at < 0) {
    c.at = mode == EQ_MODE_DOUBLE ? requant_double(&c) : requant_single(&c);
    if (c.at == 0) break;
    const int32_t stopped = n + c.at / 4;
    eq_requant_s8(out + stopped, sums + stopped, first + stopped, 1, linear);
    c.at += 4;
  }
}
#endif
