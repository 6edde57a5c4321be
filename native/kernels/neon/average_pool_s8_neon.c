/* SPDX-License-Identifier: Apache-2.0
 * Means of int8 windows, 16 channels at a time; for 32-bit NEON too. */
#if defined(__ARM_NEON)
#include <arm_neon.h>

#include "kernels/pool.h"

eq_average_pool_s8_fn eq_average_pool_s8_scalar;

enum { LANES = 16, MOST = 255 /* taps whose sum int16 holds: 255 * 128 < 2^15 */ };

/* sums += `count` <= MOST neighbouring taps of LANES channels. */
static inline void add_taps(int32x4_t sums[4], const int8_t *x, int32_t count, size_t channels) {
  int16x8_t low = vdupq_n_s16(0), high = low, low_next = low, high_next = low;
  for (; count >= 2; count -= 2, x += 2 * channels) {
    const int8x16_t codes = vld1q_s8(x), next = vld1q_s8(x + channels);
    low = vaddw_s8(low, vget_low_s8(codes));
    high = vaddw_s8(high, vget_high_s8(codes));
    low_next = vaddw_s8(low_next, vget_low_s8(next));
    high_next = vaddw_s8(high_next, vget_high_s8(next));
  }
  if (count > 0) {
    const int8x16_t codes = vld1q_s8(x);
    low = vaddw_s8(low, vget_low_s8(codes));
    high = vaddw_s8(high, vget_high_s8(codes));
  }
  low = vaddq_s16(low, low_next);
  high = vaddq_s16(high, high_next);
  sums[0] = vaddw_s16(sums[0], vget_low_s16(low));
  sums[1] = vaddw_s16(sums[1], vget_high_s16(low));
  sums[2] = vaddw_s16(sums[2], vget_low_s16(high));
  sums[3] = vaddw_s16(sums[3], vget_high_s16(high));
}

static void run_block(int8_t *out, const int8_t *x, const eq_pool_window *w) {
  const size_t channels = (size_t)w->channels;
  int32x4_t sums[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
  /* rows that follow each other without a gap are one */
  const bool joined = w->x_row == (size_t)w->columns * channels;
  const int32_t rows = joined ? 1 : w->rows, columns = joined ? w->rows * w->columns : w->columns;
  for (int32_t row = 0; row < rows; row++) {
    const int8_t *tap = x + (size_t)row * w->x_row;
    for (int32_t left = columns; left > 0; left -= MOST, tap += MOST * channels) {
      add_taps(sums, tap, eq_min32(left, MOST), channels);
    }
  }
  int32_t found[LANES];
  for (int32_t i = 0; i < 4; i++) vst1q_s32(found + 4 * i, sums[i]);
  for (int32_t i = 0; i < LANES; i++) {
    out[i] = (int8_t)eq_clamp32(eq_pool_mean(found[i], w), w->act_min, w->act_max);
  }
}

void eq_average_pool_s8_neon(int8_t *out, const int8_t *x, const eq_pool_window *window) {
  if (window->channels < LANES) {
    eq_average_pool_s8_scalar(out, x, window);
    return;
  }
  /* the last block is moved back until it ends with the pixel */
  for (int32_t next = 0; next < window->channels; next += LANES) {
    const int32_t first = eq_min32(next, window->channels - LANES);
    run_block(out + first, x + first, window);
  }
}
#endif
