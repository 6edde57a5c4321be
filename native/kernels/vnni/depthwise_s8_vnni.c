/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution by VPDPBUSD: four taps of 16 channels in one instruction.
 *
 * A step makes 64 codes: 64 channels of a pixel, or several pixels of 8, 16 or 32 channels. The bytes of four taps are
 * interleaved by two rounds of unpacking, which leaves the sums of codes 16 l + 4 q + i in lane l of vector q, and packing
 * the codes undoes that order. Inputs go in as x + 128; 128 * (sum of weights) is taken off the bias. Interleaving costs
 * more than the products, so windows of 3x3 taps keep the columns that the next step has as well. */
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include "kernels/vnni/requant_vnni.h"

extern eq_depthwise_s8_fn eq_depthwise_s8_scalar;

enum { STEP = 64, MAX_QUADS = 14 };

/* What is the same for all pixels of a block of channels. */
typedef struct block {
  __m512i weights[MAX_QUADS][4];
  __m512i bias[4];
  eq_requant16 requant[4];
  size_t offsets[MAX_QUADS][4]; /* of the taps from a pixel's first one */
  int32_t quads;
  bool nine;       /* taps, a quad for each column of three */
  size_t x_column; /* of those, from one to the next */
} block;

/* How the 64 inputs of a tap lie in memory. */
enum { WHOLE, PART, HALVES, QUARTERS };

typedef struct reach {
  __mmask64 present; /* of PART */
  size_t pixel;      /* distance of HALVES and QUARTERS */
} reach;

EQ_VNNI_INLINE __m512i load(const int8_t *x, int32_t kind, const reach *r) {
  if (kind == WHOLE) return _mm512_loadu_si512(x);
  if (kind == PART) return _mm512_maskz_loadu_epi8(r->present, x);
  if (kind == HALVES) {
    const __m256i first = _mm256_loadu_si256((const __m256i *)(const void *)x);
    const __m256i second = _mm256_loadu_si256((const __m256i *)(const void *)(x + r->pixel));
    return _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
  }
  __m512i all = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)x));
  all = _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i *)(const void *)(x + r->pixel)), 1);
  all = _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i *)(const void *)(x + 2 * r->pixel)), 2);
  return _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i *)(const void *)(x + 3 * r->pixel)), 3);
}

/* Bytes of four taps side by side. */
EQ_VNNI_INLINE void interleave(__m512i out[4], __m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i ab = _mm512_unpacklo_epi8(a, b), cd = _mm512_unpacklo_epi8(c, d);
  const __m512i ab_high = _mm512_unpackhi_epi8(a, b), cd_high = _mm512_unpackhi_epi8(c, d);
  out[0] = _mm512_unpacklo_epi16(ab, cd);
  out[1] = _mm512_unpackhi_epi16(ab, cd);
  out[2] = _mm512_unpacklo_epi16(ab_high, cd_high);
  out[3] = _mm512_unpackhi_epi16(ab_high, cd_high);
}

/* The lines of a block of pixels, in steps; distances are in bytes. */
typedef struct walk {
  int32_t lines;
  int32_t steps; /* of a line */
  size_t x_line, out_line;
  size_t x_step, out_step;
} walk;

/* The four taps at `offsets` from x, side by side; the last of them is any when only three have weights. */
EQ_VNNI_INLINE void read_quad(__m512i in[4], const int8_t *x, const size_t offsets[4], int32_t kind, const reach *r,
                              bool three) {
  const __m512i flip = _mm512_set1_epi8((char)0x80);
  __m512i taps[4];
  EQ_UNROLL for (int32_t i = 0; i < 3; i++) taps[i] = _mm512_xor_si512(load(x + offsets[i], kind, r), flip);
  taps[3] = three ? taps[2] : _mm512_xor_si512(load(x + offsets[3], kind, r), flip);
  interleave(in, taps[0], taps[1], taps[2], taps[3]);
}

