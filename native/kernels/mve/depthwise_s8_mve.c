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

/* Sums in the order of channels, those of a second pixel behind those of the first. */
#define STORE_SUMS_16                      \
  "vst40.32 {q0, q1, q2, q3}, [%[sums]]\n" \
  "vst41.32 {q0, q1, q2, q3}, [%[sums]]\n" \
  "vst42.32 {q0, q1, q2, q3}, [%[sums]]\n" \
  "vst43.32 {q0, q1, q2, q3}, [%[sums]]\n"
#define STORE_SUMS_8                \
  "vmov q4, q1\n"                   \
  "vmov q1, q2\n"                   \
  "vmov q2, q4\n"                   \
  "vst20.32 {q0, q1}, [%[sums]]\n"  \
  "vst21.32 {q0, q1}, [%[sums]]!\n" \
  "vst20.32 {q2, q3}, [%[sums]]\n"  \
  "vst21.32 {q2, q3}, [%[sums]]\n"

/* In either arrangement, even lanes of the codes come from q0 and q2, odd ones from q1 and q3. */
#define FINISH(multiply, shift, store, second)                                                                \
  __asm__ volatile(multiply shift                                                                             \
                   "vqmovnb.s32 q0, q0\n"                                                                     \
                   "vqmovnt.s32 q0, q2\n"                                                                     \
                   "vldrb.u8 q4, [%[codes]]\n"                                                                \
                   "vqmovnb.s32 q1, q1\n"                                                                     \
                   "vqmovnt.s32 q1, q3\n"                                                                     \
                   "vqadd.s16 q0, q0, q4\n"                                                                   \
                   "vqadd.s16 q1, q1, q4\n"                                                                   \
                   "vldrb.u8 q2, [%[codes], #16]\n"                                                           \
                   "vqmovnb.s16 q0, q0\n"                                                                     \
                   "vqmovnt.s16 q0, q1\n"                                                                     \
                   "vldrb.u8 q3, [%[codes], #32]\n"                                                           \
                   "vmax.s8 q0, q0, q2\n"                                                                     \
                   "vmin.s8 q0, q0, q3\n" store                                                               \
                   : SUMS                                                                                     \
                   : [multipliers] "r"(multipliers), [shifts] "l"(shifts), [codes] "r"(&codes), [to] "l"(to), \
                     [other] "l"(second)                                                                      \
                   : OTHERS)
#define ROUND_UP "vqrdmulh.s32"
#define ROUND_DOWN "vqdmulh.s32"
#define LESS_ONE(q) "vshr.s32 q4, " q ", #31\n vadd.i32 " q ", " q ", q4\n" /* where negative: rounds ties down */
#define TIES_DOWN LESS_ONE("q0") LESS_ONE("q1") LESS_ONE("q2") LESS_ONE("q3")

/* What results become codes with. */
typedef struct code_lanes {
  int16x8_t zero;
  int8x16_t least;
  int8x16_t largest;
} code_lanes;

EQ_ALWAYS_INLINE code_lanes code_lanes_of(const eq_linear_s8 *linear) {
  return (code_lanes){vdupq_n_s16((int16_t)linear->zero), vdupq_n_s8((int8_t)linear->act_min),
                      vdupq_n_s8((int8_t)linear->act_max)};
}

/* What is the same for all channels of a call. */
typedef struct call {
  const eq_depthwise_window *window;
  const eq_linear_s8 *linear;
  eq_way way;
  bool here; /* the sums are requantized in assembly, and otherwise by eq_finish_mve, which adds the bias */
  bool nine; /* three rows of three taps, one row's weights behind the other's */
} call;

static const int32_t no_bias[LANES];

