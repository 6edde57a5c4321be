/* SPDX-License-Identifier: Apache-2.0
 * Copy rows of an image with a margin, 16 bytes at a time. */
#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>

#include "kernels/kernels.h"

enum { LANES = 16 };

/* Write `bytes` bytes of fill, and up to 15 more; returns where they end. */
static inline uint8_t *fill(uint8_t *to, uint8x16_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; i += LANES) vstrbq_u8(to + i, value);
  return to + bytes;
}

void eq_pad_rows_u8_mve(uint8_t *to, const uint8_t *from, const eq_padded_rows *rows) {
  const size_t row_bytes = rows->left + rows->middle + rows->right, whole = rows->middle / LANES * LANES;
  const uint8x16_t value = vdupq_n_u8(rows->fill);
  const mve_pred16_t rest = vctp8q((uint32_t)(rows->middle - whole));
  to = fill(to, value, (size_t)rows->above * row_bytes);
  if (row_bytes <= LANES) {
    const mve_pred16_t present = vctp8q((uint32_t)rows->middle);
    for (int32_t row = 0; row < rows->inside; row++, from += rows->pitch, to += row_bytes) {
      vstrbq_u8(to, value);
      vstrbq_p_u8(to + rows->left, vldrbq_z_u8(from, present), present);
    }
    fill(to, value, (size_t)rows->below * row_bytes);
    return;
  }
  for (int32_t row = 0; row < rows->inside; row++, from += rows->pitch) {
    to = fill(to, value, rows->left);
    for (size_t i = 0; i < whole; i += LANES) vstrbq_u8(to + i, vldrbq_u8(from + i));
    if (whole < rows->middle) vstrbq_u8(to + whole, vldrbq_z_u8(from + whole, rest));
    to = fill(to + rows->middle, value, rows->right);
  }
  fill(to, value, (size_t)rows->below * row_bytes);
}
#endif
