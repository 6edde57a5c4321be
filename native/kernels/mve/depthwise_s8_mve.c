/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution, 16 sums at a time: of 16 channels of a pixel or of 8 channels of two pixels. Products of two
 * taps are added in int16. */
#if defined(__ARM_FEATURE_MVE)
#include "kernels/mve/requant_mve.h"

eq_depthwise_s8_fn eq_depthwise_s8_scalar;

enum { LANES = 16, HALF = 8 };

/* Sums stand in q0 .. q3, as products widen: of a pixel's channels i, i + 4, i + 8 and i + 12 in q<i>, or of the first
 * pixel's even channels in q0 and its odd ones in q2, of the second pixel's in q1 and q3. Making them takes all other
 * registers, so that they are made, requantized and stored in assembly. */
#define SUMS "+w"(s0), "+w"(s1), "+w"(s2), "+w"(s3)
#define OTHERS "q4", "q5", "q6", "q7", "memory"

/* Add the products in q4 and q5 to the sums. */
#define ADD_PRODUCTS      \
  "vmovlb.s16 q6, q4\n"   \
  "vmovlt.s16 q4, q4\n"   \
  "vadd.i32 q0, q0, q6\n" \
  "vmovlb.s16 q6, q5\n"   \
  "vadd.i32 q2, q2, q4\n" \
  "vmovlt.s16 q5, q5\n"   \
  "vadd.i32 q1, q1, q6\n" \
  "vadd.i32 q3, q3, q5\n"

/* The products of a tap: of even channels and of odd ones, or of either pixel. */
#define TAP_16             \
  "vldrb.u8 q5, [%[x]]\n"  \
  "vldrb.u8 q6, [%[w]]\n"  \
  "vmullb.s8 q4, q5, q6\n" \
  "vmullt.s8 q5, q5, q6\n"
#define TAP_8              \
  "vldrb.s16 q7, [%[w]]\n" \
  "vldrb.s16 q4, [%[x]]\n" \
  "vmul.i16 q4, q4, q7\n"  \
  "vldrb.s16 q5, [%[y]]\n" \
  "vmul.i16 q5, q5, q7\n"

/* From a tap to the next one. */
#define STEP_16(x_step) "add %[x], %[" x_step "]\n add %[w], %[w_column]\n"
#define STEP_8(x_step) STEP_16(x_step) "add %[y], %[" x_step "]\n"

/* Two taps with a step behind each. With one register more the first one would load its weights once. */
#define TWO_TAPS_16(first, second) \
  TAP_16 STEP_16(first)            \
  "vldrb.u8 q6, [%[x]]\n"          \
  "vldrb.u8 q7, [%[w]]\n"          \
  "vmullb.s8 q7, q6, q7\n"         \
  "vadd.i16 q4, q4, q7\n"          \
  "vldrb.u8 q7, [%[w]]\n"          \
  "vmullt.s8 q6, q6, q7\n"         \
  "vadd.i16 q5, q5, q6\n" STEP_16(second) ADD_PRODUCTS
#define TWO_TAPS_8(first, second) \
  TAP_8 STEP_8(first)             \
  "vldrb.s16 q7, [%[w]]\n"        \
  "vldrb.s16 q6, [%[x]]\n"        \
  "vmul.i16 q6, q6, q7\n"         \
  "vadd.i16 q4, q4, q6\n"         \
  "vldrb.s16 q6, [%[y]]\n"        \
  "vmul.i16 q6, q6, q7\n"         \
  "vadd.i16 q5, q5, q6\n" STEP_8(second) ADD_PRODUCTS

/* Three rows of three taps whose weights follow one another. */
#define NINE(two_taps, tap)                                                                      \
  two_taps("x_column", "x_column") two_taps("x_next", "x_column") two_taps("x_column", "x_next") \
      two_taps("x_column", "x_column") tap ADD_PRODUCTS

/* A row of taps. */
#define ROW(two_taps, tap, step)    \
  "wls lr, %[pairs], 2f\n"          \
  "1:\n"                            \
  two_taps("x_column", "x_column")  \
  "le lr, 1b\n"                     \
  "2:\n"                            \
  "cmp %[single], #0\n"             \
  "beq 3f\n"                        \
  tap ADD_PRODUCTS step("x_column") \
  "3:\n"