/* The sums of all taps of a pixel. Products of two rows are not added in int16, but those of NINE. */
#define SUM_16                                                                                             \
  if (k->nine) {                                                                                           \
    __asm__ volatile(NINE(TWO_TAPS_16, TAP_16)                                                             \
                     : SUMS, [x] "+r"(x), [w] "+r"(w)                                                      \
                     : [x_column] "r"(x_column), [x_next] "r"(x_next + x_column), [w_column] "r"(w_column) \
                     : OTHERS);                                                                            \
  } else {                                                                                                 \
    int32_t rows = window->rows;                                                                           \
    __asm__ volatile("4:\n" ROW(TWO_TAPS_16, TAP_16, STEP_16)                                              \
                     "add %[x], %[x_next]\n"                                                               \
                     "add %[w], %[w_next]\n"                                                               \
                     "subs %[rows], %[rows], #1\n"                                                         \
                     "bne 4b\n"                                                                            \
                     : SUMS, [x] "+r"(x), [w] "+r"(w), [rows] "+r"(rows)                                   \
                     : [x_column] "r"(x_column), [x_next] "r"(x_next), [w_column] "r"(w_column),           \
                       [w_next] "r"(window->w_row - columns * w_column), [pairs] "r"(columns / 2),         \
                       [single] "r"(columns % 2)                                                           \
                     : OTHERS, "lr", "cc");                                                                \
  }

/* The same of two pixels, the second of which begins at y. There are not enough registers for rows in assembly. */
#define SUM_8                                                                                              \
  if (k->nine) {                                                                                           \
    __asm__ volatile(NINE(TWO_TAPS_8, TAP_8)                                                               \
                     : SUMS, [x] "+l"(x), [y] "+l"(y), [w] "+l"(w)                                         \
                     : [x_column] "r"(x_column), [x_next] "r"(x_next + x_column), [w_column] "r"(w_column) \
                     : OTHERS);                                                                            \
  } else {                                                                                                 \
    const size_t w_next = window->w_row - columns * w_column;                                              \
    for (int32_t row = 0; row < window->rows; row++, x += x_next, y += x_next, w += w_next) {              \
      __asm__ volatile(ROW(TWO_TAPS_8, TAP_8, STEP_8)                                                      \
                       : SUMS, [x] "+l"(x), [y] "+l"(y), [w] "+l"(w)                                       \
                       : [x_column] "r"(x_column), [w_column] "r"(w_column), [pairs] "r"(columns / 2),     \
                         [single] "r"(columns % 2)                                                         \
                       : OTHERS, "lr", "cc");                                                              \
    }                                                                                                      \
  }

/* What both of the functions below begin with: the distances between taps. */
#define DISTANCES                                                                                           \
  const eq_depthwise_window *const window = k->window;                                                      \
  const size_t x_column = window->x_column, w_column = window->w_column, columns = (size_t)window->columns; \
  const size_t x_next = window->x_row - columns * x_column; /* from behind a row to the next one */         \
  const code_lanes codes = code_lanes_of(k->linear)

/* The constants of some channels and where their first line begins; the last channels may come a second time. */
#define CHANNELS(lanes)                                                                         \
  const int32_t first = eq_min32(c, channels - (lanes));                                        \
  const int32_t *const bias = k->here ? k->linear->bias + first : no_bias;                      \
  const int32_t *const multipliers = k->linear->multipliers + first;                            \
  const int8_t *const shifts = k->linear->shifts + first, *const weights = all_weights + first; \
  const int8_t *from_line = image + first;                                                      \
  int8_t *to_line = out + first

/* All pixels, 16 channels at a time. */
static EQ_NOINLINE void run_16(int8_t *out, const int8_t *image, const int8_t *all_weights, int32_t channels,
                               const call *k) {
  register int32x4_t s0 __asm__("q0"), s1 __asm__("q1"), s2 __asm__("q2"), s3 __asm__("q3");
  DISTANCES;
  for (int32_t c = 0; c < channels; c += LANES) {
    CHANNELS(LANES);
    for (int32_t line = window->lines; line > 0; line--, from_line += window->x_line, to_line += window->out_line) {
      const int8_t *from = from_line;
      int8_t *to = to_line;
      for (int32_t left = window->pixels; left > 0; left--, from += window->x_pixel, to += channels) {
        const int8_t *x = from, *w = weights;
        __asm__ volatile(LOAD_BIAS_16 : "=w"(s0), "=w"(s1), "=w"(s2), "=w"(s3) : [bias] "r"(bias) : "memory");
        SUM_16
        if (k->way == EQ_WAY_UP) {
          FINISH(MULTIPLY_16(ROUND_UP), SHIFT_16, STORE_16, to);
        } else if (k->way == EQ_WAY_SINGLE) {
          FINISH(MULTIPLY_16(ROUND_DOWN), SHIFT_16, STORE_16, to);
        } else if (k->way == EQ_WAY_AWAY) {
          FINISH(MULTIPLY_16(ROUND_UP) TIES_DOWN, SHIFT_16, STORE_16, to);
        } else {
          int32_t sums[LANES];
          __asm__ volatile(STORE_SUMS_16 : SUMS : [sums] "r"(sums) : "memory");
          eq_finish_mve(to, sums, first, LANES, k->linear, k->way);
        }
      }
    }
  }
}

