/* SPDX-License-Identifier: Apache-2.0
 * The last part of the DSP kernels of linear layers: sums to codes, four rows at a time. */
#if defined(__ARM_FEATURE_DSP) && __ARM_ARCH_PROFILE == 'M'
#include "kernels/dsp/requant_dsp.h"

#include "kernels/requant.h"

enum { ROWS = 4, LARGEST_BIAS = 1 << 29 };

static int32_t mode_of(const eq_linear_s8 *linear) { return eq_mode(linear->mode); }

bool eq_is_fast_dsp(const eq_linear_s8 *linear, int32_t n) {
  const int32_t mode = mode_of(linear);
  if (mode == EQ_MODE_EXACT) return false;
  const int32_t highest = mode == EQ_MODE_DOUBLE ? -1 : -2;
  for (int32_t c = 0; c < n; c++) {
    const int32_t bias = linear->bias[c];
    if (linear->shifts[c] > highest || bias >= LARGEST_BIAS || bias <= -LARGEST_BIAS) return false;
  }
  return true;
}

static inline __attribute__((always_inline)) void scale(int8_t *out, size_t stride, const eq_sums_dsp *of, int32_t first,
                                                        const eq_linear_s8 *linear, int32_t mode) {
  const int32_t *m = linear->multipliers + first;
  const int8_t *shifts = linear->shifts + first;
  const int32_t zero = linear->zero, rows = of->rows, n = of->n;
  const size_t step = (size_t)of->row_step;
  const int32_t *sums = of->sums;
  for (int32_t c = 0; c < n; c++, out++) {
    const int32_t multiplier = *m++, e = (mode == EQ_MODE_SINGLE ? -1 : 0) - *shifts++;
    const int32_t *x = sums;
    int8_t *to = out;
#define CODE(x) (int8_t)eq_saturated_dsp(eq_scaled_dsp(x, multiplier, e, zero, mode))
    int32_t left = rows;
    for (; left >= ROWS; left -= ROWS, x += ROWS * step, to += ROWS * stride) {
      to[0] = CODE(x[0]);
      to[stride] = CODE(x[step]);
      to[2 * stride] = CODE(x[2 * step]);
      to[3 * stride] = CODE(x[3 * step]);
    }
    for (; left > 0; left--, x += step, to += stride) *to = CODE(*x);
#undef CODE
    sums += c % 2 == 0 ? 1 : of->pair_step - 1;
  }
}

/* Bounds that leave codes out; rare, so codes are read again. */
static void clamp(int8_t *out, size_t stride, const eq_sums_dsp *of, const eq_linear_s8 *linear) {
  for (int32_t r = 0; r < of->rows; r++, out += stride) {
    for (int32_t c = 0; c < of->n; c++) out[c] = (int8_t)eq_clamp32(out[c], linear->act_min, linear->act_max);
  }
}

void eq_requant_s8_dsp(int8_t *out, size_t out_stride, const eq_sums_dsp *of, int32_t first, const eq_linear_s8 *linear,
                       bool fast) {
  if (!fast) {
    for (int32_t r = 0; r < of->rows; r++) {
      const int32_t *row = of->sums + r * of->row_step;
      for (int32_t c = 0; c < of->n; c++) {
        eq_requant_s8(out + (size_t)r * out_stride + c, row + c / 2 * of->pair_step + c % 2, first + c, 1, linear);
      }
    }
    return;
  }
  if (mode_of(linear) == EQ_MODE_DOUBLE) {
    scale(out, out_stride, of, first, linear, EQ_MODE_DOUBLE);
  } else {
    scale(out, out_stride, of, first, linear, EQ_MODE_SINGLE); /* powers of two as well */
  }
  if (linear->act_min > INT8_MIN || linear->act_max < INT8_MAX) clamp(out, out_stride, of, linear);
}
#endif
