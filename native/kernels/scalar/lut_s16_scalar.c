/* SPDX-License-Identifier: Apache-2.0
 * Table look-up of int16 codes with linear interpolation. */
#include "kernels/interpolate.h"
#include "kernels/kernels.h"

void eq_lut_s16_scalar(int16_t *out, const int16_t *in, const int16_t table[513], int32_t n) {
  for (int32_t i = 0; i < n; i++) out[i] = (int16_t)eq_interpolate_s16(table, in[i]);
}
