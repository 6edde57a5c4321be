/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution with windows of at most 3x3 by SDOT, eight channels at a time.
 *
 * SDOT adds four products within a channel, so the codes of up to four taps across the walk are interleaved: quads of
 * taps. Pixels are visited along the longer axis, where a quad serves up to three windows, and with stride 1 across it
 * the fourth code makes it serve two neighbours. Per pixel that is fewer multiplications than taps. */
#if defined(__aarch64__)
#include "kernels/neon/requant_neon.h"

eq_depthwise_s8_fn eq_depthwise_s8_neon;

#define TARGET __attribute__((target("arch=armv8.2-a+dotprod")))
#define WALK_INLINE TARGET EQ_ALWAYS_INLINE

enum { GROUP = 8, TAPS = 3, LEAST_TAPS = 4, MANY_PIXELS = 36 };

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

/* The constants of eight channels. */
typedef struct channels8 {
  int8x16_t weights[TAPS][2]; /* of quads: four channels each, whose fourth tap is 0 */
  int8x16_t below[TAPS][2];   /* of the neighbour across, whose first tap is 0 */
  eq_channels4 c[2];
  eq_codes codes;
} channels8;

/* The taps across at one place along the walk: eight channels of four rows, a channel's codes side by side. */
WALK_INLINE void interleave(int8x16_t quad[2], int8x8_t a, int8x8_t b, int8x8_t c, int8x8_t d) {
  const int8x8_t none = vdup_n_s8(0);
  const int16x8_t ab = vreinterpretq_s16_s8(vzip1q_s8(vcombine_s8(a, none), vcombine_s8(b, none)));
  const int16x8_t cd = vreinterpretq_s16_s8(vzip1q_s8(vcombine_s8(c, none), vcombine_s8(d, none)));
  quad[0] = vreinterpretq_s8_s16(vzip1q_s16(ab, cd));
  quad[1] = vreinterpretq_s8_s16(vzip2q_s16(ab, cd));
}

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

/* The codes of a pixel whose taps are the quads a, b and c, and of its neighbour across when there are two. */
WALK_INLINE void finish_pixel(int8_t *out, size_t out_line, const int8x16_t a[2], const int8x16_t b[2],
                              const int8x16_t c[2], const channels8 *k, bool two, eq_requant_form form, bool relu) {
  int32x4_t y[4];
  const int count = two ? 4 : 2;
#pragma GCC unroll 4
  for (int i = 0; i < count; i++) {
    const int8x16_t(*w)[2] = i < 2 ? k->weights : k->below;
    const int h = i % 2;
    int32x4_t sums = k->c[h].bias;
    sums = vdotq_s32(vdotq_s32(vdotq_s32(sums, a[h], w[0][h]), b[h], w[1][h]), c[h], w[2][h]);
    y[i] = eq_requant4(sums, &k->c[h], form);
  }
  if (two) {
    const int8x16_t codes = relu ? eq_codes16_relu(y[0], y[1], y[2], y[3], &k->codes)
                                 : eq_codes16(y[0], y[1], y[2], y[3], &k->codes);
    vst1_s8(out, vget_low_s8(codes));
    vst1_s8(out + out_line, vget_high_s8(codes));
  } else {
    vst1_s8(out, relu ? eq_codes8_relu(y[0], y[1], &k->codes) : eq_codes8(y[0], y[1], &k->codes));
  }
}

