/* SPDX-License-Identifier: Apache-2.0
 * Sums of int8 codes whose rescalings are all to the right, without 64-bit products. */
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
#include "edgeq/fixed_point.h"
#include "edgeq/ops.h"
#include "kernels/kernels.h"
#include "kernels/thumb/requant_thumb.h"

eq_add_s8_fn eq_add_s8_scalar;

enum { LEFT_SHIFT = 20 /* that the assembly has */ };

/* How an operand is rescaled. */
typedef struct term {
  int32_t zero;
  int32_t low_half; /* of the multiplier */
  int32_t high_half; /* of the multiplier, times 2^5 */
  int32_t right;     /* the shift, negated, >= 0 */
} term;

/* What the assembly takes; it knows the offsets. Pointers point behind the last elements. */
typedef struct sum {
  term a;
  term b;
  int32_t low_half;
  int32_t high_half;
  int32_t right; /* > 0 */
  const int8_t *a_end;
  const int8_t *b_end;
  int8_t *out_end;
  int32_t zero;   /* above act_min */
  uint32_t range; /* act_max - act_min */
  int32_t low;    /* act_min */
  int32_t n;
} sum;

/* r1 = d * m * 2^20 / 2^31 shifted to the right, the last bit dropped in the carry, of an operand's d, |d| <= 255, for
 * m = mh * 2^16 + ml: that is d * mh * 2^5 + (d * ml >> 11), and the first bit behind it is what ASRS drops. For a shift by
 * 0 the carry stays what came before: in mode double a negative number less one, which sets it, is itself again. */
#define TERM(at, zero, low_half, high_half, right, round) \
  "mov r1, " at "\n\t"                                    \
  "ldrsb r1, [r1, r6]\n\t"                                \
  "ldr r2, [r7, #" zero "]\n\t"                           \
  "subs r1, r1, r2\n\t"                                   \
  "ldr r2, [r7, #" low_half "]\n\t"                       \
  "muls r2, r1, r2\n\t"                                   \
  "ldr r3, [r7, #" high_half "]\n\t"                      \
  "muls r1, r3, r1\n\t"                                   \
  "asrs r2, r2, #11\n\t" round                            \
  "ldr r2, [r7, #" right "]\n\t"                          \
  "asrs r1, r1, r2\n\t"
#define ROUND_TERM_DOUBLE      \
  "adcs r1, r1, r2\n\t"        \
  "asrs r2, r1, #31\n\t"       \
  "adds r1, r1, r2\n\t"
#define ROUND_TERM_SINGLE "add r1, r1, r2\n\t"

#define ADD(name, round_term, round)                                        \
  static EQ_THUMB_FUNCTION void name(__attribute__((unused)) const sum *s) { \
    __asm__(EQ_THUMB_BEGIN                                                  \
            "mov r7, r0\n\t"                                                \
            "adds r0, r0, #44\n\t"                                          \
            "ldm r0!, {r1-r6}\n\t"                                          \
            "mov r8, r1\n\t"                                                \
            "mov r9, r2\n\t"                                                \
            "mov r10, r3\n\t"                                               \
            "mov r11, r4\n\t"                                               \
            "mov r12, r5\n\t"                                               \
            "mov lr, r6\n\t"                                                \
            "ldr r6, [r0]\n\t"                                              \
            "rsbs r6, r6, #0\n\t"                                           \
            "1:\n\t" TERM("r8", "0", "4", "8", "12", round_term)            \
            "movs r0, #0\n\t"                                               \
            "adcs r0, r0, r1\n\t"                                           \
            TERM("r9", "16", "20", "24", "28", round_term)                  \
            "adcs r1, r1, r0\n\t"                                           \
            "ldr r2, [r7, #32]\n\t"                                         \
            "ldr r3, [r7, #36]\n\t" EQ_THUMB_PRODUCT round                  \
            "ldr r4, [r7, #40]\n\t"                                         \
            "asrs r3, r3, r4\n\t"                                           \
            "mov r4, r11\n\t"                                               \
            "adcs r3, r3, r4\n\t"                                           \
            "cmp r3, r12\n\t"                                               \
            "bhi 3f\n\t"                                                    \
            "2:\n\t"                                                        \
            "add r3, r3, lr\n\t"                                            \
            "mov r4, r10\n\t"                                               \
            "strb r3, [r4, r6]\n\t"                                         \
            "adds r6, r6, #1\n\t"                                           \
            "bne 1b\n\t"                                                    \
            "b 4f\n\t"                                                      \
            "3:\n\t" EQ_THUMB_CLAMP                                         \
            "b 2b\n\t"                                                      \
            "4:\n\t" EQ_THUMB_END);                                         \
  }
ADD(add_double, ROUND_TERM_DOUBLE, EQ_THUMB_ROUND_DOUBLE)
ADD(add_single, ROUND_TERM_SINGLE, EQ_THUMB_ROUND_SINGLE)

static int32_t low_half(int32_t m) { return m & 0xFFFF; }
static int32_t high_half(int32_t m) { return eq_asr32(m, 16); }

void eq_add_s8_thumb(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                     const struct eq_add_params *p) {
  const int32_t mode = eq_mode(p->mode);
  const bool right = p->shift_a <= 0 && p->shift_b <= 0 && p->shift < 0;
  if (mode == EQ_MODE_EXACT || p->left_shift != LEFT_SHIFT || p->sign < 0 || !right || a_step != 1 || b_step != 1) {
    eq_add_s8_scalar(out, a, a_step, b, b_step, n, p);
    return;
  }
  if (n == 0) return;
  const sum s = {
      .a = {p->zero_a, low_half(p->multiplier_a), high_half(p->multiplier_a) << 5, -p->shift_a},
      .b = {p->zero_b, low_half(p->multiplier_b), high_half(p->multiplier_b) << 5, -p->shift_b},
      .low_half = low_half(p->multiplier), .high_half = high_half(p->multiplier), .right = -p->shift,
      .a_end = a + n, .b_end = b + n, .out_end = out + n, .zero = p->zero - p->act_min,
      .range = (uint32_t)(p->act_max - p->act_min), .low = p->act_min, .n = n,
  };
  if (mode == EQ_MODE_DOUBLE) {
    add_double(&s);
  } else {
    add_single(&s);
  }
}
#endif
