/* SPDX-License-Identifier: Apache-2.0
 * Transcendental functions in fixed point, operation by operation as gemmlowp and TensorFlow Lite compute them. */
#include "edgeq/fixed_point.h"

/* exp(a) in Q0.31 for a in [-1/4, 0) Q0.31: a fourth-order Taylor series around -1/8. */
static int32_t exp_quarter(int32_t a) {
  const int32_t x = a + (1 << 28);
  const int32_t x2 = eq_srdhm(x, x);
  const int32_t x3 = eq_srdhm(x2, x);
  const int32_t x4 = eq_srdhm(x2, x2);
  const int32_t third = 715827883;        /* 1/3 */
  const int32_t exp_eighth = 1895147668;  /* exp(-1/8) */
  const int32_t tail = eq_rdp(eq_srdhm(eq_rdp(x4, 2) + x3, third) + x2, 1);
  return exp_eighth + eq_srdhm(exp_eighth, x + tail);
}

int32_t eq_exp_neg(int32_t a, int32_t integer_bits) {
  static const int32_t factors[7] = {/* exp(-2^p) for p = -2..4 */
                                     1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
  if (a == 0) return INT32_MAX;
  const int32_t fraction_bits = 31 - integer_bits;
  if (integer_bits > 5 && a < -(1 << (36 - integer_bits))) return 0; /* exp(-32) < 2^-31 */
  const int32_t quarter = 1 << (fraction_bits - 2);
  const int32_t a_mod = (a & (quarter - 1)) - quarter;
  const int32_t remainder = a_mod - a; /* >= 0, a multiple of a quarter */
  int32_t result = exp_quarter(eq_rescale(a_mod, integer_bits, 0));
  for (int32_t power = -2; power <= 4 && power < integer_bits; power++) {
    if ((remainder & (1 << (fraction_bits + power))) != 0) result = eq_srdhm(result, factors[power + 2]);
  }
  return result;
}

int32_t eq_recip1p(int32_t a) {
  const int32_t half = (int32_t)(((uint32_t)a + UINT32_C(0x80000000)) >> 1); /* (1 + a) / 2, in [1/2, 1) */
  int32_t x = 1515870810 + eq_srdhm(half, -1010580540);                     /* 48/17 - 32/17 * half, Q2.29 */
  for (int32_t step = 0; step < 3; step++) {
    const int32_t error = (1 << 29) - eq_srdhm(half, x);
    x = eq_add32(x, eq_saturating_shl(eq_srdhm(x, error), 2));
  }
  return eq_saturating_shl(x, 1);
}

int32_t eq_invsqrt(int32_t value, int32_t *shift) {
  *shift = 0;
  if (value <= 1) return INT32_MAX;
  int32_t right = 11;
  while (value >= 1 << 29) {
    value /= 4;
    right++;
  }
  const int32_t pairs = (eq_clz32((uint32_t)value) - 1) / 2 - 1;
  right -= pairs;
  const int32_t half = eq_rdp(eq_shl32(value, 2 * pairs) >> 1, 1); /* Q3.28 */
  int32_t x = 1 << 28;
  for (int32_t step = 0; step < 5; step++) {
    const int32_t x3 = eq_saturating_shl(eq_srdhm(eq_srdhm(x, x), x), 6);
    const int32_t three_halves = 402653184;
    x = eq_saturating_shl(eq_sub32(eq_srdhm(three_halves, x), eq_srdhm(half, x3)), 3);
  }
  x = eq_srdhm(x, 1518500250); /* sqrt(1/2) */
  if (right < 0) return eq_shl32(x, -right);
  *shift = -right;
  return x;
}