/* 64 codes from their sums. */
EQ_VNNI_INLINE void finish_step(int8_t *out, const __m512i acc[4], const block *b, const eq_requant_form *f, int32_t kind,
                                const reach *r) {
  __m512i y[4];
  if (f->away) {
    EQ_UNROLL for (int32_t i = 0; i < 4; i++) y[i] = eq_requant16_apply(acc[i], &b->requant[i], f, true);
  } else {
    EQ_UNROLL for (int32_t i = 0; i < 4; i++) y[i] = eq_requant16_apply(acc[i], &b->requant[i], f, false);
  }
  if (kind == PART) {
    _mm512_mask_storeu_epi8(out, r->present, eq_pack64(y, f));
  } else {
    _mm512_storeu_si512(out, eq_pack64(y, f));
  }
}

EQ_VNNI_INLINE void run_steps(int8_t *out, const int8_t *x, const walk *w, const block *b, const eq_requant_form *f,
                              int32_t kind, const reach *r, int32_t quads, bool three) {
  for (int32_t line = 0; line < w->lines; line++, out += w->out_line, x += w->x_line) {
    int8_t *to = out;
    const int8_t *from = x;
    for (int32_t i = 0; i < w->steps; i++, to += w->out_step, from += w->x_step) {
      __m512i acc[4];
      EQ_UNROLL for (int32_t k = 0; k < 4; k++) acc[k] = b->bias[k];
      for (int32_t q = 0; q < quads; q++) {
        __m512i in[4];
        read_quad(in, from, b->offsets[q], kind, r, three);
        EQ_UNROLL for (int32_t k = 0; k < 4; k++) acc[k] = _mm512_dpbusd_epi32(acc[k], in[k], b->weights[q][k]);
      }
      finish_step(to, acc, b, f, kind, r);
    }
  }
}

/* The same for windows of 3x3 taps, a quad each column, of which every step reads `fresh` anew and has the others from the
 * step before. */
EQ_VNNI_INLINE void run_sliding(int8_t *out, const int8_t *x, const walk *w, const block *b, const eq_requant_form *f,
                                int32_t kind, const reach *r, int32_t fresh) {
  for (int32_t line = 0; line < w->lines; line++, out += w->out_line, x += w->x_line) {
    int8_t *to = out;
    const int8_t *from = x;
    __m512i in[3][4]; /* column q of step i is in[(fresh * i + q) % 3] */
    EQ_UNROLL for (int32_t q = 0; q < 3 - fresh; q++) read_quad(in[q], from, b->offsets[q], kind, r, true);
    for (int32_t i = 0; i < w->steps; i += 3) {
      EQ_UNROLL for (int32_t u = 0; u < 3; u++, to += w->out_step, from += w->x_step) {
        if (i + u == w->steps) break;
        EQ_UNROLL for (int32_t q = 3 - fresh; q < 3; q++) {
          read_quad(in[(fresh * u + q) % 3], from, b->offsets[q], kind, r, true);
        }
        __m512i acc[4];
        EQ_UNROLL for (int32_t k = 0; k < 4; k++) acc[k] = b->bias[k];
        EQ_UNROLL for (int32_t q = 0; q < 3; q++) {
          EQ_UNROLL for (int32_t k = 0; k < 4; k++) {
            acc[k] = _mm512_dpbusd_epi32(acc[k], in[(fresh * u + q) % 3][k], b->weights[q][k]);
          }
        }
        finish_step(to, acc, b, f, kind, r);
      }
    }
  }
}

/* Functions of their own, so that each has all registers to itself. */
typedef void steps_fn(int8_t *out, const int8_t *x, const walk *w, const block *b, const eq_requant_form *f, const reach *r);
#define STEPS(name, kind, run, ...)                                                                             \
  __attribute__((noinline)) EQ_VNNI static void name(int8_t *out, const int8_t *x, const walk *w, const block *b, \
                                                     const eq_requant_form *f, const reach *r) {                \
    run(out, x, w, b, f, kind, r, __VA_ARGS__);                                                                 \
  }
