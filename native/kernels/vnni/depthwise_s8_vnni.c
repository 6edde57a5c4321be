/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution by VPDPBUSD: four taps of 16 channels in one instruction.
 *
 * A step makes 64 codes: 64 channels of a pixel, or several pixels of 8, 16 or 32 channels. The bytes of four taps are
 * interleaved by two rounds of unpacking, which leaves the sums of codes 16 l + 4 q + i in lane l of vector q, and packing
 * the codes undoes that order. Inputs go in as x + 128; 128 * (sum of weights) is taken off the bias. */
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include "kernels/vnni/requant_vnni.h"

extern eq_depthwise_s8_fn eq_depthwise_s8_scalar;

enum { STEP = 64, MAX_QUADS = 14, SMALL_QUADS = 3 };

/* What is the same for all pixels of a block of channels. */
typedef struct block {
  __m512i weights[MAX_QUADS][4];
  __m512i bias[4];
  eq_requant16 requant[4];
  size_t offsets[MAX_QUADS][4]; /* of the taps from a pixel's first one */
  int32_t quads;
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

/* 64 codes of the pixels whose first tap is at x. */
EQ_VNNI_INLINE __m512i make_step(const int8_t *x, const block *b, const eq_requant_form *f, int32_t kind, const reach *r,
                                 int32_t quads) {
  const __m512i flip = _mm512_set1_epi8((char)0x80);
  __m512i acc[4];
  EQ_UNROLL for (int32_t i = 0; i < 4; i++) acc[i] = b->bias[i];
  for (int32_t q = 0; q < quads; q++) {
    __m512i taps[4], in[4];
    EQ_UNROLL for (int32_t i = 0; i < 4; i++) taps[i] = _mm512_xor_si512(load(x + b->offsets[q][i], kind, r), flip);
    interleave(in, taps[0], taps[1], taps[2], taps[3]);
    EQ_UNROLL for (int32_t i = 0; i < 4; i++) acc[i] = _mm512_dpbusd_epi32(acc[i], in[i], b->weights[q][i]);
  }
  __m512i y[4];
  if (f->away) {
    EQ_UNROLL for (int32_t i = 0; i < 4; i++) y[i] = eq_requant16_apply(acc[i], &b->requant[i], f, true);
  } else {
    EQ_UNROLL for (int32_t i = 0; i < 4; i++) y[i] = eq_requant16_apply(acc[i], &b->requant[i], f, false);
  }
  return eq_pack64(y, f);
}

/* `steps` steps, the inputs of one `ahead` bytes behind those of the one before, the codes `out_ahead`. */
#define STEPS(name, kind, quads)                                                                                       \
  EQ_VNNI static void name(int8_t *out, size_t out_ahead, const int8_t *x, size_t ahead, int32_t steps, const block *b, \
                           const eq_requant_form *f, const reach *r) {                                                 \
    for (int32_t i = 0; i < steps; i++, out += out_ahead, x += ahead) {                                                \
      const __m512i codes = make_step(x, b, f, kind, r, quads);                                                        \
      if ((kind) == PART) {                                                                                            \
        _mm512_mask_storeu_epi8(out, r->present, codes);                                                               \
      } else {                                                                                                         \
        _mm512_storeu_si512(out, codes);                                                                               \
      }                                                                                                                \
    }                                                                                                                  \
  }
STEPS(whole_3, WHOLE, SMALL_QUADS)
STEPS(part_3, PART, SMALL_QUADS)
STEPS(halves_3, HALVES, SMALL_QUADS)
STEPS(quarters_3, QUARTERS, SMALL_QUADS)
STEPS(whole_any, WHOLE, b->quads)
STEPS(part_any, PART, b->quads)
STEPS(halves_any, HALVES, b->quads)
STEPS(quarters_any, QUARTERS, b->quads)

EQ_VNNI static void run_steps(int8_t *out, size_t out_ahead, const int8_t *x, size_t ahead, int32_t steps, const block *b,
                              const eq_requant_form *f, int32_t kind, const reach *r) {
  const bool small = b->quads == SMALL_QUADS;
  if (kind == WHOLE) {
    (small ? whole_3(out, out_ahead, x, ahead, steps, b, f, r) : whole_any(out, out_ahead, x, ahead, steps, b, f, r));
  } else if (kind == PART) {
    (small ? part_3(out, out_ahead, x, ahead, steps, b, f, r) : part_any(out, out_ahead, x, ahead, steps, b, f, r));
  } else if (kind == HALVES) {
    (small ? halves_3(out, out_ahead, x, ahead, steps, b, f, r) : halves_any(out, out_ahead, x, ahead, steps, b, f, r));
  } else {
    (small ? quarters_3(out, out_ahead, x, ahead, steps, b, f, r) : quarters_any(out, out_ahead, x, ahead, steps, b, f, r));
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
    const size_t ahead = (size_t)pixels_a_step * window->x_pixel, out_ahead = (size_t)(pixels_a_step * channels);
    if (left > 0 && dense) r.present = UINT64_MAX >> (STEP - left * channels);
    for (int32_t line = 0; line < window->lines; line++) {
      int8_t *to = out + (size_t)line * window->out_line + first;
      const int8_t *from = x + (size_t)line * window->x_line + first;
      run_steps(to, out_ahead, from, ahead, steps, &b, &form, kind, &r);
      if (left == 0) continue;
      /* the last pixels of a line: all at once where they lie side by side */
      to += (size_t)steps * out_ahead;
      from += (size_t)steps * ahead;
      run_steps(to, (size_t)channels, from, window->x_pixel, dense ? 1 : left, &b, &form, PART, &r);
    }
  }
}

#endif
