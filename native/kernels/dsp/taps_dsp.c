/* SPDX-License-Identifier: Apache-2.0
 * Pairs of taps with four channels each, in assembly for the reasons that products_dsp.h gives. */
#if defined(__ARM_FEATURE_DSP) && __ARM_ARCH_PROFILE == 'M'
#include "kernels/dsp/taps_dsp.h"

#pragma GCC diagnostic ignored "-Wunused-parameter" /* the assembly uses them */

#define NAKED __attribute__((naked, noinline))
#define LINE(text) text "\n\t"

/* 52 bytes: channels' sums are in r4 to r7, r3 points to the pixel's first tap, r0 to the pair. */
#define PAIR                            \
  LINE("ldmia.w r0!, {r1, r2, r8-r11}") \
  LINE("ldr.w r1, [r3, r1]")            \
  LINE("ldr.w r2, [r3, r2]")            \
  LINE("pkhbt r12, r1, r2, lsl #16")    \
  LINE("pkhtb r2, r2, r1, asr #16")     \
  LINE("sxtb16 r1, r12")              \
  LINE("sxtb16 r12, r12, ror #8")     \
  LINE("smlad r4, r1, r8, r4")          \
  LINE("smlad r5, r12, r9, r5")         \
  LINE("sxtb16 r1, r2")               \
  LINE("sxtb16 r2, r2, ror #8")       \
  LINE("smlad r6, r1, r10, r6")         \
  LINE("smlad r7, r2, r11, r7")

/* lr is sums. On the stack: the pairs, the code of the first one that there is, pixels, x_pixel, bias. */
NAKED void eq_sum_taps_dsp(int32_t *sums, const int8_t *x, const eq_taps_dsp *taps, int32_t pixels) {
  __asm__(
      LINE("push {r4-r11, lr}")
      LINE("mov lr, r0")
      LINE("ldmia r2!, {r5, r6, r7}")
      LINE("movs r0, #52")
      LINE("adr.w r12, 3f")
      LINE("mls r4, r5, r0, r12")
      LINE("mov r5, r3")
      LINE("push {r2, r4, r5, r6, r7}")
      LINE("mov r3, r1")
      "1:\n\t"
      LINE("ldrd r0, r12, [sp]")
      LINE("ldr r1, [sp, #16]")
      LINE("ldmia r1, {r4-r7}")
      LINE("mov pc, r12")
      ".balign 4\n\t"
      PAIR PAIR PAIR PAIR PAIR
      "3:\n\t"
      LINE("ldrd r1, r2, [sp, #8]")
      LINE("str r5, [lr, #16]")
      LINE("str r6, [lr, #32]")
      LINE("str r7, [lr, #48]")
      LINE("str r4, [lr], #4")
      LINE("add r3, r2")
      LINE("subs r1, #1")
      LINE("str r1, [sp, #8]")
      LINE("bne 1b")
      LINE("add sp, #20")
      LINE("pop {r4-r11, pc}"));
}

/* r0 is the pair, r3 where its weights lie, r12 counts pairs; a pair has 24 bytes, 8 of them in front of its weights. */
NAKED void eq_widen_taps_dsp(eq_taps_dsp *taps, const int8_t *w) {
  __asm__(
      LINE("push {r4-r7}")
      LINE("ldr r12, [r0]")
      LINE("add r3, r0, #132") /* of w in taps */
      LINE("add r0, #12")
      "1:\n\t"
      LINE("ldrd r4, r5, [r3], #8")
      LINE("add r0, #8")
      LINE("ldr r4, [r1, r4]")
      LINE("ldr r5, [r1, r5]")
      LINE("pkhbt r6, r4, r5, lsl #16")
      LINE("pkhtb r7, r5, r4, asr #16")
      LINE("sxtb16 r4, r6")
      LINE("sxtb16 r5, r6, ror #8")
      LINE("sxtb16 r6, r7")
      LINE("sxtb16 r7, r7, ror #8")
      LINE("stmia r0!, {r4-r7}")
      LINE("subs r12, #1")
      LINE("bne 1b")
      LINE("pop {r4-r7}")
      LINE("bx lr"));
}

_Static_assert(offsetof(eq_taps_dsp, w) == 132 && offsetof(eq_taps_dsp, pairs) == 12 && sizeof(eq_tap_pair_dsp) == 24,
               "the assembly knows where these lie");
#endif
