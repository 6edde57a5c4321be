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

#define DOUBLE_CODE(x, m, e)             \
  LINE("lsl " x ", " x ", #1")             \
  LINE("smmulr " x ", " x ", " m)          \
  LINE("add " x ", " x ", " x ", asr #31") \
  LINE("asrs " x ", " x ", " e)            \
  LINE("adc " x ", " x ", r12")            \
  LINE("ssat " x ", #8, " x)
#define SINGLE_CODE(x, m, e)      \
  LINE("smmul " x ", " x ", " m) \
  LINE("asrs " x ", " x ", " e)  \
  LINE("adc " x ", " x ", r12")  \
  LINE("ssat " x ", #8, " x)

/* Store a pixel's four codes and go on to the next one; r0 points to the scales, r12 is the zero point. */
#define CODES(CODE)                     \
  LINE("ldrd r12, r0, [sp, #24]")       \
  LINE("ldmia.w r0!, {r1, r2, r8-r11}") \
  CODE("r4", "r1", "r2")                \
  LINE("ldrd r1, r2, [r0]")             \
  CODE("r5", "r8", "r9")                \
  CODE("r6", "r10", "r11")              \
  CODE("r7", "r1", "r2")                \
  LINE("ldr r1, [sp, #32]")             \
  LINE("strb r5, [lr, #1]")             \
  LINE("strb r6, [lr, #2]")             \
  LINE("strb r7, [lr, #3]")             \
  LINE("strb r4, [lr]")                 \
  LINE("add lr, r1")

/* lr is out. On the stack: the pairs, the code of the first one that there is, pixels, x_pixel, bias, the code behind the
 * pairs, zero, the scales, out_pixel. */
NAKED void eq_run_taps_dsp(void *out, const int8_t *x, const eq_taps_dsp *taps, int32_t pixels) {
  __asm__(
      LINE("push {r4-r11, lr}")
      LINE("sub sp, #36")
      LINE("mov lr, r0")
      LINE("ldmia r2!, {r5-r10}")
      LINE("movs r0, #52")
      LINE("adr.w r12, 3f")
      LINE("mls r4, r5, r0, r12")
      LINE("adr.w r11, 4f")
      LINE("cmp r8, #1")
      LINE("blo 2f")
      LINE("adr.w r11, 5f")
      LINE("beq 2f")
      LINE("adr.w r11, 6f")
      "2:\n\t"
      LINE("orr r11, #1")
      LINE("add r0, r2, #32") /* behind the scales */
      LINE("strd r0, r4, [sp]")
      LINE("strd r3, r6, [sp, #8]")
      LINE("strd r7, r11, [sp, #16]")
      LINE("strd r9, r2, [sp, #24]")
      LINE("str r10, [sp, #32]")
      LINE("mov r3, r1")
      "1:\n\t"
      LINE("ldrd r0, r12, [sp]")
      LINE("ldr r1, [sp, #16]")
      LINE("ldmia r1, {r4-r7}")
      LINE("mov pc, r12")
      ".balign 4\n\t"
      PAIR PAIR PAIR PAIR PAIR
      "3:\n\t"
      LINE("ldr pc, [sp, #20]")
      ".balign 4\n\t"
      "4:\n\t"
      LINE("str r5, [lr, #16]")
      LINE("str r6, [lr, #32]")
      LINE("str r7, [lr, #48]")
      LINE("str r4, [lr], #4")
      LINE("b 7f")
      ".balign 4\n\t"
      "5:\n\t"
      CODES(DOUBLE_CODE)
      LINE("b 7f")
      ".balign 4\n\t"
      "6:\n\t"
      CODES(SINGLE_CODE)
      "7:\n\t"
      LINE("ldrd r1, r2, [sp, #8]")
      LINE("add r3, r2")
      LINE("subs r1, #1")
      LINE("str r1, [sp, #8]")
      LINE("bne 1b")
      LINE("add sp, #36")
      LINE("pop {r4-r11, pc}"));
}

/* r0 is the pair, r3 where its weights lie, r12 counts pairs; a pair has 24 bytes, 8 of them in front of its weights. */
NAKED void eq_widen_taps_dsp(eq_taps_dsp *taps, const int8_t *w) {
  __asm__(
      LINE("push {r4-r7}")
      LINE("ldr r12, [r0]")
      LINE("add r3, r0, #176") /* of w in taps */
      LINE("add r0, #56")
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

_Static_assert(offsetof(eq_taps_dsp, scales) == 24 && offsetof(eq_taps_dsp, pairs) == 56 && offsetof(eq_taps_dsp, w) == 176 && sizeof(eq_tap_pair_dsp) == 24,
               "the assembly knows where these lie");
#endif
