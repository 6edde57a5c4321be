/* SPDX-License-Identifier: Apache-2.0
 * Table look-up of int16 codes with linear interpolation. */
#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"

void eq_lut_s16_scalar(int16_t *out, const int16_t *in, const int16_t table[513], int32_t n) {
  for (int32_t i = 0; i < n; i++) {
    const int16_t *entry = table + 256 + eq_asr32(in[i], 7);
    const int16_t slope = (int16_t)(entry[1] - entry[0]); /* in 16 bits, as LiteRT holds it */
    const int32_t fraction = in[i] & 127;
    out[i] = (int16_t)(entry[0] + eq_asr32(slope * fraction + 64, 7));
  }
}
