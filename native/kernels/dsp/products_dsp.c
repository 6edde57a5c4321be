/* SPDX-License-Identifier: Apache-2.0
 * Products of widened rows with pairs of channels: one word of weights serves eight multiplications by two. */
#if defined(__ARM_FEATURE_DSP) && __ARM_ARCH_PROFILE == 'M'
#include "kernels/dsp/products_dsp.h"

#pragma GCC diagnostic ignored "-Wunused-parameter" /* the assembly uses them */

#define NAKED __attribute__((naked, noinline))
#define LINE(text) text "\n\t"

/* r0 is to, r3 counts blocks, r4 to r7 are the rows. */
NAKED void eq_widen_dsp(eq_wide_dsp *to, const int8_t *const rows[4], size_t from, int32_t blocks) {
  __asm__(
      LINE("push {r4-r11, lr}")
      LINE("ldmia r1, {r4-r7}")
      LINE("add r4, r2")
      LINE("add r5, r2")
      LINE("add r6, r2")
      LINE("add r7, r2")
      "1:\n\t"
      LINE("ldr r8, [r4], #4")
      LINE("ldr r9, [r5], #4")
      LINE("ldr r10, [r6], #4")
      LINE("ldr r11, [r7], #4")
      LINE("sxtb16 r1, r8")
      LINE("sxtb16 r2, r9")
      LINE("sxtb16 r12, r10")
      LINE("sxtb16 lr, r11")
      LINE("stmia r0!, {r1, r2, r12, lr}")
      LINE("sxtb16 r8, r8, ror #8")
      LINE("sxtb16 r9, r9, ror #8")
      LINE("sxtb16 r10, r10, ror #8")
      LINE("sxtb16 r11, r11, ror #8")
      LINE("stmia r0!, {r8-r11}")
      LINE("subs r3, #1")
      LINE("bne 1b")
      LINE("pop {r4-r11, pc}"));
}

/* Two inputs of four rows with one word of weights: sums of channel 0 are in r4 to r7, those of channel 1 in r8 to r11. */
#define HALF                       \
  LINE("ldr lr, [r1], #4")         \
  LINE("ldmia r0!, {r2, r3}")      \
  LINE("sxtb16 r12, lr")           \
  LINE("sxtb16 lr, lr, ror #8")    \
  LINE("smlad r4, r2, r12, r4")    \
  LINE("smlad r8, r2, lr, r8")     \
  LINE("smlad r5, r3, r12, r5")    \
  LINE("smlad r9, r3, lr, r9")     \
  LINE("ldmia r0!, {r2, r3}")      \
  LINE("smlad r6, r2, r12, r6")    \
  LINE("smlad r10, r2, lr, r10")   \
  LINE("smlad r7, r3, r12, r7")    \
  LINE("smlad r11, r3, lr, r11")

/* r0 is x, r1 is w. On the stack: sums, x, the end of a pair's weights, w_skip, sums_end, w_bytes. */
NAKED void eq_add_products_dsp(int32_t *sums, const eq_wide_dsp *x, const eq_pairs_dsp *pairs) {
  __asm__(
      LINE("push {r4-r11, lr}")
      LINE("ldmia r2, {r3-r6}")
      LINE("push {r0, r1, r3, r4, r5, r6}")
      LINE("mov r1, r3")
      "1:\n\t"
      LINE("ldrd r2, r0, [sp]")
      LINE("ldr r3, [sp, #20]")
      LINE("ldmia r2, {r4-r11}")
      LINE("add r12, r1, r3")
      LINE("str r12, [sp, #8]")
      LINE("tst r3, #8")
      LINE("bne 3f") /* an odd number of blocks */
      "2:\n\t"
      HALF
      HALF
      "3:\n\t"
      HALF
      HALF
      LINE("ldr lr, [sp, #8]")
      LINE("cmp r1, lr")
      LINE("bne 2b")
      LINE("ldr r2, [sp]")
      LINE("ldrd r3, r12, [sp, #12]")
      LINE("stmia r2!, {r4-r11}")
      LINE("str r2, [sp]")
      LINE("add r1, r3")
      LINE("cmp r2, r12")
      LINE("bne 1b")
      LINE("add sp, #24")
      LINE("pop {r4-r11, pc}"));
}

/* Four inputs, widened in r8 and r9, with the two words of a pair. */
#define PAIR(w, a, b)                 \
  LINE("ldrd r10, r11, [" w "], #8")  \
  LINE("sxtb16 r12, r10")             \
  LINE("sxtb16 r10, r10, ror #8")     \
  LINE("smlad " a ", r8, r12, " a)    \
  LINE("smlad " b ", r8, r10, " b)    \
  LINE("sxtb16 r12, r11")             \
  LINE("sxtb16 r11, r11, ror #8")     \
  LINE("smlad " a ", r9, r12, " a)    \
  LINE("smlad " b ", r9, r11, " b)

#define FOUR_CHANNELS              \
  LINE("ldr r8, [r1], #4")         \
  LINE("sxtb16 r9, r8, ror #8")    \
  LINE("sxtb16 r8, r8")            \
  PAIR("r2", "r4", "r5")           \
  PAIR("r3", "r6", "r7")

/* r1 is x, r2 and r3 are the weights of two pairs. On the stack: x, distance, w_skip, sums_end, w_bytes. */
NAKED void eq_add_dots_dsp(int32_t *sums, const int8_t *x, const eq_pairs_dsp *pairs, size_t distance) {
  __asm__(
      LINE("push {r4-r11, lr}")
      LINE("ldmia r2, {r4-r7}")
      LINE("push {r1, r3, r5, r6, r7}")
      LINE("mov r2, r4")
      "1:\n\t"
      LINE("ldrd r1, r12, [sp]")
      LINE("ldr lr, [sp, #16]")
      LINE("ldmia r0, {r4-r7}")
      LINE("add r3, r2, r12")
      LINE("tst lr, #8")
      LINE("add lr, lr, #8")
      LINE("lsr lr, lr, #4") /* turns of two blocks, the first of one if their number is odd */
      LINE("bne 3f")
      "2:\n\t"
      FOUR_CHANNELS
      "3:\n\t"
      FOUR_CHANNELS
      LINE("subs lr, #1")
      LINE("bne 2b")
      LINE("ldrd r12, lr, [sp, #8]")
      LINE("stmia r0!, {r4-r7}")
      LINE("add r2, r3, r12")
      LINE("cmp r0, lr")
      LINE("bne 1b")
      LINE("add sp, #20")
      LINE("pop {r4-r11, pc}"));
}
#endif
