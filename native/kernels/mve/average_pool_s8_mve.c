/* SPDX-License-Identifier: Apache-2.0
 * Means of int8 windows, the sums of eight channels at a time. */
#if defined(__ARM_FEATURE_MVE)
#include "kernels/mve/requant_mve.h"
#include "kernels/pool.h"

eq_average_pool_s8_fn eq_average_pool_s8_scalar;

enum { LANES = 8, MOST = 255 /* taps whose sum int16 holds: 255 * 128 < 2^15 */ };

void eq_average_pool_s8_mve(int8_t *out, const int8_t *x, const eq_pool_window *window) {
  const eq_pool_window w = *window; /* which out cannot alias */
  if (w.channels < LANES || w.rows * w.columns > MOST) {
    eq_average_pool_s8_scalar(out, x, window);
    return;
  }
  for (int32_t c = 0; c < w.channels; c += LANES) {
    const int32_t first = eq_min32(c, w.channels - LANES); /* the last channels may come a second time */
    int16x8_t found = vdupq_n_s16(0);
    for (int32_t row = 0; row < w.rows; row++) {
      const int8_t *tap = x + (size_t)row * w.x_row + first;
      for (int32_t column = 0; column < w.columns; column++, tap += w.channels) {
        found = vaddq_s16(found, vldrbq_s16(tap));
      }
    }
    int16_t sums[LANES];
    vst1q_s16(sums, found);
    for (int32_t i = 0; i < LANES; i++) {
      out[first + i] = (int8_t)eq_clamp32(eq_pool_mean(sums[i], &w), w.act_min, w.act_max);
    }
  }
}
#endif
