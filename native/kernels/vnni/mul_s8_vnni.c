/* SPDX-License-Identifier: Apache-2.0
 * Products of int8 codes with AVX-512. */
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include "edgeq/ops.h"
#include "kernels/vnni/elementwise_vnni.h"

extern eq_mul_s8_fn eq_mul_s8_scalar;

EQ_VNNI void eq_mul_s8_vnni(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                            const eq_mul_params *p) {
  if (!eq_scale_legal(p->shift)) {
    eq_mul_s8_scalar(out, a, a_step, b, b_step, n, p);
    return;
  }
  const eq_mul_params q = *p; /* which out cannot alias */
  const eq_scale scale = eq_scale_of(q.multiplier, q.shift, q.mode);
  for (int32_t i = 0; i < n; i += 16) {
    const __mmask16 present = (__mmask16)(UINT16_MAX >> (n - i < 16 ? 16 - (n - i) : 0));
    const __m512i x = eq_operand(a + i * a_step, a_step, present, q.zero_a, 1);
    const __m512i y = eq_operand(b + i * b_step, b_step, present, q.zero_b, 0);
    /* twice a product of at most 255 * 255 */
    const __m512i z = eq_scale_apply(_mm512_mullo_epi32(x, y), &scale);
    _mm_mask_storeu_epi8(out + i, present, eq_codes(z, q.zero, q.act_min, q.act_max));
  }
}

#endif
