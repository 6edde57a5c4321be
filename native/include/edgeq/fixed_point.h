/* SPDX-License-Identifier: Apache-2.0
 * Fixed-point arithmetic: the one C definition of every rounding that reaches an integer result.
 * The Python twin is edgeq/ir/fixed_point.py; the two are compared exhaustively at the edges. */
#ifndef EDGEQ_FIXED_POINT_H
#define EDGEQ_FIXED_POINT_H

#include <stdbool.h>
#include <stdint.h>

/* Requantization modes; permanent codes of the model file. */
enum {
  EQ_MODE_DOUBLE = 0, /* two roundings: high multiply, then rounding shift */
  EQ_MODE_SINGLE = 1, /* one rounding, ties toward +infinity */
  EQ_MODE_EXACT = 2,  /* one rounding, ties away from zero */
  EQ_MODE_INT16 = 3,  /* 16-bit multiplier, 64-bit accumulator */
  EQ_MODE_SHIFT = 4,  /* single where every multiplier is EQ_HALF: a shift alone */
};

/* The mode of a step. A build for models whose requantizations all have one mode may name it, e.g. -DEQ_ONLY_MODE=4: the
 * compiler then drops the arithmetic of the others. */
static inline int32_t eq_mode(int32_t mode) {
#if defined(EQ_ONLY_MODE)
  (void)mode;
  return EQ_ONLY_MODE;
#else
  return mode;
#endif
}

/* The multiplier of powers of two: as a number of 31 fractional bits, one half. */
enum { EQ_HALF = 1 << 30 };

/* Arithmetic shift right, also of negative values. Every compiler edgeq supports implements >> so; a static
 * assertion in runtime/model.c holds them to it. */
static inline int32_t eq_asr32(int32_t x, int32_t e) { return x >> e; }
static inline int64_t eq_asr64(int64_t x, int32_t e) { return x >> e; }

/* x * 2^e in two's complement; 0 <= e <= 31. */
static inline int32_t eq_shl32(int32_t x, int32_t e) { return (int32_t)((uint32_t)x << e); }

/* Sum in two's complement. */
static inline int32_t eq_add32(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }
static inline int32_t eq_sub32(int32_t a, int32_t b) { return (int32_t)((uint32_t)a - (uint32_t)b); }

static inline int32_t eq_min32(int32_t a, int32_t b) { return a < b ? a : b; }
static inline int32_t eq_max32(int32_t a, int32_t b) { return a > b ? a : b; }
static inline int32_t eq_clamp32(int32_t x, int32_t lo, int32_t hi) { return eq_min32(eq_max32(x, lo), hi); }
static inline int64_t eq_clamp64(int64_t x, int64_t lo, int64_t hi) { return x < lo ? lo : (x > hi ? hi : x); }

/* Saturating rounding doubling high multiply: (a * b) / 2^31, ties toward +infinity. */
static inline int32_t eq_srdhm(int32_t a, int32_t b) {
  if (a == INT32_MIN && b == INT32_MIN) return INT32_MAX;
  /* (p + n) / 2^31 truncating equals (p + 2^30) >> 31 for either sign of p: for p < 0 the nudge 1 - 2^30 followed by
   * truncation toward zero is the ceiling form of the same floor. */
  return (int32_t)eq_asr64((int64_t)a * b + ((int64_t)1 << 30), 31);
}

/* The same for int16 values: (a * b) / 2^15. */
static inline int32_t eq_srdhm16(int32_t a, int32_t b) {
  if (a == INT16_MIN && b == INT16_MIN) return INT16_MAX;
  return eq_asr32(a * b + (1 << 14), 15);
}

/* Rounding divide by 2^e, ties away from zero; 0 <= e <= 31. */
static inline int32_t eq_rdp(int32_t x, int32_t e) {
  const int32_t mask = (int32_t)((UINT32_C(1) << e) - 1);
  const int32_t threshold = (mask >> 1) + (x < 0);
  return eq_asr32(x, e) + ((x & mask) > threshold);
}

/* x * 2^e saturated to int32; 0 <= e <= 30. */
static inline int32_t eq_saturating_shl(int32_t x, int32_t e) {
  if (e == 0) return x;
  const int32_t threshold = (int32_t)((UINT32_C(1) << (31 - e)) - 1);
  if (x > threshold) return INT32_MAX;
  if (x < -threshold) return INT32_MIN;
  return eq_shl32(x, e);
}

/* Change the number of integer bits of a Q number. */
static inline int32_t eq_rescale(int32_t x, int32_t source_bits, int32_t target_bits) {
  return source_bits < target_bits ? eq_rdp(x, target_bits - source_bits)
                                   : eq_saturating_shl(x, source_bits - target_bits);
}

/* Leading zeros of x; 32 for 0. */
static inline int32_t eq_clz32(uint32_t x) {
  int32_t n = 32;
  while (x != 0) {
    x >>= 1;
    n--;
  }
  return n;
}

/* x / 2^e rounded to nearest, ties toward +infinity; 0 <= e <= 31. Unlike (x + 2^(e-1)) >> e it cannot overflow, as
 * long as x < INT32_MAX: high halves of a product, which requantization rounds, are at most INT32_MAX - 1. */
