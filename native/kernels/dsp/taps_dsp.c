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

/* lr is the first of the pairs that there are. On the stack: sums, the pairs, pixels, x_pixel. */
NAKED void eq_add_taps_dsp(int32_t *sums, const int8_t *x, const eq_taps_dsp *taps, int32_t pixels) {
  __asm__(
      LINE("push {r4-r11, lr}")
      LINE("ldmia r2!, {r5, r6}")
      LINE("movs r7, #52")
      LINE("adr.w lr, 3f")
      LINE("mls lr, r5, r7, lr")
      LINE("push {r0, r2, r3, r6}")
      LINE("mov r3, r1")
      "1:\n\t"
      LINE("ldrd r1, r0, [sp]")
      LINE("ldr r4, [r1]")
      LINE("ldr r5, [r1, #16]")
      LINE("ldr r6, [r1, #32]")
      LINE("ldr r7, [r1, #48]")
      LINE("mov pc, lr")
      ".balign 4\n\t"
      PAIR PAIR PAIR PAIR PAIR
      "3:\n\t"
      LINE("ldr r1, [sp]")
      LINE("str r5, [r1, #16]")
      LINE("str r6, [r1, #32]")
      LINE("str r7, [r1, #48]")
      LINE("str r4, [r1], #4")
      LINE("str r1, [sp]")
      LINE("ldrd r1, r2, [sp, #8]")
      LINE("add r3, r2")
      LINE("subs r1, #1")
      LINE("str r1, [sp, #8]")
      LINE("bne 1b")
      LINE("add sp, #16")
      LINE("pop {r4-r11, pc}"));
}

NAKED void eq_pair_taps_dsp(int32_t to[EQ_TAP_LANES_DSP], const int8_t *w, const int8_t *v) {
  __asm__(
      LINE("ldr r1, [r1]")
      LINE("ldr r2, [r2]")
      LINE("pkhbt r3, r1, r2, lsl #16")
      LINE("pkhtb r2, r2, r1, asr #16")
      LINE("sxtb16 r1, r3")
      LINE("sxtb16 r3, r3, ror #8")
      LINE("strd r1, r3, [r0]")
      LINE("sxtb16 r1, r2")
      LINE("sxtb16 r2, r2, ror #8")
      LINE("strd r1, r2, [r0, #8]")
      LINE("bx lr"));
}
#endif
