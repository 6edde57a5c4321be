/* SPDX-License-Identifier: Apache-2.0
 * coded_gemm_s8 against the scalar one, and the scalar one against codes read bit by bit and summed one by one.
 *
 * A case reaches the full tile with 4 rows, 4 channels and 32 inputs or more. It has tails when rows are no multiple of 4 or
 * inputs none of 16. */
#include "harness.h"
#include "edgeq/fixed_point.h"

enum { ROWS = 4, CHANNELS = 4, INPUTS = 32 };

/* What a code stands for before its group's scale and zero point. */
static int64_t meaning(const eq_coded_weights *w, int32_t code, int32_t channel) {
  const int32_t sign = code >> (w->bits - 1);
  if (w->kind == EQ_CODE_TWOS) return sign != 0 ? code - (1 << w->bits) : code;
  if (w->kind == EQ_CODE_UNSIGNED) return code;
  if (w->kind == EQ_CODE_TERNARY) return code == 0 ? -1 : code == 1 ? 0 : 1;
  if (w->kind == EQ_CODE_MINIFLOAT) {
    const int32_t magnitude = sign != 0 ? code - (1 << (w->bits - 1)) : code;
    const int32_t one = 1 << w->mantissa_bits, exponent = magnitude / one;
    int64_t value = exponent == 0 ? magnitude : magnitude % one + one;
    for (int32_t e = 1; e < exponent; e++) value *= 2;
    return sign != 0 ? -value : value;
  }
  const int32_t entry = w->levels[(size_t)channel * w->levels_step + (size_t)code];
  if (w->kind == EQ_CODE_LEVELS) return entry;
  int64_t sum = 0;
  for (int32_t term = 0; term < 3; term++) {
    const uint32_t exponent = (uint32_t)entry >> (5 * term) & 31;
    if (exponent != 31) sum += INT64_C(1) << exponent;
  }
  return entry < 0 ? -sum : sum;
}

static int64_t weight(const eq_coded_weights *w, int32_t channel, int32_t i, int32_t k) {
  const size_t row_bytes = ((size_t)(k * w->bits) + 7) / 8;
  const uint8_t *row = w->codes + (size_t)channel * row_bytes;
  int32_t code = 0;
  for (int32_t bit = w->bits; bit-- > 0;) {
    const int32_t at = i * w->bits + bit;
    code = 2 * code + (row[at / 8] >> (at % 8) & 1);
  }
  const int64_t value = meaning(w, code, channel);
  if (w->group == 0) return value;
  const int32_t at = channel * ((k + w->group - 1) / w->group) + i / w->group;
  return w->scales[at] * (value - (w->zeros == NULL ? 0 : w->zeros[at]));
}

/* x * m * 2^-total rounded to nearest, ties up, for |x| < 2^47 and 17 <= total <= 62: the product in words of 32 bits. */
static int64_t scale(int64_t x, int32_t m, int32_t total) {
  const int64_t high = x >> 32, low = x & 0xFFFFFFFF, half = INT64_C(1) << (total - 1);
  const int64_t upper = high * m + ((low * m) >> 32), lower = (low * m) & 0xFFFFFFFF;
  if (total > 32) return (upper + (half >> 32)) >> (total - 32);
  return upper * (INT64_C(1) << (32 - total)) + ((lower + half) >> total);
}