static inline int32_t eq_rsh(int32_t x, int32_t e) {
  return e == 0 ? x : eq_asr32(eq_asr32(x, e - 1) + 1, 1);
}

/* x * m * 2^(shift - 31) in modes double, single, exact; 0 <= m, -31 <= shift <= 30. The common case shift < 0 needs
 * one 64-bit product and then 32-bit arithmetic only: a floor of a floor is the floor of the whole quotient. */
static inline int32_t eq_requant_double(int32_t x, int32_t m, int32_t shift) {
  const int32_t scaled = shift > 0 ? eq_shl32(x, shift) : x;
  /* m >= 0, so the high product lies strictly above INT32_MIN; a negative number less one rounds its ties down */
  const int32_t high = (int32_t)eq_asr64((int64_t)scaled * m + ((int64_t)1 << 30), 31);
  return shift < 0 ? eq_rsh(high - (high < 0), -shift) : high;
}

/* For shift < 0 that is a truncating doubling high multiply (SQDMULH) and a rounding shift (SRSHL) by -shift; for
 * shift >= 0 the same of x * 2^(shift + 1) by 1, where |x| < 2^(30 - shift). For shift <= -2 the high word of the
 * product and a rounding shift by -shift - 1 will do. */
static inline int32_t eq_requant_single(int32_t x, int32_t m, int32_t shift) {
  const int64_t p = (int64_t)x * m;
  if (shift < 0) return eq_rsh((int32_t)eq_asr64(p, 31), -shift);
  return (int32_t)eq_asr64(p + ((int64_t)1 << (30 - shift)), 31 - shift);
}

static inline int32_t eq_requant_exact(int32_t x, int32_t m, int32_t shift) {
  const int64_t p = (int64_t)x * m;
  const int64_t nudged = p - (p < 0); /* as above */
  if (shift < 0) return eq_rsh((int32_t)eq_asr64(nudged, 31), -shift);
  return (int32_t)eq_asr64(nudged + ((int64_t)1 << (30 - shift)), 31 - shift);
}

/* eq_requant_single with the multiplier EQ_HALF: x * 2^(shift - 1), which a right shift rounds. Where eq_rsh would add 1 to
 * INT32_MAX, for shift = 0, this adds the last bit to the others. */
static inline int32_t eq_requant_shift(int32_t x, int32_t shift) {
  if (shift > 0) return eq_shl32(x, shift - 1);
  const int32_t twice = eq_asr32(x, -shift);
  return eq_asr32(twice, 1) + (twice & 1);
}

static inline int32_t eq_requant(int32_t x, int32_t m, int32_t shift, int32_t mode) {
  if (mode == EQ_MODE_SHIFT) return eq_requant_shift(x, shift);
  if (mode == EQ_MODE_DOUBLE) return eq_requant_double(x, m, shift);
  if (mode == EQ_MODE_SINGLE) return eq_requant_single(x, m, shift);
  return eq_requant_exact(x, m, shift);
}

/* Mode int16: |x| < 2^47, -31 <= shift <= 14. The result is saturated to int32. */
static inline int32_t eq_requant_int16(int64_t x, int32_t m, int32_t shift) {
  const int32_t m16 = m < 0x7FFF0000 ? eq_asr32(m + (1 << 15), 16) : 0x7FFF;
  const int32_t total = 15 - shift;
  return (int32_t)eq_clamp64(eq_asr64(x * m16 + ((int64_t)1 << (total - 1)), total), INT32_MIN, INT32_MAX);
}

/* x * m * 2^(shift - 31) in modes single and exact for sums beyond int32: |x| < 2^47, 0 <= m, -31 <= shift <= 14. The
 * product, of 78 bits, is taken in two parts, low 16 bits first: no bit is lost as 31 - shift >= 17. Larger sums wrap. */
static inline int64_t eq_requant_single_wide(int64_t x, int32_t m, int32_t shift) {
  const int32_t total = 31 - shift;
  const uint64_t low = ((uint64_t)x & 0xFFFF) * (uint32_t)m >> 16, high = (uint64_t)eq_asr64(x, 16) * (uint32_t)m;
  return eq_asr64((int64_t)(high + low + (UINT64_C(1) << (total - 17))), total - 16);
}

static inline int64_t eq_requant_exact_wide(int64_t x, int32_t m, int32_t shift) {
  const int32_t total = 31 - shift;
  const uint64_t magnitude = x < 0 ? 0 - (uint64_t)x : (uint64_t)x;
  const uint64_t low = (magnitude & 0xFFFF) * (uint32_t)m >> 16, high = (magnitude >> 16) * (uint32_t)m;
  const int64_t y = (int64_t)((high + low + (UINT64_C(1) << (total - 17))) >> (total - 16));
  return x < 0 ? -y : y;
}

/* exp(a) in Q0.31 for a <= 0 in Q(i).(31 - i). */
int32_t eq_exp_neg(int32_t a, int32_t integer_bits);
/* 1 / (1 + a) in Q0.31 for a in [0, 1) Q0.31. */
int32_t eq_recip1p(int32_t a);
/* 1 / sqrt(value) = m * 2^(shift - 31) scaled as TensorFlow Lite does; returns m, writes shift; value >= 0. */
int32_t eq_invsqrt(int32_t value, int32_t *shift);

#endif
