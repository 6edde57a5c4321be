/* SPDX-License-Identifier: Apache-2.0
 * Matrix product of int8 rows with packed low-bit weights: a few codes of a channel are decoded at a time and meet several
 * rows. Each kind of code has an inner loop of its own. */
#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"
#include "kernels/requant.h"

enum {
  CHUNK = 32, /* codes decoded at a time; 32 products |x * w| <= 2^22 fit int32 */
  ROWS = 8,   /* that meet a decoded chunk, <= EQ_GEMM_ROWS */
  TERMS = 3,  /* powers of two in an entry of SHIFTS */
  TERM_BITS = 5,
  NO_TERM = 31,
  SIGN_BIT = 15,
};

/* A chunk of decoded codes. */
typedef struct chunk {
  int32_t inputs;
  union {
    int16_t values[CHUNK]; /* TWOS, UNSIGNED, LEVELS */
    struct {
      int8_t plus[CHUNK]; /* masks of the inputs to add and to subtract */
      int8_t minus[CHUNK];
    } ternary;
    struct {
      uint8_t places[TERMS * CHUNK]; /* of the inputs; terms to add from the front, terms to subtract from the back */
      uint8_t shifts[TERMS * CHUNK];
      int32_t added;
      int32_t subtracted;
    } terms;
    struct {
      int16_t mantissas[CHUNK]; /* with signs */
      uint8_t shifts[CHUNK];
    } floats;
  } as;
} chunk;

static int32_t sum_products(const int8_t *x, const int16_t *values, int32_t n) {
  int32_t sum = 0;
  for (int32_t i = 0; i < n; i++) sum += (int16_t)x[i] * values[i];
  return sum;
}

static int32_t sum_ternary(const int8_t *x, const int8_t *plus, const int8_t *minus, int32_t n) {
  int32_t sum = 0;
  for (int32_t i = 0; i < n; i++) sum += (x[i] & plus[i]) - (x[i] & minus[i]);
  return sum;
}

/* The terms of a chunk in wrapping arithmetic of a width. */
#define EQ_SUM_TERMS(name, word)                                                                               \
  static word name(const int8_t *x, const chunk *w) {                                                          \
    const uint8_t *places = w->as.terms.places, *shifts = w->as.terms.shifts;                                  \
    word sum = 0;                                                                                              \
    for (int32_t i = 0; i < w->as.terms.added; i++) sum += (word)x[places[i]] << shifts[i];                    \
    places += TERMS * CHUNK - w->as.terms.subtracted;                                                          \
    shifts += TERMS * CHUNK - w->as.terms.subtracted;                                                          \
    for (int32_t i = 0; i < w->as.terms.subtracted; i++) sum -= (word)x[places[i]] << shifts[i];               \
    return sum;                                                                                                \
  }
EQ_SUM_TERMS(sum_terms32, uint32_t)
EQ_SUM_TERMS(sum_terms64, uint64_t)
#undef EQ_SUM_TERMS

static uint64_t sum_floats(const int8_t *x, const int16_t *mantissas, const uint8_t *shifts, int32_t n) {
  uint64_t sum = 0;
  for (int32_t i = 0; i < n; i++) sum += (uint64_t)(int64_t)(x[i] * mantissas[i]) << shifts[i];
  return sum;
}

static uint64_t sum_chunk(const int8_t *x, const chunk *w, int32_t kind, bool wide) {
  switch (kind) {
    case EQ_CODE_TERNARY:
      return (uint64_t)(int64_t)sum_ternary(x, w->as.ternary.plus, w->as.ternary.minus, w->inputs);
    case EQ_CODE_SHIFTS:
      return wide ? sum_terms64(x, w) : sum_terms32(x, w);
    case EQ_CODE_MINIFLOAT:
      return sum_floats(x, w->as.floats.mantissas, w->as.floats.shifts, w->inputs);
    default:
      return (uint64_t)(int64_t)sum_products(x, w->as.values, w->inputs);
  }
}

/* Take n codes of a row, the first being number `first`; no byte behind the last one's is read. */
static void unpack(uint8_t *codes, const uint8_t *row, int32_t first, int32_t n, int32_t bits) {
  const uint32_t mask = (UINT32_C(1) << bits) - 1;
  const int32_t start = first * bits;
  const uint8_t *next = row + (start >> 3);
  uint32_t window = 0;
  int32_t held = 0; /* bits of the window */
  if ((start & 7) != 0) {
    window = (uint32_t)*next++ >> (start & 7);
    held = 8 - (start & 7);
  }
  for (int32_t i = 0; i < n; i++) {
    if (held < bits) {
      window |= (uint32_t)*next++ << held;
      held += 8;
    }
    codes[i] = (uint8_t)(window & mask);
    window >>= bits;
    held -= bits;
  }
}

static void decode_terms(chunk *w, const uint8_t *codes, const int16_t *levels, int32_t n) {
  int32_t added = 0, subtracted = 0;
  for (int32_t i = 0; i < n; i++) {
    const uint32_t entry = (uint16_t)levels[codes[i]];
    for (int32_t term = 0; term < TERMS; term++) {
      const uint32_t shift = entry >> (TERM_BITS * term) & NO_TERM;
      if (shift == NO_TERM) continue;
      const int32_t at = (entry >> SIGN_BIT) != 0 ? TERMS * CHUNK - ++subtracted : added++;
      w->as.terms.places[at] = (uint8_t)i;
      w->as.terms.shifts[at] = (uint8_t)shift;
    }
  }
  w->as.terms.added = added;
  w->as.terms.subtracted = subtracted;
}

