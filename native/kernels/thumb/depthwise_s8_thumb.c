/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution of int8 pixels: two neighbouring pixels of a channel under windows three taps wide, else one. */
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
#include "edgeq/fixed_point.h"
#include "kernels/thumb/requant_thumb.h"

enum { PIXELS = 2, MAX_ROWS = 3, MAX_COLUMNS = 3, INSTRUCTION = 2 /* bytes */ };
_Static_assert(EQ_TILE == 16, "the assembly has the distance of the second pixel's sums");

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
  int32_t *sums; /* of the first pixel; those of the other lie EQ_TILE further on */
  int32_t channels;
  int32_t skipped; /* bytes of code of the rows that there are fewer than MAX_ROWS */
} taps;

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
  static EQ_THUMB_FUNCTION void name(__attribute__((unused)) taps *t) {      \
    __asm__(EQ_THUMB_BEGIN                                                   \
            "mov r12, r0\n\t"                                                \
            "ldr r6, [r0, #36]\n\t"                                          \
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

/* The sums of n channels of one pixel, or of PIXELS neighbouring ones, under a window of at most 3x3 taps. */
static OWN_FRAME void sum_short(int32_t *sums, const int8_t *x, const int8_t *w, int32_t n,
                                const eq_depthwise_window *window, int32_t pixels) {
  const int32_t row = pixels == PIXELS ? TWO_INSTRUCTIONS : ONE_INSTRUCTIONS * window->columns + ROW_INSTRUCTIONS;
  taps t = {
      .x = x, .w = w, .step = window->x_column, .x_row = window->x_row, .w_row = window->w_row,
      .x_back = 1 - window->rows * (ptrdiff_t)window->x_row, .w_back = 1 - window->rows * (ptrdiff_t)window->w_row,
      .sums = sums, .channels = n, .skipped = (MAX_ROWS - window->rows) * row * INSTRUCTION,
  };
  if (pixels == PIXELS) {
    sum_two_pixels(&t);
  } else if (window->columns == 1) {
    sum_one_column(&t);
  } else if (window->columns == 2) {
    sum_two_columns(&t);
  } else {
    sum_three_columns(&t);
  }
}

/* The sums of n channels of one pixel under any window. */
static OWN_FRAME void sum_any(int32_t *sums, const int8_t *x, const int8_t *w, int32_t n,
                              const eq_depthwise_window *window, int32_t weights_zero) {
  for (int32_t c = 0; c < n; c++, x++, w++) {
    int32_t sum = 0;
    for (int32_t row = 0; row < window->rows; row++) {
      size_t x_at = (size_t)row * window->x_row, w_at = (size_t)row * window->w_row;
      for (int32_t left = window->columns; left > 0; left--) {
        sum += x[x_at] * (w[w_at] - weights_zero);
        x_at += window->x_column;
        w_at += window->w_column;
      }
    }
    sums[c] = sum;
  }
}

void eq_depthwise_s8_thumb(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                           const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  const bool is_short = window->rows >= 1 && window->rows <= MAX_ROWS && window->columns >= 1 &&
                        window->columns <= MAX_COLUMNS && window->x_column == window->w_column && linear->weights_zero == 0;
  const bool has_two = is_short && window->columns == MAX_COLUMNS && window->x_pixel == window->x_column;
  int32_t sums[PIXELS * EQ_TILE];
  for (int32_t line = 0; line < window->lines; line++, x += window->x_line, out += window->out_line) {
    const int8_t *first_tap = x;
    int8_t *to = out;
    for (int32_t left = window->pixels, pixels; left > 0; left -= pixels) {
      pixels = has_two && left >= PIXELS ? PIXELS : 1;
      const int32_t tile = pixels == PIXELS ? EQ_TILE : PIXELS * EQ_TILE;
      for (int32_t first = 0; first < channels; first += tile) {
        const int32_t n = eq_min32(channels - first, tile);
        if (is_short) {
          sum_short(sums, first_tap + first, w + first, n, window, pixels);
        } else {
          sum_any(sums, first_tap + first, w + first, n, window, linear->weights_zero);
        }
        eq_requant_s8_thumb(to + first, sums, first, n, linear);
        if (pixels == PIXELS) eq_requant_s8_thumb(to + channels + first, sums + EQ_TILE, first, n, linear);
      }
      first_tap += (size_t)pixels * window->x_pixel;
      to += (size_t)pixels * (size_t)channels;
    }
  }
}
#endif