/* All pixels, 8 channels of two pixels at a time; an odd last pixel is its own partner. */
static EQ_NOINLINE void run_8(int8_t *out, const int8_t *image, const int8_t *all_weights, int32_t channels,
                              const call *k) {
  register int32x4_t s0 __asm__("q0"), s1 __asm__("q1"), s2 __asm__("q2"), s3 __asm__("q3");
  DISTANCES;
  for (int32_t c = 0; c < channels; c += HALF) {
    CHANNELS(HALF);
    for (int32_t line = window->lines; line > 0; line--, from_line += window->x_line, to_line += window->out_line) {
      const int8_t *from = from_line;
      int8_t *to = to_line;
      for (int32_t left = window->pixels; left > 0; left -= 2, from += 2 * window->x_pixel, to += 2 * channels) {
        const int8_t *x = from, *y = left > 1 ? from + window->x_pixel : from, *w = weights;
        int8_t *const other = left > 1 ? to + channels : to;
        __asm__ volatile(LOAD_BIAS_8 : "=w"(s0), "=w"(s1), "=w"(s2), "=w"(s3) : [bias] "r"(bias) : "memory");
        SUM_8
        if (k->way == EQ_WAY_UP) {
          FINISH(MULTIPLY_8(ROUND_UP), SHIFT_8, STORE_8, other);
        } else if (k->way == EQ_WAY_SINGLE) {
          FINISH(MULTIPLY_8(ROUND_DOWN), SHIFT_8, STORE_8, other);
        } else if (k->way == EQ_WAY_AWAY) {
          FINISH(MULTIPLY_8(ROUND_UP) TIES_DOWN, SHIFT_8, STORE_8, other);
        } else {
          int32_t sums[LANES], *next = sums;
          __asm__ volatile(STORE_SUMS_8 : SUMS, [sums] "+r"(next) : : OTHERS);
          eq_finish_mve(to, sums, first, HALF, k->linear, k->way);
          eq_finish_mve(other, sums + HALF, first, HALF, k->linear, k->way);
        }
      }
    }
  }
}

/* True when products of neighbouring taps may be added in int16. */
static bool has_chains(const eq_depthwise_window *window, int32_t channels) {
  if (window->chains == NULL) return false;
  const int32_t n = (channels + 7) / 8;
  uint8x16_t least = vdupq_n_u8(UINT8_MAX);
  for (int32_t i = 0; i < n; i += LANES) {
    const mve_pred16_t present = vctp8q((uint32_t)(n - i));
    least = vminq_m_u8(least, least, vldrbq_z_u8(window->chains + i, present), present);
  }
  return vminvq_u8(UINT8_MAX, least) >= 2;
}

void eq_depthwise_s8_mve(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                         const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  if (linear->weights_zero != 0 || window->rows == 0 || window->columns == 0 || channels < HALF ||
      !has_chains(window, channels)) {
    eq_depthwise_s8_scalar(out, x, w, channels, window, linear);
    return;
  }
  const eq_way way = eq_way_of_linear(linear, channels);
  const call k = {
      .window = window,
      .linear = linear,
      .way = way,
      .here = way == EQ_WAY_UP || way == EQ_WAY_SINGLE || way == EQ_WAY_AWAY,
      .nine = window->rows == 3 && window->columns == 3 && window->w_row == 3 * window->w_column,
  };
  if (channels < LANES) {
    run_8(out, x, w, channels, &k);
  } else {
    run_16(out, x, w, channels, &k);
  }
}
#endif
