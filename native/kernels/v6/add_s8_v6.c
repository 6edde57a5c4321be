/* SPDX-License-Identifier: Apache-2.0
 * Sums and differences of int8 codes with rounded high words of products. */
#if defined(__arm__) && defined(__ARM_FEATURE_SIMD32) && !defined(__ARM_NEON)
#include "edgeq/ops.h"
#include "kernels/kernels.h"
#include "kernels/v6/simd_v6.h"

eq_add_s8_fn eq_add_s8_scalar;

enum { BLOCK = 32 /* elements whose operands wait on the stack; one loop for all would need too many registers */ };

/* to[i] = (x[i * step] - zero) * 2^left * m * 2^(shift - 31) in mode double or single; |.| <= 2^28, shift <= 0. */
static void rescale(int32_t *restrict to, const int8_t *x, int32_t step, int32_t n, int32_t zero, int32_t left, int32_t m,
                    int32_t shift, int32_t mode) {
  if (mode == EQ_MODE_SINGLE) { /* two bits further to the left every shift is below -1 */
    for (int32_t i = 0; i < n; i++, x += step) to[i] = eq_scale_single((*x - zero) * (4 << left), m, shift - 2);
  } else if (shift < 0) {
    for (int32_t i = 0; i < n; i++, x += step) to[i] = eq_scale_double((*x - zero) * (1 << left), m, shift);
  } else {
    for (int32_t i = 0; i < n; i++, x += step) to[i] = eq_high_rounded((*x - zero) * (2 << left), m);
  }
}

/* Codes of a + sign * b, which is at most 2^29; shift < 0. */
static void add_terms(int8_t *restrict out, const int32_t *a, const int32_t *b, int32_t n, const eq_add_params *p) {
  const int32_t low = p->act_min - p->zero, high = p->act_max - p->zero, zero = p->zero;
  const int32_t sign = p->sign, m = p->multiplier, shift = p->shift;
  if (p->mode == EQ_MODE_SINGLE) {
    for (int32_t i = 0; i < n; i++) {
      out[i] = (int8_t)(eq_clamp32(eq_scale_single(2 * (a[i] + sign * b[i]), m, shift - 1), low, high) + zero);
    }
  } else {
    for (int32_t i = 0; i < n; i++) {
      out[i] = (int8_t)(eq_clamp32(eq_scale_double(a[i] + sign * b[i], m, shift), low, high) + zero);
    }
  }
}

static void add(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                const eq_add_params *p) {
  if (p->mode == EQ_MODE_EXACT || p->shift >= 0) {
    eq_add_s8_scalar(out, a, a_step, b, b_step, n, p);
    return;
  }
  for (int32_t first = 0; first < n; first += BLOCK) {
    const int32_t count = eq_min32(n - first, BLOCK);
    int32_t x[BLOCK], y[BLOCK];
    rescale(x, a + first * a_step, a_step, count, p->zero_a, p->left_shift, p->multiplier_a, p->shift_a, p->mode);
    rescale(y, b + first * b_step, b_step, count, p->zero_b, p->left_shift, p->multiplier_b, p->shift_b, p->mode);
    add_terms(out + first, x, y, count, p);
  }
}

void eq_add_s8_v6(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                  const struct eq_add_params *p) {
  if (p->mode != EQ_MODE_SHIFT) {
    add(out, a, a_step, b, b_step, n, p);
    return;
  }
  eq_add_params single = *p; /* which with these multipliers gives the same */
  single.mode = EQ_MODE_SINGLE;
  add(out, a, a_step, b, b_step, n, &single);
}
#endif
