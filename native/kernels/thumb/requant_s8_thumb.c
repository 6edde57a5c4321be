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

#define SUM_AND_MULTIPLIER       \
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
  "ldrh r3, [r3, #2]\n\t"

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
            "push {r2}\n\t" SUM_AND_MULTIPLIER EQ_THUMB_PRODUCT round                                                      \
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
            "3:\n\t" EQ_THUMB_CLAMP                                                                 \
            "b 2b\n\t"                                                                            \
            "4:\n\t"                                                                                \
            "mov r0, r7\n\t"                                                                        \
            "add sp, #4\n\t" EQ_THUMB_END);                                                         \
  }
REQUANT(requant_double, EQ_THUMB_ROUND_DOUBLE)
REQUANT(requant_single, EQ_THUMB_ROUND_SINGLE)

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