#define LOAD_BIAS_16                       \
  "vld40.32 {q0, q1, q2, q3}, [%[bias]]\n" \
  "vld41.32 {q0, q1, q2, q3}, [%[bias]]\n" \
  "vld42.32 {q0, q1, q2, q3}, [%[bias]]\n" \
  "vld43.32 {q0, q1, q2, q3}, [%[bias]]\n"
#define LOAD_BIAS_8                \
  "vld20.32 {q0, q1}, [%[bias]]\n" \
  "vld21.32 {q0, q1}, [%[bias]]\n" \
  "vmov q2, q1\n"                  \
  "vmov q1, q0\n"                  \
  "vmov q3, q2\n"

/* From sums to codes. Of the shifts in a lane, the lowest byte alone counts. */
#define MULTIPLY_16(high)                                                                        \
  "vld40.32 {q4, q5, q6, q7}, [%[multipliers]]\n"                                                \
  "vld41.32 {q4, q5, q6, q7}, [%[multipliers]]\n"                                                \
  "vld42.32 {q4, q5, q6, q7}, [%[multipliers]]\n"                                                \
  "vld43.32 {q4, q5, q6, q7}, [%[multipliers]]\n" high " q0, q0, q4\n" high " q1, q1, q5\n" high \
  " q2, q2, q6\n" high " q3, q3, q7\n"
#define MULTIPLY_8(high)                                                                                      \
  "vld20.32 {q4, q5}, [%[multipliers]]\n"                                                                     \
  "vld21.32 {q4, q5}, [%[multipliers]]\n" high " q0, q0, q4\n" high " q1, q1, q4\n" high " q2, q2, q5\n" high \
  " q3, q3, q5\n"
#define SHIFT_16               \
  "vldrb.u8 q4, [%[shifts]]\n" \
  "vrshl.s32 q0, q0, q4\n"     \
  "vshr.u32 q4, q4, #8\n"      \
  "vrshl.s32 q1, q1, q4\n"     \
  "vshr.u32 q4, q4, #8\n"      \
  "vrshl.s32 q2, q2, q4\n"     \
  "vshr.u32 q4, q4, #8\n"      \
  "vrshl.s32 q3, q3, q4\n"
#define SHIFT_8                 \
  "vldrb.s16 q4, [%[shifts]]\n" \
  "vrshl.s32 q0, q0, q4\n"      \
  "vrshl.s32 q1, q1, q4\n"      \
  "vshr.u32 q4, q4, #16\n"      \
  "vrshl.s32 q2, q2, q4\n"      \
  "vrshl.s32 q3, q3, q4\n"
#define STORE_16 "vstrb.8 q0, [%[to]]\n"
#define STORE_8            \
  "vstrb.16 q0, [%[to]]\n" \
  "vshr.u16 q0, q0, #8\n"  \
  "vstrb.16 q0, [%[other]]\n"

/* In either arrangement, even lanes of the codes come from q0 and q2, odd ones from q1 and q3. */
#define FINISH(multiply, shift, store)                                                                     \
  __asm__ volatile(multiply shift                                                                          \
                   "vqmovnb.s32 q0, q0\n"                                                                  \
                   "vqmovnt.s32 q0, q2\n"                                                                  \
                   "vqmovnb.s32 q1, q1\n"                                                                  \
                   "vqmovnt.s32 q1, q3\n"                                                                  \
                   "vqadd.s16 q0, q0, %[zero]\n"                                                           \
                   "vqadd.s16 q1, q1, %[zero]\n"                                                           \
                   "vdup.8 q2, %[least]\n"                                                                 \
                   "vqmovnb.s16 q0, q0\n"                                                                  \
                   "vqmovnt.s16 q0, q1\n"                                                                  \
                   "vdup.8 q3, %[largest]\n"                                                               \
                   "vmax.s8 q0, q0, q2\n"                                                                  \
                   "vmin.s8 q0, q0, q3\n" store                                                            \
                   : SUMS                                                                                  \
                   : [multipliers] "r"(l->multipliers), [shifts] "l"(l->shifts), [zero] "r"(l->zero),      \
                     [least] "r"(l->act_min), [largest] "r"(l->act_max), [to] "l"(out), [other] "l"(other) \
                   : OTHERS)
