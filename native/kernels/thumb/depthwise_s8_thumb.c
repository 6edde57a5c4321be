/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution of int8 pixels: two neighbouring pixels of a channel under windows three taps wide, else one. */
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
#include "kernels/depthwise_tiles.h"
#include "kernels/thumb/requant_thumb.h"

enum { PIXELS = 2, MAX_ROWS = 3, INSTRUCTION = 2 /* bytes */ };
_Static_assert(EQ_TILE == 16, "the assembly has the distance of the second pixel's sums");

/* r0 is x, r1 is w, r2 to r4 and r7 are no step to three, r8 and r9 the rows, r10 and r11 the sums. */
#define NEXT_ROW         \
  "add r0, r0, r8\n\t"   \
  "add r1, r1, r9\n\t"

/* A row of three taps under two pixels. Every product takes the place of an operand that is not used again. */
#define TWO_PIXELS             \
  "ldrsb r5, [r0, r2]\n\t"     \
  "ldrsb r6, [r1, r2]\n\t"     \
  "muls r5, r6, r5\n\t"        \
  "add r10, r10, r5\n\t"       \
  "ldrsb r5, [r0, r3]\n\t"     \
  "muls r6, r5, r6\n\t"        \
  "add r11, r11, r6\n\t"       \
  "ldrsb r6, [r1, r3]\n\t"     \
  "muls r5, r6, r5\n\t"        \
  "add r10, r10, r5\n\t"       \
  "ldrsb r5, [r0, r4]\n\t"     \
  "muls r6, r5, r6\n\t"        \
  "add r11, r11, r6\n\t"       \
  "ldrsb r6, [r1, r4]\n\t"     \
  "muls r5, r6, r5\n\t"        \
  "add r10, r10, r5\n\t"       \
  "ldrsb r5, [r0, r7]\n\t"     \
  "muls r5, r6, r5\n\t"        \
  "add r11, r11, r5\n\t"       \
  NEXT_ROW
#define STORE_TWO              \
  "mov r7, r11\n\t"            \
  "str r7, [r6, #64]\n\t"
enum { TWO_INSTRUCTIONS = 21, ONE_INSTRUCTIONS = 4, ROW_INSTRUCTIONS = 2 };

/* A row of taps under one pixel. */
#define TAP(step)                    \
  "ldrsb r5, [r0, " step "]\n\t"     \
  "ldrsb r6, [r1, " step "]\n\t"     \
  "muls r5, r6, r5\n\t"              \
  "add r10, r10, r5\n\t"
#define ONE_COLUMN TAP("r2") NEXT_ROW
#define TWO_COLUMNS TAP("r2") TAP("r3") NEXT_ROW
#define THREE_COLUMNS TAP("r2") TAP("r3") TAP("r4") NEXT_ROW

#define SUMS(name, row, store_second)                                        \
  static EQ_THUMB_FUNCTION void name(__attribute__((unused)) eq_taps *t) {   \
    __asm__(EQ_THUMB_BEGIN                                                   \
            "mov r12, r0\n\t"                                                \
            "ldr r6, [r0, #44]\n\t"                                          \
            "adr r5, 2f\n\t"                                                 \
            "adds r5, r5, r6\n\t"                                            \
            "mov lr, r5\n\t"                                                 \
            "ldr r5, [r0, #12]\n\t"                                          \
            "mov r8, r5\n\t"                                                 \
            "ldr r5, [r0, #16]\n\t"                                          \
            "mov r9, r5\n\t"                                                 \
            "ldr r3, [r0, #8]\n\t"                                           \
            "ldm r0!, {r1, r2}\n\t"                                          \
            "mov r0, r1\n\t"                                                 \
            "mov r1, r2\n\t"                                                 \
            "movs r2, #0\n\t"                                                \
            "adds r4, r3, r3\n\t"                                            \
            "1:\n\t"                                                         \
            "adds r7, r4, r3\n\t"                                            \
            "mov r10, r2\n\t"                                                \
            "mov r11, r2\n\t"                                                \
            "mov pc, lr\n\t"                                                 \
            ".balign 4\n\t"                                                  \
            "2:\n\t" row row row                                             \
            "mov r5, r12\n\t"                                                \
            "ldr r6, [r5, #20]\n\t"                                          \
            "adds r0, r0, r6\n\t"                                            \
            "ldr r6, [r5, #24]\n\t"                                          \
            "adds r1, r1, r6\n\t"                                            \
            "ldr r6, [r5, #28]\n\t" store_second                             \
            "mov r7, r10\n\t"                                                \
            "stm r6!, {r7}\n\t"                                              \
            "str r6, [r5, #28]\n\t"                                          \
            "ldr r6, [r5, #32]\n\t"                                          \
            "subs r6, r6, #1\n\t"                                            \
            "str r6, [r5, #32]\n\t"                                          \
            "bne 1b\n\t" EQ_THUMB_END);                                      \
  }
SUMS(sum_two_pixels, TWO_PIXELS, STORE_TWO)
SUMS(sum_one_column, ONE_COLUMN, "")
SUMS(sum_two_columns, TWO_COLUMNS, "")
SUMS(sum_three_columns, THREE_COLUMNS, "")

static EQ_OWN_FRAME void sum_short(const eq_tile *tile, const eq_depthwise_window *window, int32_t *sums) {
  eq_taps t = eq_taps_of(tile, window, sums);
  const int32_t row = tile->pixels == 1 ? ONE_INSTRUCTIONS * window->columns + ROW_INSTRUCTIONS : TWO_INSTRUCTIONS;
  t.skipped = (MAX_ROWS - window->rows) * row * INSTRUCTION;
  if (tile->pixels == PIXELS) {
    sum_two_pixels(&t);
  } else if (window->columns == 1) {
    sum_one_column(&t);
  } else if (window->columns == 2) {
    sum_two_columns(&t);
  } else {
    sum_three_columns(&t);
  }
}

static EQ_OWN_FRAME void run_tile(const eq_tile *tile, int32_t channels, const eq_depthwise_window *window,
                                  const eq_linear_s8 *linear) {
  int32_t sums[PIXELS * EQ_TILE];
  if (tile->is_short) {
    sum_short(tile, window, sums);
  } else {
    for (int32_t c = 0; c < tile->n; c++) sums[c] = 0;
    eq_add_any_taps(sums, tile, window, linear->weights_zero);
  }
  eq_requant_s8_thumb(tile->out, sums, tile->first, tile->n, linear);
  if (tile->pixels == PIXELS) eq_requant_s8_thumb(tile->out + channels, sums + EQ_TILE, tile->first, tile->n, linear);
}

void eq_depthwise_s8_thumb(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                           const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  const bool fits = window->columns == 3 && window->x_pixel == window->x_column;
  eq_run_tiles(out, x, w, channels, window, linear, PIXELS, EQ_TILE, fits, run_tile);
}
#endif
