/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution with windows of at most 3x3, or of one line of taps, by SDOT, eight channels at a time.
 *
 * SDOT adds four products within a channel, so the codes of up to four taps across the walk are interleaved: quads of
 * taps. Pixels are visited along the longer axis, where a quad serves up to three windows, and with stride 1 across it
 * the fourth code makes it serve two neighbours. Per pixel that is fewer multiplications than taps. */
#if defined(__aarch64__)
#include "kernels/dotprod/depthwise_line_dotprod.h"
#include "kernels/dotprod/quads_dotprod.h"
#include "kernels/dotprod/top_byte_dotprod.h"
#include "kernels/neon/requant_neon.h"

eq_depthwise_s8_fn eq_depthwise_s8_neon;

#define TARGET __attribute__((target("arch=armv8.2-a+dotprod")))
#define WALK_INLINE TARGET EQ_ALWAYS_INLINE

enum { TAPS = 3, LEAST_TAPS = 4, MANY_PIXELS = 36 };

/* A window whose axes are named after the walk; distances are in bytes. */
typedef struct walk {
  int32_t pixels; /* along */
  int32_t lines;  /* across */
  int32_t taps_along;
  int32_t taps_across;
  size_t x_tap; /* along */
  size_t x_pixel;
  size_t out_pixel;
  size_t w_tap;
  size_t x_tap_across;
  size_t x_line;
  size_t out_line;
  size_t w_tap_across;
  size_t w_offsets[TAPS][TAPS]; /* of weights, along and across; of any where there is no such tap */
  int8x8_t w_masks[TAPS][TAPS]; /* 0 where there is no such tap */
} walk;

/* Which taps two neighbouring windows along the walk share. */
typedef enum overlap { SHARE_TWO, SHARE_ONE, SHARE_NONE } overlap;

/* How sums become codes: as top bytes or by requantization in other forms. */
typedef enum finish { TOP_UP, TOP_AWAY, FORM_DOUBLE, FORM_SINGLE, FORM_SHIFT } finish;

EQ_ALWAYS_INLINE eq_requant_form form_of(finish f) {
  return f == FORM_SHIFT ? EQ_FORM_SHIFT : f == FORM_SINGLE ? EQ_FORM_SINGLE : EQ_FORM_DOUBLE;
}

/* The constants of eight channels. */
typedef struct channels8 {
  int8x16_t weights[TAPS][2]; /* of quads: four channels each, whose fourth tap is 0 */
  int8x16_t below[TAPS][2];   /* of the neighbour across, whose first tap is 0 */
  const int32_t *bias;
  const int32_t *offset; /* as are multipliers and up, where codes are top bytes; see eq_top8 */
  int32x4_t multipliers[2];
  int32x4_t up[2];
  eq_channels4 c[2]; /* where they are not, as are codes */
  eq_codes codes;
} channels8;

/* The taps across at one place along the walk. */
WALK_INLINE void load_quad(int8x16_t quad[2], const int8_t *const rows[4], size_t at, bool two) {
  const int8x8_t third = vld1_s8(rows[2] + at);
  interleave(quad, vld1_s8(rows[0] + at), vld1_s8(rows[1] + at), third, two ? vld1_s8(rows[3] + at) : third);
}

TARGET static void find_weights(walk *s) {
  for (int32_t t = 0; t < TAPS; t++) {
    for (int32_t i = 0; i < TAPS; i++) {
      const bool exists = t < s->taps_along && i < s->taps_across;
      s->w_offsets[t][i] = exists ? (size_t)t * s->w_tap + (size_t)i * s->w_tap_across : 0;
      s->w_masks[t][i] = vdup_n_s8(exists ? -1 : 0);
    }
  }
}

WALK_INLINE void load_weights(channels8 *k, const int8_t *w, const walk *s) {
#pragma GCC unroll 3
  for (int t = 0; t < TAPS; t++) {
    int8x8_t taps[TAPS];
#pragma GCC unroll 3
    for (int i = 0; i < TAPS; i++) taps[i] = vand_s8(vld1_s8(w + s->w_offsets[t][i]), s->w_masks[t][i]);
    interleave(k->weights[t], taps[0], taps[1], taps[2], vdup_n_s8(0));
#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
      k->below[t][h] = vreinterpretq_s8_s32(vshlq_n_s32(vreinterpretq_s32_s8(k->weights[t][h]), 8));
    }
  }
}

