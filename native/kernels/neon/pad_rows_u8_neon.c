/* SPDX-License-Identifier: Apache-2.0
 * Copy rows of an image with a margin, in whole registers: rows are short, and calling memcpy and memset for each piece
 * takes longer than the pieces. */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernels/kernels.h"

/* The compiler would turn such a loop into a call of memset or memcpy. */
#define NOT_A_CALL() __asm__ volatile("" ::: "memory")

/* Write at least `bytes`, in pieces of 16. */
static inline void fill_pieces(uint8_t *to, uint8x16_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 16) {
    vst1q_u8(to + i, value);
    NOT_A_CALL();
  }
}

/* Copy exactly what is there to read; up to 15 more bytes are written when bytes < 16. */
static inline void copy_pieces(uint8_t *to, const uint8_t *from, size_t bytes) {
  if (bytes >= 16) {
    size_t i = 0;
    for (; i + 64 <= bytes; i += 64) {
      vst1q_u8_x4(to + i, vld1q_u8_x4(from + i));
      NOT_A_CALL();
    }
    for (; i + 16 <= bytes; i += 16) {
      vst1q_u8(to + i, vld1q_u8(from + i));
      NOT_A_CALL();
    }
    if (i < bytes) vst1q_u8(to + bytes - 16, vld1q_u8(from + bytes - 16));
    return;
  }
  if (bytes >= 8) {
    const uint8x8_t first = vld1_u8(from), last = vld1_u8(from + bytes - 8);
    vst1_u8(to, first);
    vst1_u8(to + bytes - 8, last);
    return;
  }
  for (size_t i = 0; i < bytes; i++) {
    to[i] = from[i];
    NOT_A_CALL();
  }
}

void eq_pad_rows_u8_neon(uint8_t *to, const uint8_t *from, const eq_padded_rows *rows) {
  const size_t left = rows->left, middle = rows->middle, right = rows->right, pitch = rows->pitch;
  const size_t row_bytes = left + middle + right;
  const uint8x16_t fill = vdupq_n_u8(rows->fill);
  fill_pieces(to, fill, (size_t)rows->above * row_bytes);
  to += (size_t)rows->above * row_bytes;
  /* in ascending order, so that what is written too much is overwritten */
  for (int32_t i = 0; i < rows->inside; i++, to += row_bytes, from += pitch) {
    fill_pieces(to, fill, left);
    copy_pieces(to + left, from, middle);
    fill_pieces(to + left + middle, fill, right);
  }
  fill_pieces(to, fill, (size_t)rows->below * row_bytes);
}

#endif