#define ROUND_UP "vqrdmulh.s32"
#define ROUND_DOWN "vqdmulh.s32"
#define LESS_ONE(q) "vshr.s32 q4, " q ", #31\n vadd.i32 " q ", " q ", q4\n" /* where negative: rounds ties down */
#define TIES_DOWN LESS_ONE("q0") LESS_ONE("q1") LESS_ONE("q2") LESS_ONE("q3")

/* What the lines of a call have in common. */
typedef struct line {
  const int8_t *weights;
  const int32_t *bias; /* of the sums; zeros where those are requantized elsewhere */
  size_t channels;
  eq_way way;
  bool nine; /* three rows of three taps, one row's weights behind the other's */
} line;

/* The sums of all taps, at x and w, and at y of a second pixel. Products of two rows are not added in int16. */
#define SUM(two_taps, tap, step)                                                                                      \
  if (a->nine) {                                                                                                      \
    __asm__ volatile(NINE(two_taps, tap)                                                                              \
                     : SUMS, [x] "+l"(x), [y] "+l"(y), [w] "+l"(w)                                                    \
                     : [x_column] "r"(x_column), [x_next] "r"(window->x_row - 2 * x_column), [w_column] "r"(w_column) \
                     : OTHERS);                                                                                       \
  } else {                                                                                                            \
    const size_t x_next = window->x_row - columns * x_column, w_next = window->w_row - columns * w_column;            \
    for (int32_t row = 0; row < window->rows; row++, x += x_next, y += x_next, w += w_next) {                         \
      __asm__ volatile(ROW(two_taps, tap, step)                                                                       \
                       : SUMS, [x] "+l"(x), [y] "+l"(y), [w] "+l"(w)                                                  \
                       : [x_column] "r"(x_column), [w_column] "r"(w_column), [pairs] "r"(columns / 2),                \
                         [single] "r"(columns % 2)                                                                    \
                       : OTHERS, "lr", "cc");                                                                         \
    }                                                                                                                 \
  }

/* 16 channels of a line of pixels. l has the constants of the first one on. */
static EQ_NOINLINE void run_line_16(int8_t *out, const int8_t *from, const line *a, const eq_depthwise_window *window,
                                    const eq_linear_s8 *l) {
  register int32x4_t s0 __asm__("q0"), s1 __asm__("q1"), s2 __asm__("q2"), s3 __asm__("q3");
  const size_t x_column = window->x_column, w_column = window->w_column, columns = (size_t)window->columns;
  for (int32_t left = window->pixels; left > 0; left--, from += window->x_pixel, out += a->channels) {
    const int8_t *x = from, *y = from, *w = a->weights, *other = out;
    __asm__ volatile(LOAD_BIAS_16 : "=w"(s0), "=w"(s1), "=w"(s2), "=w"(s3) : [bias] "r"(a->bias) : "memory");
    SUM(TWO_TAPS_16, TAP_16, STEP_16)
    if (a->way == EQ_WAY_UP) {
      FINISH(MULTIPLY_16(ROUND_UP), SHIFT_16, STORE_16);
    } else if (a->way == EQ_WAY_SINGLE) {
      FINISH(MULTIPLY_16(ROUND_DOWN), SHIFT_16, STORE_16);
    } else if (a->way == EQ_WAY_AWAY) {
      FINISH(MULTIPLY_16(ROUND_UP) TIES_DOWN, SHIFT_16, STORE_16);
    } else {
      int32_t sums[LANES];
      __asm__ volatile(
          "vst40.32 {q0, q1, q2, q3}, [%[sums]]\n"
          "vst41.32 {q0, q1, q2, q3}, [%[sums]]\n"
          "vst42.32 {q0, q1, q2, q3}, [%[sums]]\n"
          "vst43.32 {q0, q1, q2, q3}, [%[sums]]\n"
          : SUMS
          : [sums] "r"(sums)
          : "memory");
      eq_finish_mve(out, sums, 0, LANES, l, a->way);
    }
  }
}