/* Half of the sums of a pixel whose taps are the quads a, b and c. */
WALK_INLINE int32x4_t add_taps(int32x4_t bias, const int8x16_t a[2], const int8x16_t b[2], const int8x16_t c[2],
                               const int8x16_t w[TAPS][2], int half) {
  return vdotq_s32(vdotq_s32(vdotq_s32(bias, a[half], w[0][half]), b[half], w[1][half]), c[half], w[2][half]);
}

/* The codes of a pixel whose taps are the quads a, b and c, and of its neighbour across when there are two. */
WALK_INLINE void finish_pixel(int8_t *out, size_t out_line, const int8x16_t a[2], const int8x16_t b[2],
                              const int8x16_t c[2], const channels8 *k, bool two, finish f) {
  int32x4_t y[4], sums[4];
  const int count = two ? 4 : 2;
#pragma GCC unroll 4
  for (int i = 0; i < count; i += 2) {
    eq_load_8(&sums[i], k->bias);
#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) sums[i + h] = add_taps(sums[i + h], a, b, c, i == 0 ? k->weights : k->below, h);
  }
  if (f == TOP_UP || f == TOP_AWAY) {
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) {
      if (i % 2 == 0) eq_load_8(&y[i], k->offset);
      eq_multiply_top(&y[i], sums[i], k->multipliers[i % 2], f == TOP_AWAY);
    }
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) eq_shift_top(&y[i], k->up[i % 2]);
    if (two) {
      eq_store_tops(out, out + out_line, y);
    } else {
      eq_store_top(out, y);
    }
    return;
  }
#pragma GCC unroll 4
  for (int i = 0; i < count; i++) y[i] = eq_requant4(sums[i], &k->c[i % 2], form_of(f));
  if (two) {
    const int8x16_t codes = eq_codes16(y[0], y[1], y[2], y[3], &k->codes);
    vst1_s8(out, vget_low_s8(codes));
    vst1_s8(out + out_line, vget_high_s8(codes));
  } else {
    vst1_s8(out, eq_codes8(y[0], y[1], &k->codes));
  }
}

/* Have no other use of the registers of a quad that is no longer needed: a model of a core that takes the code between
 * branches as a loop of its own would find a chain of dependences in it. */
WALK_INLINE void keep(const int8x16_t quad[2]) { __asm__ volatile("" : : "w"(quad[0]), "w"(quad[1])); }

/* One line of pixels, or two. */
WALK_INLINE void walk_line(int8_t *out, const int8_t *x, const walk *s, const channels8 *k, overlap shared, bool two,
                           finish f) {
  /* taps across that are missing have weights of zero */
  const size_t across = s->x_tap_across;
  const int32_t taps = s->taps_across + (two ? 1 : 0);
  const int8_t *rows[4] = {x, taps > 1 ? x + across : x, taps > 2 ? x + 2 * across : x, taps > 3 ? x + 3 * across : x};
  /* so have taps along; they are read where the last one is */
  const size_t last = (size_t)(s->pixels - 1) * s->x_pixel + (size_t)(s->taps_along - 1) * s->x_tap;
  const size_t x_tap = s->x_tap, out_pixel = s->out_pixel, out_line = s->out_line;
  int32_t left = s->pixels;
  int8x16_t a[2], b[2], c[2];
  size_t at = 0;
#define LOAD(quad)                                     \
  do {                                                 \
    load_quad(quad, rows, at < last ? at : last, two); \
    at += x_tap;                                       \
  } while (0)
#define FINISH(a, b, c)                          \
  do {                                           \
    finish_pixel(out, out_line, a, b, c, k, two, f); \
    keep(a);                                     \
    out += out_pixel;                            \
    if (--left == 0) return;                     \
  } while (0)
  /* the quads change places: after three pixels, or two, they are where they were */
  if (shared == SHARE_TWO) {
    LOAD(a);
    LOAD(b);
    for (;;) {
      LOAD(c);
      FINISH(a, b, c);
      LOAD(a);
      FINISH(b, c, a);
      LOAD(b);
      FINISH(c, a, b);
    }
  } else if (shared == SHARE_ONE) {
    LOAD(a);
    for (;;) {
      LOAD(b);
      LOAD(c);
      FINISH(a, b, c);
      LOAD(b);
      LOAD(a);
      FINISH(c, b, a);
    }
  } else {
    const size_t next = s->taps_along > 1 ? x_tap : 0, after = s->taps_along > 2 ? 2 * x_tap : next;
    for (;;) {
      load_quad(a, rows, at, two);
      load_quad(b, rows, at + next, two);
      load_quad(c, rows, at + after, two);
      at += s->x_pixel;
      FINISH(a, b, c);
    }
  }
#undef LOAD
#undef FINISH
}