/* The definition; sums in 64 bits wrap as those in 32 bits do once they are cut. */
static void multiply(int8_t *out, size_t out_stride, const int8_t *x, size_t x_stride, const eq_coded_weights *w, int32_t m,
                     int32_t n, int32_t k, const eq_linear_s8 *linear) {
  for (int32_t r = 0; r < m; r++) {
    for (int32_t c = 0; c < n; c++) {
      const bool wide = w->wide_biases != NULL;
      uint64_t sum = (uint64_t)(wide ? w->wide_biases[c] : linear->bias[c]);
      for (int32_t i = 0; i < k; i++) sum += (uint64_t)weight(w, c, i, k) * (uint64_t)x[(size_t)r * x_stride + (size_t)i];
      const int32_t shift = linear->shifts[c], multiplier = linear->multipliers[c];
      const int64_t total = (int64_t)sum;
      int64_t y;
      if (!wide) {
        y = eq_requant((int32_t)(uint32_t)sum, multiplier, shift, linear->mode);
      } else if (linear->mode == EQ_MODE_EXACT && total < 0) {
        y = -scale(-total, multiplier, 31 - shift);
      } else {
        y = scale(total, multiplier, 31 - shift);
      }
      const int64_t code = eq_clamp64(y, linear->act_min - linear->zero, linear->act_max - linear->zero) + linear->zero;
      out[(size_t)r * out_stride + (size_t)c] = (int8_t)code;
    }
  }
}

static eq_coded_weights draw_weights(harness *h, int32_t kind, int32_t n, int32_t k) {
  eq_coded_weights w = {.kind = kind, .bits = draw(h, 1, 8)};
  if (kind == EQ_CODE_TERNARY) w.bits = 2;
  if (kind == EQ_CODE_MINIFLOAT) {
    w.bits = draw(h, 3, 8);
    w.mantissa_bits = draw(h, w.bits > 7 ? w.bits - 6 : 1, w.bits - 2);
  }
  const size_t bytes = (size_t)n * (((size_t)(k * w.bits) + 7) / 8), entries = (size_t)1 << w.bits;
  uint8_t *codes = buffer(h, bytes, 1);
  fill(h, codes, bytes);
  w.codes = codes;
  if (kind == EQ_CODE_LEVELS || kind == EQ_CODE_SHIFTS) {
    const size_t tables = chance(h, 40) ? (size_t)n : 1;
    int16_t *levels = buffer(h, 2 * tables * entries, 2);
    fill(h, levels, 2 * tables * entries);
    w.levels = levels;
    w.levels_step = tables > 1 ? entries : 0;
  }
  if (k > 0 && chance(h, 50)) {
    w.group = draw(h, 1, k + 2);
    const size_t groups = (size_t)n * (((size_t)k + (size_t)w.group - 1) / (size_t)w.group);
    uint8_t *scales = buffer(h, groups, 1), *zeros = buffer(h, groups, 1);
    fill(h, scales, groups);
    fill(h, zeros, groups);
    w.scales = scales;
    w.zeros = kind == EQ_CODE_UNSIGNED && chance(h, 70) ? zeros : NULL;
  }
  return w;
}

/* Let the sums have 64 bits, with biases and shifts that suit them, unless they could leave 47. */
static void draw_wide(harness *h, eq_coded_weights *w, eq_linear_s8 *linear, int32_t n, int32_t k) {
  int64_t *biases = buffer(h, 8 * (size_t)n, 8);
  int8_t *shifts = buffer(h, (size_t)n, 1);
  for (int32_t c = 0; c < n; c++) {
    uint64_t reach = UINT64_C(1) << 40;
    for (int32_t i = 0; i < k; i++) {
      const int64_t value = weight(w, c, i, k);
      if (value <= -(INT64_C(1) << 39) || value >= INT64_C(1) << 39) return;
      reach += 128 * (uint64_t)(value < 0 ? -value : value);
    }
    if (reach >> 47 != 0) return;
    biases[c] = (int64_t)draw(h, -(1 << 20), 1 << 20) * (1 << draw(h, 0, 20));
    shifts[c] = (int8_t)draw(h, -31, chance(h, 5) ? 14 : 0);
  }
  w->wide_biases = biases;
  linear->shifts = shifts;
}