static void decode_floats(chunk *w, const uint8_t *codes, int32_t n, int32_t bits, int32_t mantissa_bits) {
  const int32_t implied = 1 << mantissa_bits, sign = 1 << (bits - 1);
  for (int32_t i = 0; i < n; i++) {
    const int32_t exponent = (codes[i] & (sign - 1)) >> mantissa_bits, fraction = codes[i] & (implied - 1);
    const int32_t mantissa = exponent == 0 ? fraction : implied + fraction;
    w->as.floats.mantissas[i] = (int16_t)((codes[i] & sign) != 0 ? -mantissa : mantissa);
    w->as.floats.shifts[i] = (uint8_t)(exponent == 0 ? 0 : exponent - 1);
  }
}

/* Decode n codes of a channel from number `first` on, all of one group with a zero point. */
static void decode(chunk *w, const eq_coded_weights *weights, const uint8_t *row, const int16_t *levels, int32_t first,
                   int32_t n, int32_t zero) {
  uint8_t codes[CHUNK];
  unpack(codes, row, first, n, weights->bits);
  w->inputs = n;
  const int32_t half = 1 << (weights->bits - 1);
  switch (weights->kind) {
    case EQ_CODE_TWOS:
      for (int32_t i = 0; i < n; i++) w->as.values[i] = (int16_t)((codes[i] ^ half) - half);
      break;
    case EQ_CODE_UNSIGNED:
      for (int32_t i = 0; i < n; i++) w->as.values[i] = (int16_t)(codes[i] - zero);
      break;
    case EQ_CODE_LEVELS:
      for (int32_t i = 0; i < n; i++) w->as.values[i] = levels[codes[i]];
      break;
    case EQ_CODE_TERNARY:
      for (int32_t i = 0; i < n; i++) {
        w->as.ternary.plus[i] = (int8_t)-(codes[i] > 1);
        w->as.ternary.minus[i] = (int8_t)-(codes[i] == 0);
      }
      break;
    case EQ_CODE_SHIFTS:
      decode_terms(w, codes, levels, n);
      break;
    default:
      decode_floats(w, codes, n, weights->bits, weights->mantissa_bits);
  }
}

/* sums[r] = sum_i x_r[i] * w[channel][i] for up to ROWS rows. */
static void sum_rows(uint64_t *sums, const int8_t *x, size_t x_stride, const eq_coded_weights *w, int32_t m, int32_t k,
                     int32_t channel) {
  const size_t row_bytes = ((size_t)k * (size_t)w->bits + 7) / 8, c = (size_t)channel;
  const int32_t group = w->group == 0 ? k : w->group;
  const size_t groups = w->group == 0 ? 0 : ((size_t)k + (size_t)group - 1) / (size_t)group;
  const int16_t *levels = w->levels_step == 0 ? w->levels : w->levels + c * w->levels_step;
  for (int32_t r = 0; r < m; r++) sums[r] = 0;
  for (int32_t g = 0, first = 0; first < k; g++) {
    const int32_t end = k - first < group ? k : first + group;
    const size_t at = c * groups + (size_t)g;
    const int32_t zero = w->zeros == NULL ? 0 : w->zeros[at];
    const uint64_t scale = groups == 0 ? 0 : w->scales[at];
    while (first < end) {
      chunk decoded;
      const int32_t n = end - first < CHUNK ? end - first : CHUNK;
      decode(&decoded, w, w->codes + c * row_bytes, levels, first, n, zero);
      for (int32_t r = 0; r < m; r++) {
        const int8_t *inputs = x + (size_t)r * x_stride + first;
        const uint64_t sum = sum_chunk(inputs, &decoded, w->kind, w->wide_biases != NULL);
        sums[r] += groups == 0 ? sum : scale * sum;
      }
      first += n;
    }
  }
}

/* The code of a channel's sum. */
static int8_t code_of(uint64_t sum, const eq_coded_weights *w, int32_t channel, const eq_linear_s8 *linear) {
  if (w->wide_biases == NULL) {
    const int32_t narrow = (int32_t)(uint32_t)sum;
    int8_t code;
    eq_requant_s8(&code, &narrow, channel, 1, linear);
    return code;
  }
  const int64_t total = (int64_t)(sum + (uint64_t)w->wide_biases[channel]);
  const int32_t m = linear->multipliers[channel], shift = linear->shifts[channel], zero = linear->zero;
  const int64_t y = linear->mode == EQ_MODE_EXACT ? eq_requant_exact_wide(total, m, shift)
                                                  : eq_requant_single_wide(total, m, shift);
  return (int8_t)(eq_clamp64(y, linear->act_min - zero, linear->act_max - zero) + zero);
}

void eq_coded_gemm_s8_scalar(int8_t *out, size_t out_stride, const int8_t *x, size_t x_stride, const eq_coded_weights *w,
                             int32_t m, int32_t n, int32_t k, const eq_linear_s8 *linear) {
  for (int32_t row = 0; row < m; row += ROWS) {
    const int32_t rows = eq_min32(ROWS, m - row);
    for (int32_t c = 0; c < n; c++) {
      uint64_t sums[ROWS];
      sum_rows(sums, x, x_stride, w, rows, k, c);
      for (int32_t r = 0; r < rows; r++) out[(size_t)r * out_stride + (size_t)c] = code_of(sums[r], w, c, linear);
    }
    x += (size_t)rows * x_stride;
    out += (size_t)rows * out_stride;
  }
}
