/* SPDX-License-Identifier: Apache-2.0
 * Sums and differences of int8 codes with AVX-512. */
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include "edgeq/ops.h"
#include "kernels/vnni/elementwise_vnni.h"

extern eq_add_s8_fn eq_add_s8_scalar;

EQ_VNNI void eq_add_s8_vnni(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                            const eq_add_params *p) {
  if (!eq_scale_legal(p->shift_a) || !eq_scale_legal(p->shift_b) || !eq_scale_legal(p->shift)) {
    eq_add_s8_scalar(out, a, a_step, b, b_step, n, p);
    return;
  }
  const eq_add_params q = *p; /* which out cannot alias */
  const eq_scale scale_a = eq_scale_of(q.multiplier_a, q.shift_a, q.mode);
  const eq_scale scale_b = eq_scale_of(q.multiplier_b, q.shift_b, q.mode);
  const eq_scale scale = eq_scale_of(q.multiplier, q.shift, q.mode);
  for (int32_t i = 0; i < n; i += 16) {
    const __mmask16 present = (__mmask16)(UINT16_MAX >> (n - i < 16 ? 16 - (n - i) : 0));
    /* |x| <= 255 << 20 < 2^28 and multipliers are below 1, so the doubled sum is below 2^30 */
    const __m512i x = eq_scale_apply(eq_operand(a + i * a_step, a_step, present, q.zero_a, q.left_shift + 1), &scale_a);
    const __m512i y = eq_scale_apply(eq_operand(b + i * b_step, b_step, present, q.zero_b, q.left_shift + 1), &scale_b);
    const __m512i sum = q.sign > 0 ? _mm512_add_epi32(x, y) : _mm512_sub_epi32(x, y);
    const __m512i z = eq_scale_apply(_mm512_add_epi32(sum, sum), &scale);
    _mm_mask_storeu_epi8(out + i, present, eq_codes(z, q.zero, q.act_min, q.act_max));
  }
}

#endif
