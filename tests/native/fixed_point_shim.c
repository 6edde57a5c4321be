/* SPDX-License-Identifier: Apache-2.0
 * The inline functions of fixed_point.h over arrays, for comparison with their Python twin. */
#include "edgeq/fixed_point.h"

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

void shim_exp_neg(int32_t *out, const int32_t *a, int32_t integer_bits, int32_t n) {
  for (int32_t i = 0; i < n; i++) out[i] = eq_exp_neg(a[i], integer_bits);
}

void shim_recip1p(int32_t *out, const int32_t *a, int32_t n) {
  for (int32_t i = 0; i < n; i++) out[i] = eq_recip1p(a[i]);
}

void shim_invsqrt(int32_t *out, int32_t *shift, const int32_t *value, int32_t n) {
  for (int32_t i = 0; i < n; i++) out[i] = eq_invsqrt(value[i], &shift[i]);
}