/* One line of pixels, or two. */
WALK_INLINE void walk_line(int8_t *out, const int8_t *x, const walk *s, const channels8 *k, overlap shared, bool two,
                           eq_requant_form form, bool relu) {
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
#define FINISH(a, b, c)                                             \
  do {                                                              \
    finish_pixel(out, out_line, a, b, c, k, two, form, relu);       \
    out += out_pixel;                                               \
  } while (0)
  /* three pixels at a time, after which the quads are where they were */
  if (shared == SHARE_TWO) {
    LOAD(a);
    LOAD(b);
    for (; left >= 3; left -= 3) {
      LOAD(c);
      FINISH(a, b, c);
      LOAD(a);
      FINISH(b, c, a);
      LOAD(b);
      FINISH(c, a, b);
    }
    if (left == 0) return;
    LOAD(c);
    FINISH(a, b, c);
    if (left == 1) return;
    LOAD(a);
    FINISH(b, c, a);
  } else if (shared == SHARE_ONE) {
    LOAD(a);
    for (; left >= 3; left -= 3) {
      LOAD(b);
      LOAD(c);
      FINISH(a, b, c);
      LOAD(a);
      LOAD(b);
      FINISH(c, a, b);
      LOAD(c);
      LOAD(a);
      FINISH(b, c, a);
    }
    if (left == 0) return;
    LOAD(b);
    LOAD(c);
    FINISH(a, b, c);
    if (left == 1) return;
    LOAD(a);
    LOAD(b);
    FINISH(c, a, b);
  } else {
    const size_t next = s->taps_along > 1 ? x_tap : 0, after = s->taps_along > 2 ? 2 * x_tap : next;
    for (; left > 0; left--) {
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

/* Eight channels of all pixels. */
WALK_INLINE void walk_lines(int8_t *out, const int8_t *x, const walk *s, const channels8 *k, eq_requant_form form,
                            bool relu) {
  int32_t line = 0;
  if (s->x_pixel == s->x_tap && s->x_line == s->x_tap_across) {
    for (; line + 2 <= s->lines; line += 2, x += 2 * s->x_line, out += 2 * s->out_line) {
      walk_line(out, x, s, k, SHARE_TWO, true, form, relu);
    }
  }
  for (; line < s->lines; line++, x += s->x_line, out += s->out_line) {
    if (s->x_pixel == s->x_tap) {
      walk_line(out, x, s, k, SHARE_TWO, false, form, relu);
    } else if (s->x_pixel == 2 * s->x_tap) {
      walk_line(out, x, s, k, SHARE_ONE, false, form, relu);
    } else {
      walk_line(out, x, s, k, SHARE_NONE, false, form, relu);
    }
  }
}

typedef void walk_fn(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels, const walk *s,
                     const eq_linear_s8 *linear);

WALK_INLINE void walk_groups(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels, const walk *s,
                             const eq_linear_s8 *linear, eq_requant_form form, bool relu) {
  channels8 k;
  k.codes = eq_codes_of(linear);
  for (int32_t next = 0; next < channels; next += GROUP) {
    /* the last group is moved back until it ends with the pixel: some channels are computed once more */
    const int32_t first = eq_min32(next, channels - GROUP);
    load_weights(&k, w + first, s);
    eq_load_channels8(k.c, linear, first, form);
    walk_lines(out + first, x + first, s, &k, form, relu);
  }
}

TARGET static void walk_relu(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels, const walk *s,
                             const eq_linear_s8 *linear) {
  walk_groups(out, x, w, channels, s, linear, EQ_FORM_UP, true);
}

TARGET static void walk_double(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels, const walk *s,
                               const eq_linear_s8 *linear) {
  walk_groups(out, x, w, channels, s, linear, EQ_FORM_DOUBLE, false);
}

TARGET static void walk_single(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels, const walk *s,
                               const eq_linear_s8 *linear) {
  walk_groups(out, x, w, channels, s, linear, EQ_FORM_SINGLE, false);
}

TARGET void eq_depthwise_s8_dotprod(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                                    const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  const eq_requant_form found = eq_requant_form_of(linear, channels);
  const bool is_small = window->rows <= TAPS && window->columns <= TAPS && window->rows * window->columns >= LEAST_TAPS;
  /* where neighbours share one tap of three, interleaving costs more than it saves, but fills blocks of eight */
  const bool is_strided = window->rows == TAPS && window->columns == TAPS && channels % 16 == 0 &&
                          window->x_pixel == 2 * window->x_column && window->x_line == 2 * window->x_row &&
                          (int64_t)window->lines * window->pixels >= MANY_PIXELS;
  const bool is_exact = found == EQ_FORM_EXACT || found == EQ_FORM_WIDE;
  if (channels < GROUP || !is_small || is_strided || linear->weights_zero != 0 || is_exact) {
    eq_depthwise_s8_neon(out, x, w, channels, window, linear);
    return;
  }
  if (window->lines == 0 || window->pixels == 0) return;
  walk s = {
      .pixels = window->pixels, .lines = window->lines, .taps_along = window->columns, .taps_across = window->rows,
      .x_tap = window->x_column, .x_pixel = window->x_pixel, .out_pixel = (size_t)channels, .w_tap = window->w_column,
      .x_tap_across = window->x_row, .x_line = window->x_line, .out_line = window->out_line,
      .w_tap_across = window->w_row,
  };
  if (window->lines > window->pixels) {
    s = (walk){
        .pixels = s.lines, .lines = s.pixels, .taps_along = s.taps_across, .taps_across = s.taps_along,
        .x_tap = s.x_tap_across, .x_pixel = s.x_line, .out_pixel = s.out_line, .w_tap = s.w_tap_across,
        .x_tap_across = s.x_tap, .x_line = s.x_pixel, .out_line = s.out_pixel, .w_tap_across = s.w_tap,
    };
  }
  find_weights(&s);
  const bool relu = found == EQ_FORM_UP && linear->act_min == linear->zero;
  walk_fn *const run = relu ? walk_relu : found == EQ_FORM_SINGLE ? walk_single : walk_double;
  run(out, x, w, channels, &s, linear);
}
#endif
