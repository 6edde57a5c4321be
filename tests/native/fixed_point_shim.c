/* SPDX-License-Identifier: Apache-2.0
 * The inline functions of fixed_point.h and run_time_scale.h over arrays, for comparison with their Python twins. */
#include "edgeq/fixed_point.h"
#include "edgeq/run_time_scale.h"

void shim_srdhm(int32_t *out, const int32_t *a, const int32_t *b, int32_t n) {
  for (int32_t i = 0; i < n; i++) out[i] = eq_srdhm(a[i], b[i]);
}

/* The definition as published: a nudge by the sign of the product, then truncating division. */
void shim_srdhm_published(int32_t *out, const int32_t *a, const int32_t *b, int32_t n) {
  for (int32_t i = 0; i < n; i++) {
    const int64_t product = (int64_t)a[i] * b[i];
    const int64_t nudge = product >= 0 ? (int64_t)1 << 30 : 1 - ((int64_t)1 << 30);
    out[i] = a[i] == INT32_MIN && b[i] == INT32_MIN ? INT32_MAX : (int32_t)((product + nudge) / ((int64_t)1 << 31));
  }
}

void shim_srdhm16(int32_t *out, const int32_t *a, const int32_t *b, int32_t n) {
  for (int32_t i = 0; i < n; i++) out[i] = eq_srdhm16(a[i], b[i]);
}

void shim_rdp(int32_t *out, const int32_t *x, const int32_t *exponent, int32_t n) {
  for (int32_t i = 0; i < n; i++) out[i] = eq_rdp(x[i], exponent[i]);
}

void shim_saturating_shl(int32_t *out, const int32_t *x, const int32_t *exponent, int32_t n) {
  for (int32_t i = 0; i < n; i++) out[i] = eq_saturating_shl(x[i], exponent[i]);
}

void shim_rescale(int32_t *out, const int32_t *x, int32_t source_bits, int32_t target_bits, int32_t n) {
  for (int32_t i = 0; i < n; i++) out[i] = eq_rescale(x[i], source_bits, target_bits);
}

void shim_clz32(int32_t *out, const int32_t *x, int32_t n) {
  for (int32_t i = 0; i < n; i++) out[i] = eq_clz32((uint32_t)x[i]);
}

void shim_requant(int32_t *out, const int32_t *x, const int32_t *m, const int32_t *shift, int32_t mode, int32_t n) {
  for (int32_t i = 0; i < n; i++) out[i] = eq_requant(x[i], m[i], shift[i], mode);
}

void shim_requant_int16(int32_t *out, const int64_t *x, const int32_t *m, const int32_t *shift, int32_t n) {
  for (int32_t i = 0; i < n; i++) out[i] = eq_requant_int16(x[i], m[i], shift[i]);
}

/* Saturated as every user clamps it. */
void shim_requant_wide(int32_t *out, const int64_t *x, const int32_t *m, const int32_t *shift, int32_t mode, int32_t n) {
  for (int32_t i = 0; i < n; i++) {
    const int64_t y = mode == EQ_MODE_EXACT ? eq_requant_exact_wide(x[i], m[i], shift[i])
                                            : eq_requant_single_wide(x[i], m[i], shift[i]);
    out[i] = (int32_t)eq_clamp64(y, INT32_MIN, INT32_MAX);
  }
}

void shim_exp_neg(int32_t *out, const int32_t *a, int32_t integer_bits, int32_t n) {
  for (int32_t i = 0; i < n; i++) out[i] = eq_exp_neg(a[i], integer_bits);
}

void shim_recip1p(int32_t *out, const int32_t *a, int32_t n) {
  for (int32_t i = 0; i < n; i++) out[i] = eq_recip1p(a[i]);
}

void shim_invsqrt(int32_t *out, int32_t *shift, const int32_t *value, int32_t n) {
  for (int32_t i = 0; i < n; i++) out[i] = eq_invsqrt(value[i], &shift[i]);
}

void shim_apply_scale(int32_t *out, const int32_t *x, const int32_t *m, const int32_t *e, int32_t n) {
  for (int32_t i = 0; i < n; i++) out[i] = eq_apply_scale(x[i], (uint32_t)m[i], e[i]);
}

void shim_scale_product(int32_t *m, int32_t *e, const int32_t *m1, const int32_t *e1, const int32_t *m2,
                        const int32_t *e2, int32_t n) {
  for (int32_t i = 0; i < n; i++) {
    const eq_scale a = {(uint32_t)m1[i], e1[i]}, b = {(uint32_t)m2[i], e2[i]};
    const eq_scale product = eq_scale_product(a, b);
    m[i] = (int32_t)product.m;
    e[i] = product.e;
  }
}

void shim_scale_inverse(int32_t *m, int32_t *e, const int32_t *m1, const int32_t *e1, int32_t n) {
  for (int32_t i = 0; i < n; i++) {
    const eq_scale inverse = eq_scale_inverse((eq_scale){(uint32_t)m1[i], e1[i]});
    m[i] = (int32_t)inverse.m;
    e[i] = inverse.e;
  }
}

void shim_scale_of_integer(int32_t *m, int32_t *e, const int64_t *x, int32_t n) {
  for (int32_t i = 0; i < n; i++) {
    const eq_scale scale = eq_scale_of_integer((uint64_t)x[i]);
    m[i] = (int32_t)scale.m;
    e[i] = scale.e;
  }
}

void shim_read_scale(int32_t *m, int32_t *e, int32_t *zero, const int32_t *rows, int32_t n) {
  n /= 3; /* numbers, three to a row */
  for (int32_t i = 0; i < n; i++) {
    const eq_scale scale = eq_read_scale(rows + 3 * i);
    m[i] = (int32_t)scale.m;
    e[i] = scale.e;
    zero[i] = eq_read_zero(rows + 3 * i);
  }
}
