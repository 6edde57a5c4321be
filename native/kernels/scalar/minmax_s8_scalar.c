/* SPDX-License-Identifier: Apache-2.0
 * The larger or the smaller of two int8 codes. */
#include "kernels/kernels.h"

void eq_minmax_s8_scalar(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                         bool maximum) {
  for (int32_t i = 0; i < n; i++, a += a_step, b += b_step) {
    const int8_t larger = *a > *b ? *a : *b;
    const int8_t smaller = *a > *b ? *b : *a;
    out[i] = maximum ? larger : smaller;
  }
}
