/* SPDX-License-Identifier: Apache-2.0
 * Division of int8 rows by their Euclidean length. */
#include "edgeq/fixed_point.h"
#include "edgeq/ops.h"
#include "kernels/kernels.h"

void eq_l2_normalize_s8_scalar(int8_t *out, const int8_t *in, const struct eq_l2_normalization_params *p) {
  const int32_t rows = p->rows, depth = p->depth, zero = p->zero, left_shift = p->left_shift, mode = p->mode;
  for (int32_t row = 0; row < rows; row++, in += depth, out += depth) {
    int32_t sum = 0;
    for (int32_t i = 0; i < depth; i++) sum += (in[i] - zero) * (in[i] - zero);
    int32_t shift;
    const int32_t multiplier = eq_invsqrt(sum, &shift);
    for (int32_t i = 0; i < depth; i++) {
      const int32_t y = eq_requant(eq_shl32(in[i] - zero, left_shift), multiplier, shift + 7 - left_shift, mode);
      out[i] = (int8_t)eq_clamp32(y, INT8_MIN, INT8_MAX);
    }
  }
}