/* Eight channels of all pixels; `shared` where neighbours share taps as in SHARE_TWO. */
WALK_INLINE void walk_lines(int8_t *out, const int8_t *x, const walk *s, const channels8 *k, finish f, bool shared) {
  int32_t line = 0;
  if (shared && s->x_line == s->x_tap_across) {
    for (; line + 2 <= s->lines; line += 2, x += 2 * s->x_line, out += 2 * s->out_line) {
      walk_line(out, x, s, k, SHARE_TWO, true, f);
    }
  }
  for (; line < s->lines; line++, x += s->x_line, out += s->out_line) {
    if (shared) {
      walk_line(out, x, s, k, SHARE_TWO, false, f);
    } else if (s->x_pixel == 2 * s->x_tap) {
      walk_line(out, x, s, k, SHARE_ONE, false, f);
    } else {
      walk_line(out, x, s, k, SHARE_NONE, false, f);
    }
  }
}

typedef void walk_fn(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels, const walk *s,
                     const eq_linear_s8 *linear);

WALK_INLINE void walk_groups(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels, const walk *s,
                             const eq_linear_s8 *linear, finish f, bool shared) {
  channels8 k; /* no address of it is kept, so that the loops have it in registers */
  eq_top8 top;
  k.offset = top.offset;
  k.codes = eq_codes_of(linear);
  for (int32_t next = 0; next < channels; next += GROUP) {
    /* the last group is moved back until it ends with the pixel: some channels are computed once more */
    const int32_t first = eq_min32(next, channels - GROUP);
    load_weights(&k, w + first, s);
    k.bias = linear->bias + first;
    if (f == TOP_UP || f == TOP_AWAY) {
      eq_load_top8(&top, linear, first);
#pragma GCC unroll 2
      for (int h = 0; h < 2; h++) {
        k.multipliers[h] = vld1q_s32(linear->multipliers + first + 4 * h);
        k.up[h] = vld1q_s32(top.up + 4 * h);
      }
    } else {
      eq_load_channels8(k.c, linear, first, form_of(f));
    }
    walk_lines(out + first, x + first, s, &k, f, shared);
  }
}

#define WALK(name, f, shared)                                                                             \
  static void name(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels, const walk *s,        \
                   const eq_linear_s8 *linear) {                                                          \
    walk_groups(out, x, w, channels, s, linear, f, shared);                                               \
  }
EQ_ONE_PAGE TARGET WALK(walk_up, TOP_UP, true)
EQ_ONE_PAGE TARGET WALK(walk_up_apart, TOP_UP, false)
EQ_ONE_PAGE TARGET WALK(walk_away, TOP_AWAY, true)
EQ_ONE_PAGE TARGET WALK(walk_away_apart, TOP_AWAY, false)
TARGET WALK(walk_double, FORM_DOUBLE, true)
TARGET WALK(walk_double_apart, FORM_DOUBLE, false)
TARGET WALK(walk_single, FORM_SINGLE, true)
TARGET WALK(walk_single_apart, FORM_SINGLE, false)
TARGET WALK(walk_shift, FORM_SHIFT, true)
TARGET WALK(walk_shift_apart, FORM_SHIFT, false)
#undef WALK

EQ_ONE_PAGE TARGET static void lines_up(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels, const tap_lines *s,
                                     const eq_linear_s8 *linear) {
  run_tap_lines(out, x, w, channels, s, linear, false);
}

