/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution of int8 pixels: three neighbouring pixels of a channel under whole windows of 3x3, else one. */
#if defined(__ARM_ARCH_7M__)
#include "edgeq/memory.h"
#include "kernels/depthwise_tiles.h"
#include "kernels/thumb2/requant_thumb2.h"

enum { PIXELS = 3 };
_Static_assert(EQ_TILE == 16, "the assembly has the distances of the other pixels' sums");

/* A row of three taps under three pixels: r0 is x, r1 is w, r2 the step, r3 three steps, r4 and r5 the rows. */
#define ROW_3                            \
  "ldrsb r9, [r0]\n\t"                   \
  "ldrsb r10, [r0, r2]\n\t"              \
  "ldrsb r11, [r0, r2, lsl #1]\n\t"      \
  "ldrsb r12, [r1]\n\t"                  \
  "mla r6, r9, r12, r6\n\t"              \
  "mla r7, r10, r12, r7\n\t"             \
  "mla r8, r11, r12, r8\n\t"             \
  "ldrsb r9, [r0, r3]\n\t"               \
  "ldrsb r12, [r1, r2]\n\t"              \
  "mla r6, r10, r12, r6\n\t"             \
  "mla r7, r11, r12, r7\n\t"             \
  "mla r8, r9, r12, r8\n\t"              \
  "ldrsb r10, [r0, r2, lsl #2]\n\t"      \
  "ldrsb r12, [r1, r2, lsl #1]\n\t"      \
  "mla r6, r11, r12, r6\n\t"             \
  "mla r7, r9, r12, r7\n\t"              \
  "mla r8, r10, r12, r8\n\t"             \
  "add r0, r0, r4\n\t"                   \
  "add r1, r1, r5\n\t"
static __attribute__((naked, noinline)) void sum_three_3x3(__attribute__((unused)) eq_taps *t) {
  __asm__(
      "push {r4-r11, lr}\n\t"
      "mov lr, r0\n\t"
      "ldm r0, {r0-r2, r4, r5}\n\t"
      "add r3, r2, r2, lsl #1\n\t"
      "ldr r9, [lr, #40]\n\t"
      "1:\n\t"
      "ldr r6, [r9], #4\n\t"
      "str r9, [lr, #40]\n\t"
      "mov r7, r6\n\t"
      "mov r8, r6\n\t" ROW_3 ROW_3 ROW_3
      "ldrd r9, r10, [lr, #20]\n\t"
      "ldrd r11, r12, [lr, #28]\n\t"
      "add r0, r0, r9\n\t"
      "add r1, r1, r10\n\t"
      "str r7, [r11, #64]\n\t"
      "str r8, [r11, #128]\n\t"
      "str r6, [r11], #4\n\t"
      "subs r12, r12, #1\n\t"
      "strd r11, r12, [lr, #28]\n\t"
      "ldr r9, [lr, #40]\n\t"
      "bne 1b\n\t"
      "pop {r4-r11, pc}");
}

/* A row of taps under one pixel: r0 is x, r1 is w, r2 the step, r4 and r5 the rows. */
#define TAP_1              \
  "ldrsb r8, [r0]\n\t"     \
  "ldrsb r9, [r1]\n\t"     \
  "mla r6, r8, r9, r6\n\t"
#define TAP_2                  \
  "ldrsb r8, [r0, r2]\n\t"     \
  "ldrsb r9, [r1, r2]\n\t"     \
  "mla r6, r8, r9, r6\n\t"
#define TAP_3                          \
  "ldrsb r8, [r0, r2, lsl #1]\n\t"     \
  "ldrsb r9, [r1, r2, lsl #1]\n\t"     \
  "mla r6, r8, r9, r6\n\t"
#define ROW_1(taps) taps "add r0, r0, r4\n\tadd r1, r1, r5\n\t"

/* Begins with the third, second or first row from below. */
#define SUM_ONE(name, taps_of_row)                                                         \
  static __attribute__((naked, noinline)) void name(__attribute__((unused)) eq_taps *t) {     \
    __asm__(                                                                               \
        "push {r4-r11, lr}\n\t"                                                            \
        "ldrd r11, r12, [r0, #28]\n\t"                                                     \
        "ldr r3, [r0, #36]\n\t"                                                            \
        "ldrd r7, r10, [r0, #20]\n\t"                                                      \
        "ldr r6, [r0, #40]\n\t"                                                            \
        "ldm r0, {r0-r2, r4, r5}\n\t"                                                      \
        "cmp r3, #2\n\t"                                                                   \
        "adr.w lr, 3f\n\t"                                                                 \
        "bhi 1f\n\t"                                                                       \
        "adr.w lr, 4f\n\t"                                                                 \
        "beq 1f\n\t"                                                                       \
        "adr.w lr, 5f\n\t"                                                                 \
        "1:\n\t"                                                                           \
        "orr lr, lr, #1\n\t"                                                               \
        "mov r3, r6\n\t"                                                                   \
        "2:\n\t"                                                                           \
        "ldr r6, [r3], #4\n\t"                                                             \
        "bx lr\n\t"                                                                        \
        "3:\n\t" ROW_1(taps_of_row) "4:\n\t" ROW_1(taps_of_row) "5:\n\t" ROW_1(taps_of_row) \
        "add r0, r0, r7\n\t"                                                               \
        "add r1, r1, r10\n\t"                                                              \
        "str r6, [r11], #4\n\t"                                                            \
        "subs r12, r12, #1\n\t"                                                            \
        "bne 2b\n\t"                                                                       \
        "pop {r4-r11, pc}");                                                               \
  }
SUM_ONE(sum_columns_1, TAP_1)
SUM_ONE(sum_columns_2, TAP_1 TAP_2)
SUM_ONE(sum_columns_3, TAP_1 TAP_2 TAP_3)

static EQ_OWN_FRAME void sum_short(const eq_tile *tile, const eq_depthwise_window *window, const int32_t *bias,
                                   int32_t *sums) {
  eq_taps t = eq_taps_of(tile, window, sums);
  t.bias = bias;
  if (tile->pixels == PIXELS) {
    sum_three_3x3(&t);
  } else if (window->columns == 1) {
    sum_columns_1(&t);
  } else if (window->columns == 2) {
    sum_columns_2(&t);
  } else {
    sum_columns_3(&t);
  }
}

static EQ_OWN_FRAME void run_tile(const eq_tile *tile, int32_t channels, const eq_depthwise_window *window,
                                  const eq_linear_s8 *linear) {
  int32_t sums[PIXELS * EQ_TILE];
  const int32_t *bias = linear->bias + tile->first;
  if (tile->is_short) {
    sum_short(tile, window, bias, sums);
  } else {
    eq_copy(sums, bias, (size_t)tile->n * sizeof *bias);
    eq_add_any_taps(sums, tile, window, linear->weights_zero);
  }
  int8_t *last = tile->out;
  if (tile->pixels == PIXELS) {
    eq_requant_s8_thumb2(tile->out, tile->out + channels, sums, tile->first, tile->n, linear);
    last += 2 * channels;
  }
  eq_requant_s8_thumb2(last, NULL, sums + (tile->pixels - 1) * EQ_TILE, tile->first, tile->n, linear);
}

void eq_depthwise_s8_thumb2(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                            const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  const bool fits = window->rows == 3 && window->columns == 3 && window->x_pixel == window->x_column;
  eq_run_tiles(out, x, w, channels, window, linear, PIXELS, EQ_TILE, fits, run_tile);
}
#endif
