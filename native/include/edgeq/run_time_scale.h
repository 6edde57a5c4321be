/* SPDX-License-Identifier: Apache-2.0
 * Scales that are computed while a model runs: s = m * 2^(e - 31), 2^30 <= m < 2^31.
 * The Python twin is edgeq/ir/run_time_scale.py. */
#ifndef EDGEQ_RUN_TIME_SCALE_H
#define EDGEQ_RUN_TIME_SCALE_H

#include "edgeq/fixed_point.h"

typedef struct eq_scale {
  uint32_t m;
  int32_t e;
} eq_scale;

enum {
  EQ_SCALE_COLUMNS = 3,           /* of a tensor of scales: m, e and the zero point, int32 */
  EQ_SCALE_LIMIT = 1 << 29,       /* of what eq_apply_scale returns */
  EQ_SCALE_EXPONENT = 1 << 12,    /* of a scale in a tensor: what lies beyond is read as this */
  EQ_CONSTANT_EXPONENT = 1 << 14, /* of a scale among a step's parameters */
};

/* Bits of a number without its leading zeros; 0 for 0. */
static inline int32_t eq_bit_length(uint64_t x) {
  const uint32_t high = (uint32_t)(x >> 32);
  return high != 0 ? 64 - eq_clz32(high) : 32 - eq_clz32((uint32_t)x);
}

/* The highest 31 bits of an integer > 0. */
static inline eq_scale eq_scale_of_integer(uint64_t x) {
  const int32_t bits = eq_bit_length(x);
  return (eq_scale){(uint32_t)(bits <= 31 ? x << (31 - bits) : x >> (bits - 31)), bits};
}

/* a * b, rounded; m1 * m2 <= (2^31 - 1)^2, so the rounded product is below 2^31. */
static inline eq_scale eq_scale_product(eq_scale a, eq_scale b) {
  const uint32_t m = (uint32_t)(((uint64_t)a.m * b.m + (UINT64_C(1) << 30)) >> 31);
  const int32_t e = a.e + b.e;
  return m < UINT32_C(1) << 30 ? (eq_scale){m << 1, e - 1} : (eq_scale){m, e};
}

/* 1 / a, rounded down. */
static inline eq_scale eq_scale_inverse(eq_scale a) {
  const uint64_t m = (UINT64_C(1) << 61) / a.m;
  return (eq_scale){m > INT32_MAX ? (uint32_t)INT32_MAX : (uint32_t)m, 1 - a.e};
}

/* x * m * 2^(e - 31), ties toward +infinity, saturated to +-EQ_SCALE_LIMIT; m < 2^31, any e. */
static inline int32_t eq_apply_scale(int32_t x, uint32_t m, int32_t e) {
  const int64_t p = (int64_t)x * (int64_t)m; /* |p| < 2^62 */
  int64_t y;
  if (e < 31) {
    y = e < 31 - 62 ? 0 : eq_asr64(p + (INT64_C(1) << (30 - e)), 31 - e);
  } else {
    y = eq_clamp64(p, -EQ_SCALE_LIMIT, EQ_SCALE_LIMIT) * (INT64_C(1) << eq_min32(e - 31, 31));
  }
  return (int32_t)eq_clamp64(y, -EQ_SCALE_LIMIT, EQ_SCALE_LIMIT);
}

/* The scale in a row of a tensor, whatever lies there. */
static inline eq_scale eq_read_scale(const int32_t row[EQ_SCALE_COLUMNS]) {
  const uint32_t top = UINT32_C(1) << 30;
  return (eq_scale){((uint32_t)row[0] & (top - 1)) | top, eq_clamp32(row[1], -EQ_SCALE_EXPONENT, EQ_SCALE_EXPONENT)};
}

static inline int32_t eq_read_zero(const int32_t row[EQ_SCALE_COLUMNS]) { return eq_clamp32(row[2], -128, 127); }

/* A scale among a step's parameters, and whether it is one. */
static inline eq_scale eq_constant_scale(const int32_t pair[2]) { return (eq_scale){(uint32_t)pair[0], pair[1]}; }
static inline bool eq_scale_legal(const int32_t pair[2]) {
  return pair[0] >= 1 << 30 && pair[1] >= -EQ_CONSTANT_EXPONENT && pair[1] <= EQ_CONSTANT_EXPONENT;
}

#endif
