/* SPDX-License-Identifier: Apache-2.0
 * One element of each elementwise operator; the kernels loop over these. The mode comes in as a constant, so that a
 * loop holds one rounding only. */
#ifndef EDGEQ_ELEMENTWISE_H
#define EDGEQ_ELEMENTWISE_H

#include "edgeq/fixed_point.h"
#include "edgeq/ops.h"

/* clamp(zero + x): bounds are moved before the zero point is added, so that the sum cannot overflow. */
static inline int32_t eq_to_code(int32_t x, int32_t zero, int32_t low, int32_t high) {
  return eq_clamp32(x, low - zero, high - zero) + zero;
}

static inline int32_t eq_add_element(int32_t a, int32_t b, const eq_add_params *p, int32_t mode) {
  const int32_t x = eq_requant(eq_shl32(a - p->zero_a, p->left_shift), p->multiplier_a, p->shift_a, mode);
  const int32_t y = eq_requant(eq_shl32(b - p->zero_b, p->left_shift), p->multiplier_b, p->shift_b, mode);
  const int32_t sum = p->sign > 0 ? eq_add32(x, y) : eq_sub32(x, y);
  return eq_to_code(eq_requant(sum, p->multiplier, p->shift, mode), p->zero, p->act_min, p->act_max);
}

static inline int32_t eq_mul_element(int32_t a, int32_t b, const eq_mul_params *p, int32_t mode) {
  const int32_t product = (a - p->zero_a) * (b - p->zero_b); /* at most 2^30 */
  return eq_to_code(eq_requant(product, p->multiplier, p->shift, mode), p->zero, p->act_min, p->act_max);
}

static inline int32_t eq_squared_difference_element(int32_t a, int32_t b, const eq_squared_difference_params *p,
                                                    int32_t mode) {
  const int32_t x = eq_requant((a - p->zero_a) * 128, p->multiplier_a, p->shift_a, mode);
  const int32_t y = eq_requant((b - p->zero_b) * 128, p->multiplier_b, p->shift_b, mode);
  const uint32_t difference = (uint32_t)(x - y); /* within 2^16, and 2^15 when the scales were folded by edgeq */
  return eq_to_code(eq_requant((int32_t)(difference * difference), p->multiplier, p->shift, mode), p->zero, INT8_MIN,
                    INT8_MAX);
}

static inline int32_t eq_prelu_element(int32_t a, int32_t b, const eq_prelu_params *p, int32_t mode) {
  const int32_t value = a - p->zero_a;
  const int32_t y = value >= 0 ? eq_requant(value, p->multiplier, p->shift, mode)
                               : eq_requant(value * (b - p->zero_b), p->slope_multiplier, p->slope_shift, mode);
  return eq_to_code(y, p->zero, INT8_MIN, INT8_MAX);
}

/* Define kernel `name` over elements of `type`: one loop per mode. */
#define EQ_ELEMENTWISE_KERNEL(name, type, element, params)                                                            \
  static inline void name##_loop(type *out, const type *a, int32_t a_step, const type *b, int32_t b_step, int32_t n,  \
                                 const params *p, int32_t mode) {                                                     \
    const params q = *p; /* which out cannot alias */                                                                 \
    for (int32_t i = 0; i < n; i++, a += a_step, b += b_step) out[i] = (type)element(*a, *b, &q, mode);               \
  }                                                                                                                   \
  void name(type *out, const type *a, int32_t a_step, const type *b, int32_t b_step, int32_t n, const params *p) {    \
    const int32_t mode = eq_mode(p->mode);                                                                            \
    if (mode == EQ_MODE_SINGLE) {                                                                                     \
      name##_loop(out, a, a_step, b, b_step, n, p, EQ_MODE_SINGLE);                                                   \
    } else if (mode == EQ_MODE_DOUBLE) {                                                                              \
      name##_loop(out, a, a_step, b, b_step, n, p, EQ_MODE_DOUBLE);                                                   \
    } else if (mode == EQ_MODE_SHIFT) {                                                                               \
      name##_loop(out, a, a_step, b, b_step, n, p, EQ_MODE_SHIFT);                                                    \
    } else {                                                                                                          \
      name##_loop(out, a, a_step, b, b_step, n, p, EQ_MODE_EXACT);                                                    \
    }                                                                                                                 \
  }

#endif