STEPS(whole_any, WHOLE, run_steps, b->quads, false)
STEPS(part_any, PART, run_steps, b->quads, false)
STEPS(halves_any, HALVES, run_steps, b->quads, false)
STEPS(quarters_any, QUARTERS, run_steps, b->quads, false)
STEPS(whole_nine, WHOLE, run_steps, 3, true)
STEPS(part_nine, PART, run_steps, 3, true)
STEPS(halves_nine, HALVES, run_steps, 3, true)
STEPS(quarters_nine, QUARTERS, run_steps, 3, true)
STEPS(whole_by_one, WHOLE, run_sliding, 1)
STEPS(part_by_one, PART, run_sliding, 1)
STEPS(whole_by_two, WHOLE, run_sliding, 2)
STEPS(part_by_two, PART, run_sliding, 2)

/* By kind. */
static steps_fn *const any_window[4] = {whole_any, part_any, halves_any, quarters_any};
static steps_fn *const nine_taps[4] = {whole_nine, part_nine, halves_nine, quarters_nine};
static steps_fn *const sliding[2][2] = {{whole_by_one, part_by_one}, {whole_by_two, part_by_two}};

static void choose_and_run(int8_t *out, const int8_t *x, const walk *w, const block *b, const eq_requant_form *f,
                           int32_t kind, const reach *r) {
  if (!b->nine) {
    any_window[kind](out, x, w, b, f, r);
    return;
  }
  const bool one = w->x_step == b->x_column, two = w->x_step == 2 * b->x_column;
  if (w->steps > 1 && kind <= PART && (one || two)) {
    sliding[two][kind](out, x, w, b, f, r);
  } else {
    nine_taps[kind](out, x, w, b, f, r);
  }
}

/* Bytes of `channels` channels, repeated where they are 8, 16 or 32 in all. */
EQ_VNNI_INLINE __m512i spread_bytes(const int8_t *from, int32_t channels, __mmask64 present) {
  if (channels == 8) return _mm512_broadcastq_epi64(_mm_loadl_epi64((const __m128i *)(const void *)from));
  if (channels == 16) return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)from));
  if (channels == 32) return _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(const void *)from));
  return _mm512_maskz_loadu_epi8(present, from);
}

/* The same of int32, as four vectors in the order that interleaving leaves. */
EQ_VNNI_INLINE void spread_words(__m512i out[4], const int32_t *from, int32_t channels, __mmask64 present) {
  __m512i v[4];
  for (int32_t i = 0; i < 4; i++) {
    if (channels == 8) {
      v[i] = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(const void *)from));
    } else if (channels == 16 || channels == 32) {
      v[i] = _mm512_loadu_si512(from + 16 * i % channels);
    } else {
      v[i] = _mm512_maskz_loadu_epi32((__mmask16)(present >> 16 * i), from + 16 * i);
    }
  }
  const __m512i a = _mm512_shuffle_i32x4(v[0], v[1], 0x44), b = _mm512_shuffle_i32x4(v[2], v[3], 0x44);
  const __m512i c = _mm512_shuffle_i32x4(v[0], v[1], 0xEE), d = _mm512_shuffle_i32x4(v[2], v[3], 0xEE);
  out[0] = _mm512_shuffle_i32x4(a, b, 0x88);
  out[1] = _mm512_shuffle_i32x4(a, b, 0xDD);
  out[2] = _mm512_shuffle_i32x4(c, d, 0x88);
  out[3] = _mm512_shuffle_i32x4(c, d, 0xDD);
}

/* Taps in fours along the axis that leaves fewer fours; 0 when they are too many. */
static int32_t count_quads(const eq_depthwise_window *w, bool *down) {
  const int32_t rows = (w->rows + 3) / 4 * w->columns, columns = (w->columns + 3) / 4 * w->rows;
  *down = rows <= columns;
  const int32_t quads = rows <= columns ? rows : columns;
  return quads <= MAX_QUADS ? quads : 0;
}

