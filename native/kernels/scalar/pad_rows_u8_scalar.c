/* SPDX-License-Identifier: Apache-2.0
 * Copy rows of an image with a margin. */
#include "edgeq/memory.h"
#include "kernels/kernels.h"

void eq_pad_rows_u8_scalar(uint8_t *to, const uint8_t *from, const eq_padded_rows *rows) {
  const size_t row_bytes = rows->left + rows->middle + rows->right;
  eq_fill(to, rows->fill, (size_t)rows->above * row_bytes);
  to += (size_t)rows->above * row_bytes;
  for (int32_t i = 0; i < rows->inside; i++, to += row_bytes) {
    eq_fill(to, rows->fill, rows->left);
    if (rows->middle > 0) eq_copy(to + rows->left, from + (size_t)i * rows->pitch, rows->middle);
    eq_fill(to + rows->left + rows->middle, rows->fill, rows->right);
  }
  eq_fill(to, rows->fill, (size_t)rows->below * row_bytes);
}
