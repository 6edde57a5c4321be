/* SPDX-License-Identifier: Apache-2.0
 * Table look-up of bytes. */
#include "kernels/kernels.h"

void eq_lut_u8_scalar(uint8_t *out, const uint8_t *in, const uint8_t table[256], int32_t n) {
  for (int32_t i = 0; i < n; i++) out[i] = table[in[i]];
}
