/* SPDX-License-Identifier: Apache-2.0
 * Sum and difference of int8 codes of two scales, four at a time. */
#if defined(__ARM_FEATURE_MVE)
#include "edgeq/ops.h"
#include "kernels/mve/elementwise_mve.h"

eq_add_s8_fn eq_add_s8_scalar;

/* The sum, or the difference for a sign of -1. half: the first operand is multiplied by one half, which is a shift.
 * `terms` is the way of the other operands, `way` that of the sum. */
EQ_ALWAYS_INLINE void add(eq_fours f, const eq_add_params *p, bool half, eq_way terms, eq_way way) {
  const eq_scale scale_a = eq_scale_of(p->multiplier_a, p->shift_a, terms);
  const eq_scale scale_b = eq_scale_of(p->multiplier_b, p->shift_b, terms);
  const eq_scale scale = eq_scale_of(p->multiplier, p->shift, way);
  const eq_codes codes = eq_codes_of(p->zero, p->act_min, p->act_max);
  const int32_t factor = 1 << p->left_shift, factor_a = half ? factor / 2 : factor;
  const int32_t offset_a = -p->zero_a * factor_a, offset_b = -p->zero_b * factor, sign = p->sign;
  const int32x4_t factors_a = vdupq_n_s32(factor_a), factors_b = vdupq_n_s32(factor);
  EQ_FOR_FOURS(f, codes, {
    x_a = vmlasq_n_s32(x_a, factors_a, offset_a);
    if (!half) x_a = eq_requant4_by(x_a, scale_a, terms);
    x_b = eq_requant4_by(vmlasq_n_s32(x_b, factors_b, offset_b), scale_b, terms);
    y = eq_requant4_by(half ? vaddq_s32(x_a, x_b) : vmlaq_n_s32(x_a, x_b, sign), scale, way);
  })
}

static bool is_half(int32_t left_shift, int32_t multiplier, int32_t shift) {
  return left_shift >= 1 && multiplier == EQ_HALF && shift == 0;
}

void eq_add_s8_mve(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                   const eq_add_params *p) {
  int8_t same_a[4], same_b[4];
  eq_add_params q = *p;
  eq_fours f = eq_fours_of(out, a, a_step, b, b_step, n, same_a, same_b);
  if (p->sign > 0 && !is_half(p->left_shift, p->multiplier_a, p->shift_a)) { /* the one that may be halved goes first */
    q.zero_a = p->zero_b, q.multiplier_a = p->multiplier_b, q.shift_a = p->shift_b;
    q.zero_b = p->zero_a, q.multiplier_b = p->multiplier_a, q.shift_b = p->shift_a;
    const eq_fours g = f;
    f.a = g.b, f.a_step = g.b_step;
    f.b = g.a, f.b_step = g.a_step;
  }
  const bool half = q.sign > 0 && is_half(q.left_shift, q.multiplier_a, q.shift_a);
  const int32_t mode = eq_mode(q.mode);
  const eq_way terms = eq_way_of(mode, q.shift_b, false), way = eq_way_of(mode, q.shift, q.act_min >= q.zero);
  int32_t done = n - n % 4;
  if (mode == EQ_MODE_SHIFT) {
    add(f, &q, false, EQ_WAY_SHIFT, EQ_WAY_SHIFT);
  } else if (!half || terms == EQ_WAY_SCALAR || way == EQ_WAY_SCALAR) {
    done = 0;
  } else if (mode == EQ_MODE_SINGLE) {
    add(f, &q, true, EQ_WAY_SINGLE, EQ_WAY_SINGLE);
  } else if (mode == EQ_MODE_EXACT) {
    add(f, &q, true, EQ_WAY_EXACT, EQ_WAY_EXACT);
  } else if (terms == EQ_WAY_AWAY && way == EQ_WAY_AWAY) {
    add(f, &q, true, EQ_WAY_AWAY, EQ_WAY_AWAY);
  } else if (terms == EQ_WAY_AWAY) {
    add(f, &q, true, EQ_WAY_AWAY, EQ_WAY_UP);
  } else if (way == EQ_WAY_AWAY) {
    add(f, &q, true, EQ_WAY_DOUBLE, EQ_WAY_AWAY);
  } else {
    add(f, &q, true, EQ_WAY_DOUBLE, EQ_WAY_UP);
  }
  if (done < n) eq_add_s8_scalar(out + done, a + done * a_step, a_step, b + done * b_step, b_step, n - done, p);
}
#endif
