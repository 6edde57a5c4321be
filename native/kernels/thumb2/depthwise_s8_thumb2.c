/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution of int8 pixels: three neighbouring pixels of a channel under whole windows of 3x3, else one. */
#if defined(__ARM_ARCH_7M__)
#include "kernels/kernels.h"
#include "kernels/thumb2/requant_thumb2.h"

enum { PIXELS = 3 };
_Static_assert(EQ_TILE == 16, "the assembly has the distances of the other pixels' sums");

/* Inlined, these would all have their room on the stack at once. */
#define OWN_FRAME __attribute__((noinline))

/* What the assembly takes; it knows the offsets. */
typedef struct taps {
  const int8_t *x;
  const int8_t *w;
  size_t step;  /* from a tap to its right neighbour, of x and of w */
  size_t x_row; /* from a tap to the one below it */
  size_t w_row;
  ptrdiff_t x_back; /* from behind the last row to the first one of the next channel */
  ptrdiff_t w_back;
  int32_t *sums; /* of the first pixel; those of the others lie EQ_TILE further on each */
  int32_t channels;
  int32_t rows;
  const int32_t *bias;
} taps;

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
static __attribute__((naked, noinline)) void sum_three_3x3(__attribute__((unused)) taps *t) {
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
  static __attribute__((naked, noinline)) void name(__attribute__((unused)) taps *t) {     \
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

/* The sums, begun with the bias, of n channels of one pixel under any window. */
static OWN_FRAME void sum_any(int32_t *sums, const int8_t *x, const int8_t *w, int32_t n,
                              const eq_depthwise_window *window, const int32_t *bias, int32_t weights_zero) {
  for (int32_t c = 0; c < n; c++) {
    int32_t sum = bias[c];
    for (int32_t row = 0; row < window->rows; row++) {
      const int8_t *x_tap = x + c + (size_t)row * window->x_row, *w_tap = w + c + (size_t)row * window->w_row;
      for (int32_t column = 0; column < window->columns; column++) {
        sum = eq_add32(sum, *x_tap * (*w_tap - weights_zero));
        x_tap += window->x_column;
        w_tap += window->w_column;
      }
    }
    sums[c] = sum;
  }
}

/* The same of one pixel, or of PIXELS neighbouring ones, under a window of at most 3x3 taps. */
static OWN_FRAME void sum_short(int32_t *sums, const int8_t *x, const int8_t *w, int32_t n,
                                const eq_depthwise_window *window, const int32_t *bias, int32_t pixels) {
  taps t = {
      .x = x, .w = w, .step = window->x_column, .x_row = window->x_row, .w_row = window->w_row,
      .x_back = 1 - window->rows * (ptrdiff_t)window->x_row, .w_back = 1 - window->rows * (ptrdiff_t)window->w_row,
      .sums = sums, .channels = n, .rows = window->rows, .bias = bias,
  };
  if (pixels == PIXELS) {
    sum_three_3x3(&t);
  } else if (window->columns == 1) {
    sum_columns_1(&t);
  } else if (window->columns == 2) {
    sum_columns_2(&t);
  } else {
    sum_columns_3(&t);
  }
}

void eq_depthwise_s8_thumb2(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                            const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  const bool is_short = window->rows >= 1 && window->rows <= 3 && window->columns >= 1 && window->columns <= 3 &&
                        window->x_column == window->w_column && linear->weights_zero == 0;
  const bool has_three = is_short && window->rows == 3 && window->columns == 3 && window->x_pixel == window->x_column;
  int32_t sums[PIXELS * EQ_TILE];
  for (int32_t line = 0; line < window->lines; line++, x += window->x_line, out += window->out_line) {
    const int8_t *first_tap = x;
    int8_t *to = out;
    for (int32_t left = window->pixels, pixels; left > 0; left -= pixels) {
      pixels = has_three && left >= PIXELS ? PIXELS : 1;
      const int32_t tile = PIXELS * EQ_TILE / pixels;
      for (int32_t first = 0; first < channels; first += tile) {
        const int32_t n = eq_min32(channels - first, tile);
        if (is_short) {
          sum_short(sums, first_tap + first, w + first, n, window, linear->bias + first, pixels);
        } else {
          sum_any(sums, first_tap + first, w + first, n, window, linear->bias + first, linear->weights_zero);
        }
        int8_t *last = to + (size_t)(pixels - 1) * (size_t)channels + first;
        if (pixels == PIXELS) eq_requant_s8_thumb2(to + first, to + channels + first, sums, first, n, linear);
        eq_requant_s8_thumb2(last, NULL, sums + (pixels - 1) * EQ_TILE, first, n, linear);
      }
      first_tap += (size_t)pixels * window->x_pixel;
      to += (size_t)pixels * (size_t)channels;
    }
  }
}
#endif