static void run(harness *h) {
  const int32_t m = chance(h, 15) ? draw(h, 0, 3) : draw(h, 1, 20);
  const int32_t n = chance(h, 10) ? draw(h, 0, 3) : draw(h, 1, 20);
  const int32_t k = chance(h, 30) ? draw_size(h, 0, 300) : draw(h, 0, 20) * 8 + (chance(h, 40) ? draw(h, 0, 7) : 0);
  covers(h, m >= ROWS && n >= CHANNELS && k >= INPUTS, m % 4 != 0 || k % 16 != 0);

  const size_t x_stride = (size_t)k + (chance(h, 30) ? (size_t)draw(h, 1, 40) : 0);
  const size_t out_stride = (size_t)n + (chance(h, 30) ? (size_t)draw(h, 1, 40) : 0);
  const size_t x_bytes = m > 0 ? (size_t)(m - 1) * x_stride + (size_t)k : 0;
  const size_t out_bytes = m > 0 ? (size_t)(m - 1) * out_stride + (size_t)n : 0;
  int8_t *x = buffer(h, x_bytes, 1), *found = buffer(h, out_bytes, 1), *expected = buffer(h, out_bytes, 1);
  fill(h, x, x_bytes);
  fill(h, found, out_bytes);
  for (size_t i = 0; i < out_bytes; i++) expected[i] = found[i];
  eq_coded_weights w = draw_weights(h, draw(h, EQ_CODE_TWOS, EQ_CODE_MINIFLOAT), n, k);
  eq_linear_s8 linear = draw_linear(h, n, 1000 + 200 * k);
  if (linear.mode == EQ_MODE_DOUBLE) linear.mode = EQ_MODE_SINGLE;
  if (chance(h, 40)) {
    draw_wide(h, &w, &linear, n, k);
    if (linear.mode == EQ_MODE_SHIFT) linear.mode = EQ_MODE_SINGLE;
  }

  multiply(expected, out_stride, x, x_stride, &w, m, n, k, &linear);
  h->table->coded_gemm_s8(found, out_stride, x, x_stride, &w, m, n, k, &linear);
  same(h, found, expected, out_bytes, "kind=%d bits=%d group=%d m=%d n=%d k=%d wide=%d mode=%d", w.kind, w.bits, w.group, m,
       n, k, w.wide_biases != NULL, linear.mode);
}

static void bench_kind(harness *h, const char *name, int32_t kind, int32_t bits, int32_t group) {
  enum { M = 64, N = 64, K = 576 };
  h->buffers = 0;
  int8_t *x = buffer(h, (size_t)M * K, 1), *out = buffer(h, (size_t)M * N, 1);
  uint8_t *codes = buffer(h, (size_t)N * K, 1), *scales = buffer(h, (size_t)N * K, 1);
  int16_t *levels = buffer(h, 512, 2);
  fill(h, x, (size_t)M * K);
  fill(h, codes, (size_t)N * K);
  fill(h, scales, (size_t)N * K);
  for (int32_t i = 0; i < 256; i++) { /* one power of two, as logarithmic weights have; any number for LEVELS */
    levels[i] = kind == EQ_CODE_SHIFTS ? (int16_t)((i & 7) | 31 << 5 | 31 << 10 | ((i & 8) != 0 ? INT16_MIN : 0)) : (int16_t)i;
  }
  const eq_coded_weights w = {.kind = kind, .bits = bits, .mantissa_bits = kind == EQ_CODE_MINIFLOAT ? 3 : 0,
                              .group = group, .codes = codes, .levels = levels, .scales = scales};
  eq_linear_s8 linear = draw_linear(h, N, 1000 + 20 * K);
  linear.mode = EQ_MODE_SINGLE;
  BENCH(h, name, (int64_t)M * N * K) h->table->coded_gemm_s8(out, N, x, K, &w, M, N, K, &linear);
}

static void bench(harness *h) {
  bench_kind(h, "int4", EQ_CODE_TWOS, 4, 0);
  bench_kind(h, "int4 in groups", EQ_CODE_TWOS, 4, 64);
  bench_kind(h, "codebook4", EQ_CODE_LEVELS, 4, 0);
  bench_kind(h, "ternary", EQ_CODE_TERNARY, 2, 0);
  bench_kind(h, "log4", EQ_CODE_SHIFTS, 4, 0);
  bench_kind(h, "fp8", EQ_CODE_MINIFLOAT, 8, 0);
}

const kernel_check check_coded_gemm_s8 = {.run = run, .bench = bench, .defines = true};
