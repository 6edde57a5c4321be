/* SPDX-License-Identifier: Apache-2.0
 * Matrix product of int8 rows with int8 weights that lie in rows too, four by four at a time. */
#if defined(__aarch64__)
#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"
#include "kernels/neon/requant_neon.h"

enum { TILE = 4, LANES = 16 };

/* A tile's rows, or its last one again in place of those beyond the end. */
typedef struct tile_rows {
  const int8_t *at[TILE];
} tile_rows;

static tile_rows rows_of(const int8_t *first, size_t stride, int32_t count) {
  tile_rows rows;
  for (int32_t r = 0; r < TILE; r++) rows.at[r] = first + (size_t)eq_min32(r, count - 1) * stride;
  return rows;
}

/* Add the products of 16 inputs; two of -128 * -128 do not fit int16 together. */
EQ_ALWAYS_INLINE void add_products(int32x4_t sums[TILE][TILE], const int8x16_t x[TILE], const int8x16_t w[TILE]) {
#pragma GCC unroll 4
  for (int r = 0; r < TILE; r++) {
#pragma GCC unroll 4
    for (int c = 0; c < TILE; c++) {
      sums[r][c] = vpadalq_s16(sums[r][c], vmull_s8(vget_low_s8(x[r]), vget_low_s8(w[c])));
      sums[r][c] = vpadalq_s16(sums[r][c], vmull_high_s8(x[r], w[c]));
    }
  }
}

/* The last k < 16 codes of a row in front of zeros. */
static int8x16_t load_short(const int8_t *x, int32_t k) {
  int8_t codes[LANES] = {0};
  for (int32_t i = 0; i < k; i++) codes[i] = x[i];
  return vld1q_s8(codes);
}

/* found[r] = sum_i x[r][i] * (w[c][i] - zero) for the tile's channels c. */
static void sum_tile(int32x4_t found[TILE], const tile_rows *x, const tile_rows *w, int32_t k, int32_t zero) {
  int32x4_t sums[TILE][TILE], inputs[TILE];
  for (int r = 0; r < TILE; r++) {
    inputs[r] = vdupq_n_s32(0);
    for (int c = 0; c < TILE; c++) sums[r][c] = vdupq_n_s32(0);
  }
  for (int32_t i = 0; i < k; i += LANES) {
    int8x16_t xs[TILE], ws[TILE];
    const int32_t left = k - i;
#pragma GCC unroll 4
    for (int r = 0; r < TILE; r++) {
      xs[r] = left >= LANES ? vld1q_s8(x->at[r] + i) : load_short(x->at[r] + i, left);
      ws[r] = left >= LANES ? vld1q_s8(w->at[r] + i) : load_short(w->at[r] + i, left);
    }
    add_products(sums, xs, ws);
    if (zero != 0) {
      for (int r = 0; r < TILE; r++) inputs[r] = vpadalq_s16(inputs[r], vpaddlq_s8(xs[r]));
    }
  }
  for (int r = 0; r < TILE; r++) {
    found[r] = vpaddq_s32(vpaddq_s32(sums[r][0], sums[r][1]), vpaddq_s32(sums[r][2], sums[r][3]));
    found[r] = vmlsq_n_s32(found[r], vdupq_n_s32(vaddvq_s32(inputs[r])), zero);
  }
}

EQ_ALWAYS_INLINE void run(int8_t *out, size_t out_stride, const int8_t *x, size_t x_stride, const int8_t *w, int32_t m,
                          int32_t n, int32_t k, const eq_linear_s8 *linear, eq_requant_form form) {
  const eq_codes codes = eq_codes_of(linear);
  for (int32_t row = 0; row < m; row += TILE) {
    const int32_t rows = eq_min32(m - row, TILE);
    const tile_rows xs = rows_of(x + (size_t)row * x_stride, x_stride, rows);
    for (int32_t first = 0; first < n; first += TILE) {
      const int32_t channels = eq_min32(n - first, TILE);
      const tile_rows ws = rows_of(w + (size_t)first * (size_t)k, (size_t)k, channels);
      int32x4_t y[TILE];
      eq_channels4 c[2];
      int8_t found[TILE][TILE];
      sum_tile(y, &xs, &ws, k, linear->weights_zero);
      eq_load_channels(c, linear, first, channels, form);
#pragma GCC unroll 4
      for (int r = 0; r < TILE; r++) y[r] = eq_requant4(vaddq_s32(y[r], c[0].bias), &c[0], form);
      vst1q_s8(found[0], eq_codes16(y[0], y[1], y[2], y[3], &codes));
      for (int32_t r = 0; r < rows; r++) {
        int8_t *to = out + (size_t)(row + r) * out_stride + (size_t)first;
        for (int32_t i = 0; i < channels; i++) to[i] = found[r][i];
      }
    }
  }
}

void eq_gemm_s8_neon(int8_t *out, size_t out_stride, const int8_t *x, size_t x_stride, const int8_t *w, int32_t m,
                     int32_t n, int32_t k, const eq_linear_s8 *linear) {
#define RUN(form) \
  case form: run(out, out_stride, x, x_stride, w, m, n, k, linear, form); break;
  switch (eq_requant_form_of(linear, n)) {
    RUN(EQ_FORM_UP)
    RUN(EQ_FORM_AWAY)
    RUN(EQ_FORM_DOUBLE)
    RUN(EQ_FORM_SINGLE)
    RUN(EQ_FORM_WIDE)
    RUN(EQ_FORM_SHIFT)
    default: run(out, out_stride, x, x_stride, w, m, n, k, linear, EQ_FORM_EXACT);
  }
#undef RUN
}
#endif
