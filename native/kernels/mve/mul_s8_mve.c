/* SPDX-License-Identifier: Apache-2.0
 * Product of int8 codes of two scales, four at a time. */
#if defined(__ARM_FEATURE_MVE)
#include "edgeq/ops.h"
#include "kernels/mve/elementwise_mve.h"

eq_mul_s8_fn eq_mul_s8_scalar;

EQ_ALWAYS_INLINE void multiply(eq_fours f, const eq_mul_params *p, eq_way way) {
  const eq_scale scale = eq_scale_of(p->multiplier, p->shift, way);
  const eq_codes codes = eq_codes_of(p->zero, p->act_min, p->act_max);
  const int32_t zero_a = p->zero_a, zero_b = p->zero_b;
  EQ_FOR_FOURS(f, codes,
               y = eq_requant4_by(vmulq_s32(vsubq_n_s32(x_a, zero_a), vsubq_n_s32(x_b, zero_b)), scale, way))
}

void eq_mul_s8_mve(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                   const eq_mul_params *p) {
  int8_t same_a[4], same_b[4];
  const eq_mul_params q = *p; /* which out cannot alias */
  const eq_fours f = eq_fours_of(out, a, a_step, b, b_step, n, same_a, same_b);
  const eq_way way = eq_way_of(eq_mode(q.mode), q.shift, q.act_min >= q.zero);
  int32_t done = 0;
  if (way != EQ_WAY_SCALAR) {
#define MULTIPLY(way) multiply(f, &q, way)
    EQ_FOR_WAY(way, MULTIPLY);
#undef MULTIPLY
    done = n - n % 4;
  }
  if (done < n) eq_mul_s8_scalar(out + done, a + done * a_step, a_step, b + done * b_step, b_step, n - done, p);
}
#endif
