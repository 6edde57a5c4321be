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

/* 64 bytes at a time: the last ones overlap those before them. */
static inline void copy_long(uint8_t *to, const uint8_t *from, size_t bytes) {
  size_t left = bytes;
  for (; left >= 64; left -= 64, to += 64, from += 64) {
    vst1q_u8_x4(to, vld1q_u8_x4(from));
    NOT_A_CALL();
  }
  if (left > 0) vst1q_u8_x4(to + left - 64, vld1q_u8_x4(from + left - 64));
}

/* Copy exactly what is there to read; up to 15 more bytes are written when bytes < 16. */
static inline void copy_pieces(uint8_t *to, const uint8_t *from, size_t bytes) {
  if (bytes >= 64) {
    copy_long(to, from, bytes);
  } else if (bytes >= 16) {
    size_t i = 0;
    for (; i + 16 <= bytes; i += 16) {
      vst1q_u8(to + i, vld1q_u8(from + i));
      NOT_A_CALL();
    }
    if (i < bytes) vst1q_u8(to + bytes - 16, vld1q_u8(from + bytes - 16));
  } else if (bytes >= 8) {
    const uint8x8_t first = vld1_u8(from), last = vld1_u8(from + bytes - 8);
    vst1_u8(to, first);
    vst1_u8(to + bytes - 8, last);
  } else {
    for (size_t i = 0; i < bytes; i++) {
      to[i] = from[i];
      NOT_A_CALL();
    }
  }
}

void eq_pad_rows_u8_neon(uint8_t *to, const uint8_t *from, const eq_padded_rows *rows) {
  const size_t left = rows->left, middle = rows->middle, right = rows->right, pitch = rows->pitch;
  const size_t row_bytes = left + middle + right, between = right + left;
  const size_t above = (size_t)rows->above * row_bytes, below = (size_t)rows->below * row_bytes;
  const uint8x16_t fill = vdupq_n_u8(rows->fill);
  if (rows->inside == 0) {
    fill_pieces(to, fill, above + below);
    return;
  }
  /* in ascending order, so that what is written too much is overwritten */
  fill_pieces(to, fill, above + left);
  to += above + left;
  if (middle >= 64) {
    for (int32_t i = rows->inside - 1; i > 0; i--, to += row_bytes, from += pitch) {
      copy_long(to, from, middle);
      fill_pieces(to + middle, fill, between);
    }
  } else {
    for (int32_t i = rows->inside - 1; i > 0; i--, to += row_bytes, from += pitch) {
      copy_pieces(to, from, middle);
      fill_pieces(to + middle, fill, between);
    }
  }
  copy_pieces(to, from, middle);
  fill_pieces(to + middle, fill, right + below);
}

#endif
