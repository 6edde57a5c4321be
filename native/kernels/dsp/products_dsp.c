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

/* Two inputs of four rows, whose sums are in r4 to r11, with one word of weights. */
#define HALF                       \
  LINE("ldr lr, [r1], #4")         \
  LINE("ldmia r0!, {r2, r3}")      \
  LINE("sxtb16 r12, lr")           \
  LINE("sxtb16 lr, lr, ror #8")    \
  LINE("smlad r4, r2, r12, r4")    \
  LINE("smlad r5, r2, lr, r5")     \
  LINE("smlad r6, r3, r12, r6")    \
  LINE("smlad r7, r3, lr, r7")     \
  LINE("ldmia r0!, {r2, r3}")      \
  LINE("smlad r8, r2, r12, r8")    \
  LINE("smlad r9, r2, lr, r9")     \
  LINE("smlad r10, r3, r12, r10")  \
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

/* r1 is x, r2 is w, r3 is v, lr counts blocks; the last argument lies on the stack. */
NAKED void eq_add_dots_dsp(int32_t sums[4], const int8_t *x, const int8_t *w, const int8_t *v, int32_t blocks) {
  __asm__(
      LINE("push {r4-r11, lr}")
      LINE("ldr lr, [sp, #36]")
      LINE("ldmia r0, {r4-r7}")
      LINE("tst lr, #1")
      LINE("add lr, lr, #1")
      LINE("lsr lr, lr, #1") /* twice as many, the first time one if their number is odd */
      LINE("bne 2f")
      "1:\n\t"
      FOUR_CHANNELS
      "2:\n\t"
      FOUR_CHANNELS
      LINE("subs lr, #1")
      LINE("bne 1b")
      LINE("stmia r0, {r4-r7}")
      LINE("pop {r4-r11, pc}"));
}
#endif
