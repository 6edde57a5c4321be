/* SPDX-License-Identifier: Apache-2.0
 * Sums of int8 codes whose rescalings are all to the right, with 64-bit products. */
#if defined(__ARM_ARCH_7M__)
#include "edgeq/fixed_point.h"
#include "edgeq/ops.h"
#include "kernels/kernels.h"

eq_add_s8_fn eq_add_s8_scalar;

enum { LEFT_SHIFT = 20 /* that the assembly has, with one more to double */ };

/* What the assembly takes; it knows the offsets. */
typedef struct sum {
  const int8_t *a;
  const int8_t *b;
  int8_t *out;
  const int8_t *end; /* of a */
  int32_t multiplier_a;
  int32_t multiplier_b;
  int32_t multiplier;
  int32_t right_a; /* shifts, negated, >= 0; that of the sum > 0 */
  int32_t right_b;
  int32_t right;
  int32_t zero;
  uint32_t zero_a; /* times 2^(LEFT_SHIFT + 1) */
  uint32_t zero_b;
} sum;

/* r11 = x / 2^right from r11 = 2x: the high word of a doubled number's product is the doubled product's. Half of the last
 * place is what ASRS leaves in the carry, and for right = 0 what came before does: in mode double a negative number less
 * one, which leaves the carry set, is itself again. |2x| <= 2^30. */
#define SCALE_DOUBLE(m, right)            \
  "smull r12, r11, r11, " m "\n\t"        \
  "adds r12, r12, r12\n\t"                \
  "adc r11, r11, #0\n\t"                  \
  "adds r11, r11, r11, asr #31\n\t"       \
  "asrs r11, r11, " right "\n\t"
#define SCALE_SINGLE(m, right)            \
  "smull r12, r11, r11, " m "\n\t"        \
  "adds r12, r12, r12\n\t"                \
  "asrs r11, r11, " right "\n\t"

#define ADD(name, scale)                                                           \
  static __attribute__((naked, noinline)) void name(__attribute__((unused)) const sum *s) { \
    __asm__(                                                                       \
        "push {r4-r11, lr}\n\t"                                                    \
        "ldrd r11, r12, [r0, #44]\n\t"                                             \
        "push {r11, r12}\n\t"                                                      \
        "ldm r0, {r0-r10}\n\t"                                                     \
        "1:\n\t"                                                                   \
        "ldrsb r12, [r0], #1\n\t"                                                  \
        "ldr r11, [sp]\n\t"                                                        \
        "rsb r11, r11, r12, lsl #21\n\t" scale("r4", "r7")                         \
        "ldrsb r12, [r1], #1\n\t"                                                  \
        "adc lr, r11, #0\n\t"                                                      \
        "ldr r11, [sp, #4]\n\t"                                                    \
        "rsb r11, r11, r12, lsl #21\n\t" scale("r5", "r8")                         \
        "adc r11, r11, lr\n\t"                                                     \
        "lsls r11, r11, #1\n\t" scale("r6", "r9")                                  \
        "adc r11, r11, r10\n\t"                                                    \
        "ssat r11, #8, r11\n\t"                                                    \
        "strb r11, [r2], #1\n\t"                                                   \
        "cmp r0, r3\n\t"                                                           \
        "bne 1b\n\t"                                                               \
        "pop {r11, r12}\n\t"                                                       \
        "pop {r4-r11, pc}");                                                       \
  }
ADD(add_double, SCALE_DOUBLE)
ADD(add_single, SCALE_SINGLE)

void eq_add_s8_thumb2(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                      const struct eq_add_params *p) {
  const int32_t mode = eq_mode(p->mode);
  const bool right = p->shift_a <= 0 && p->shift_b <= 0 && p->shift < 0;
  const bool all_codes = p->act_min == INT8_MIN && p->act_max == INT8_MAX;
  if (mode == EQ_MODE_EXACT || p->left_shift != LEFT_SHIFT || p->sign < 0 || !right || !all_codes || a_step != 1 ||
      b_step != 1) {
    eq_add_s8_scalar(out, a, a_step, b, b_step, n, p);
    return;
  }
  if (n == 0) return;
  const sum s = {
      .a = a, .b = b, .out = out, .end = a + n,
      .multiplier_a = p->multiplier_a, .multiplier_b = p->multiplier_b, .multiplier = p->multiplier,
      .right_a = -p->shift_a, .right_b = -p->shift_b, .right = -p->shift, .zero = p->zero,
      .zero_a = (uint32_t)p->zero_a << (LEFT_SHIFT + 1), .zero_b = (uint32_t)p->zero_b << (LEFT_SHIFT + 1),
  };
  if (mode == EQ_MODE_DOUBLE) {
    add_double(&s);
  } else {
    add_single(&s);
  }
}
#endif