EQ_VNNI static void set_block(block *b, const int8_t *w, int32_t first, int32_t channels, const eq_depthwise_window *window,
                              const eq_linear_s8 *linear, bool down, __mmask64 present) {
  const int32_t along = down ? window->rows : window->columns, across = down ? window->columns : window->rows;
  const size_t w_along = down ? window->w_row : window->w_column, w_across = down ? window->w_column : window->w_row;
  const size_t x_along = down ? window->x_row : window->x_column, x_across = down ? window->x_column : window->x_row;
  const __m512i ones = _mm512_set1_epi8(1);
  __m512i sums[4];
  for (int32_t i = 0; i < 4; i++) sums[i] = _mm512_setzero_si512();
  b->quads = 0;
  b->nine = down && along == 3 && across == 3;
  b->x_column = window->x_column;
  for (int32_t j = 0; j < across; j++) {
    for (int32_t i = 0; i < along; i += 4) {
      __m512i taps[4];
      for (int32_t tap = 0; tap < 4; tap++) {
        const size_t at = (size_t)(i + tap < along ? i + tap : i); /* a tap that is not there weighs nothing */
        b->offsets[b->quads][tap] = at * x_along + (size_t)j * x_across;
        taps[tap] = i + tap < along ? spread_bytes(w + first + at * w_along + (size_t)j * w_across, channels, present)
                                    : _mm512_setzero_si512();
      }
      interleave(b->weights[b->quads], taps[0], taps[1], taps[2], taps[3]);
      for (int32_t k = 0; k < 4; k++) sums[k] = _mm512_dpbusd_epi32(sums[k], ones, b->weights[b->quads][k]);
      b->quads++;
    }
  }
  __m512i m[4], shifts[4];
  spread_words(b->bias, linear->bias + first, channels, present);
  spread_words(m, linear->multipliers + first, channels, present);
  interleave(shifts, spread_bytes(linear->shifts + first, channels, present), _mm512_setzero_si512(),
             _mm512_setzero_si512(), _mm512_setzero_si512());
  for (int32_t i = 0; i < 4; i++) {
    b->bias[i] = _mm512_sub_epi32(b->bias[i], _mm512_slli_epi32(sums[i], 7));
    /* from the low byte alone: -1 - s */
    const __m512i shift = _mm512_and_si512(_mm512_sub_epi32(_mm512_set1_epi32(255), shifts[i]), _mm512_set1_epi32(255));
    eq_requant16_set(&b->requant[i], m[i], shift, linear);
  }
}

EQ_VNNI void eq_depthwise_s8_vnni(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                                  const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  bool down;
  if (linear->weights_zero != 0 || count_quads(window, &down) == 0 || !eq_shifts_right(linear->shifts, channels)) {
    eq_depthwise_s8_scalar(out, x, w, channels, window, linear);
    return;
  }
  const eq_requant_form form = eq_requant_form_of(linear);
  const bool dense = window->x_pixel == (size_t)channels;
  const bool repeated = channels == 16 || channels == 32 || (channels == 8 && dense);
  const int32_t pixels_a_step = repeated ? STEP / channels : 1;
  block b;
  for (int32_t first = 0; first < channels; first += STEP) {
    const int32_t n = channels - first < STEP ? channels - first : STEP;
    reach r = {.present = UINT64_MAX >> (STEP - n), .pixel = window->x_pixel};
    const int32_t kind = n == STEP || (repeated && dense) ? WHOLE : channels == 32 ? HALVES : repeated ? QUARTERS : PART;
    set_block(&b, w, first, channels, window, linear, down, r.present);
    const int32_t steps = window->pixels / pixels_a_step, left = window->pixels % pixels_a_step;
    walk w = {
        .lines = window->lines, .steps = steps, .x_line = window->x_line, .out_line = window->out_line,
        .x_step = (size_t)pixels_a_step * window->x_pixel, .out_step = (size_t)(pixels_a_step * channels),
    };
    int8_t *to = out + first;
    const int8_t *from = x + first;
    if (steps > 0) choose_and_run(to, from, &w, &b, &form, kind, &r);
    if (left == 0) continue;
    /* the last pixels of a line: all at once where they lie side by side */
    if (dense) r.present = UINT64_MAX >> (STEP - left * channels);
    to += (size_t)steps * w.out_step;
    from += (size_t)steps * w.x_step;
    w.steps = dense ? 1 : left;
    w.x_step = window->x_pixel;
    w.out_step = (size_t)channels;
    choose_and_run(to, from, &w, &b, &form, PART, &r);
  }
}

#endif