EQ_ONE_PAGE TARGET static void lines_away(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                                       const tap_lines *s, const eq_linear_s8 *linear) {
  run_tap_lines(out, x, w, channels, s, linear, true);
}

/* A window, visited along its lines of pixels or across them. */
static walk walk_of(const eq_depthwise_window *window, int32_t channels, bool across) {
  const walk s = {
      .pixels = window->pixels, .lines = window->lines, .taps_along = window->columns, .taps_across = window->rows,
      .x_tap = window->x_column, .x_pixel = window->x_pixel, .out_pixel = (size_t)channels, .w_tap = window->w_column,
      .x_tap_across = window->x_row, .x_line = window->x_line, .out_line = window->out_line,
      .w_tap_across = window->w_row,
  };
  if (!across) return s;
  return (walk){
      .pixels = s.lines, .lines = s.pixels, .taps_along = s.taps_across, .taps_across = s.taps_along,
      .x_tap = s.x_tap_across, .x_pixel = s.x_line, .out_pixel = s.out_line, .w_tap = s.w_tap_across,
      .x_tap_across = s.x_tap, .x_line = s.x_pixel, .out_line = s.out_pixel, .w_tap_across = s.w_tap,
  };
}

/* Run a window of one line of taps if its neighbours share them and are many enough for the order of the weights to pay. */
static bool run_line(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels, const eq_depthwise_window *window,
                     const eq_linear_s8 *linear, bool away) {
  if (window->rows != 1 && window->columns != 1) return false;
  const walk s = walk_of(window, channels, window->columns == 1);
  if (s.taps_along < LEAST_LINE_TAPS || s.taps_along > LINE_TAPS || s.x_pixel != s.x_tap || s.pixels < LEAST_LINE_PIXELS) {
    return false;
  }
  const tap_lines lines = {
      .lines = s.lines, .pixels = s.pixels, .taps = s.taps_along, .x_tap = s.x_tap, .w_tap = s.w_tap,
      .out_pixel = s.out_pixel, .x_line = s.x_line, .out_line = s.out_line,
  };
  (away ? lines_away : lines_up)(out, x, w, channels, &lines, linear);
  return true;
}

TARGET void eq_depthwise_s8_dotprod(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                                    const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  eq_requant_form form = eq_top_form_of(linear, channels);
  const bool top = form != EQ_FORM_EXACT, away = form == EQ_FORM_AWAY;
  if (!top) form = eq_requant_form_of(linear, channels);
  const bool is_small = window->rows <= TAPS && window->columns <= TAPS && window->rows * window->columns >= LEAST_TAPS;
  /* where neighbours share one tap of three, interleaving costs as much as it saves unless codes are top bytes */
  const bool is_strided = window->rows == TAPS && window->columns == TAPS && channels % 16 == 0 &&
                          window->x_pixel == 2 * window->x_column && window->x_line == 2 * window->x_row &&
                          (int64_t)window->lines * window->pixels >= MANY_PIXELS;
  const bool is_exact = form == EQ_FORM_EXACT || form == EQ_FORM_WIDE, legal = channels >= GROUP && linear->weights_zero == 0;
  if (window->lines == 0 || window->pixels == 0) return;
  if (legal && top && run_line(out, x, w, channels, window, linear, away)) return;
  if (!legal || !is_small || is_exact || (is_strided && !top)) {
    eq_depthwise_s8_neon(out, x, w, channels, window, linear);
    return;
  }
  walk s = walk_of(window, channels, window->lines > window->pixels);
  find_weights(&s);
  const bool shared = s.x_pixel == s.x_tap;
  walk_fn *run = shared ? walk_double : walk_double_apart;
  if (form == EQ_FORM_SINGLE) run = shared ? walk_single : walk_single_apart;
  if (form == EQ_FORM_SHIFT) run = shared ? walk_shift : walk_shift_apart;
  if (top && away) run = shared ? walk_away : walk_away_apart;
  if (top && !away) run = shared ? walk_up : walk_up_apart;
  run(out, x, w, channels, &s, linear);
}
#endif
