/* SPDX-License-Identifier: Apache-2.0
 * Table look-up of bytes, 64 at a time: the table fills 16 registers. */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernels/kernels.h"

enum { LANES = 16, TOGETHER = 4, WORTH = 64 /* elements: fewer do not repay reading the table */ };

void eq_lut_u8_neon(uint8_t *out, const uint8_t *in, const uint8_t table[256], int32_t n) {
  if (n >= WORTH) {
    const uint8x16x4_t first = vld1q_u8_x4(table), second = vld1q_u8_x4(table + 64);
    const uint8x16x4_t third = vld1q_u8_x4(table + 128), fourth = vld1q_u8_x4(table + 192);
    for (; n >= TOGETHER * LANES; n -= TOGETHER * LANES, in += TOGETHER * LANES, out += TOGETHER * LANES) {
      /* indices outside a quarter look up nothing; flipping two bits brings each quarter to 0 .. 63 */
      uint8x16_t i[TOGETHER], y[TOGETHER];
      for (int j = 0; j < TOGETHER; j++) i[j] = vld1q_u8(in + j * LANES);
      for (int j = 0; j < TOGETHER; j++) y[j] = vqtbl4q_u8(first, i[j]);
      for (int j = 0; j < TOGETHER; j++) y[j] = vqtbx4q_u8(y[j], second, veorq_u8(i[j], vdupq_n_u8(64)));
      for (int j = 0; j < TOGETHER; j++) y[j] = vqtbx4q_u8(y[j], third, veorq_u8(i[j], vdupq_n_u8(128)));
      for (int j = 0; j < TOGETHER; j++) y[j] = vqtbx4q_u8(y[j], fourth, veorq_u8(i[j], vdupq_n_u8(192)));
      for (int j = 0; j < TOGETHER; j++) vst1q_u8(out + j * LANES, y[j]);
    }
  }
  for (int32_t i = 0; i < n; i++) out[i] = table[in[i]];
}
#endif