/* 8 channels of a line of pixels, two at a time; an odd last one is its own partner. */
static EQ_NOINLINE void run_line_8(int8_t *out, const int8_t *from, const line *a, const eq_depthwise_window *window,
                                   const eq_linear_s8 *l) {
  register int32x4_t s0 __asm__("q0"), s1 __asm__("q1"), s2 __asm__("q2"), s3 __asm__("q3");
  const size_t x_column = window->x_column, w_column = window->w_column, columns = (size_t)window->columns;
  for (int32_t left = window->pixels; left > 0; left -= 2, from += 2 * window->x_pixel, out += 2 * a->channels) {
    const int8_t *x = from, *y = left > 1 ? from + window->x_pixel : from, *w = a->weights;
    int8_t *other = left > 1 ? out + a->channels : out;
    __asm__ volatile(LOAD_BIAS_8 : "=w"(s0), "=w"(s1), "=w"(s2), "=w"(s3) : [bias] "r"(a->bias) : "memory");
    SUM(TWO_TAPS_8, TAP_8, STEP_8)
    if (a->way == EQ_WAY_UP) {
      FINISH(MULTIPLY_8(ROUND_UP), SHIFT_8, STORE_8);
    } else if (a->way == EQ_WAY_SINGLE) {
      FINISH(MULTIPLY_8(ROUND_DOWN), SHIFT_8, STORE_8);
    } else if (a->way == EQ_WAY_AWAY) {
      FINISH(MULTIPLY_8(ROUND_UP) TIES_DOWN, SHIFT_8, STORE_8);
    } else {
      int32_t sums[LANES];
      __asm__ volatile(
          "vmov q4, q1\n"
          "vmov q1, q2\n"
          "vmov q2, q4\n"
          "vst20.32 {q0, q1}, [%[sums]]\n"
          "vst21.32 {q0, q1}, [%[sums]]\n"
          "vst20.32 {q2, q3}, [%[second]]\n"
          "vst21.32 {q2, q3}, [%[second]]\n"
          : SUMS
          : [sums] "r"(sums), [second] "r"(sums + HALF)
          : OTHERS);
      eq_finish_mve(out, sums, 0, HALF, l, a->way);
      eq_finish_mve(other, sums + HALF, 0, HALF, l, a->way);
    }
  }
}

/* True when products of neighbouring taps may be added in int16. */
static bool has_chains(const eq_depthwise_window *window, int32_t channels) {
  if (window->chains == NULL) return false;
  for (int32_t i = 0; i < channels; i += 8) {
    if (window->chains[i / 8] < 2) return false;
  }
  return true;
}

void eq_depthwise_s8_mve(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                         const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  static const int32_t none[LANES];
  if (linear->weights_zero != 0 || window->rows == 0 || window->columns == 0 || channels < HALF ||
      !has_chains(window, channels)) {
    eq_depthwise_s8_scalar(out, x, w, channels, window, linear);
    return;
  }
  const int32_t lanes = channels < LANES ? HALF : LANES;
  const eq_way way = eq_way_of_linear(linear, channels);
  const bool here = way == EQ_WAY_UP || way == EQ_WAY_SINGLE || way == EQ_WAY_AWAY;
  line a = {.channels = (size_t)channels, .way = way,
            .nine = window->rows == 3 && window->columns == 3 && window->w_row == 3 * window->w_column};
  for (int32_t c = 0; c < channels; c += lanes) {
    const int32_t first = eq_min32(c, channels - lanes); /* the last channels may come a second time */
    eq_linear_s8 part = *linear;
    part.bias += first;
    part.multipliers += first;
    part.shifts += first;
    a.weights = w + first;
    a.bias = here ? part.bias : none;
    for (int32_t i = 0; i < window->lines; i++) {
      int8_t *to = out + (size_t)i * window->out_line + first;
      const int8_t *from = x + (size_t)i * window->x_line + first;
      (lanes == LANES ? run_line_16 : run_line_8)(to, from, &a, window, &part);
    }
  }
}
#endif
