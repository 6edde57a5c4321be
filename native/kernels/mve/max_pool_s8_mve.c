/* SPDX-License-Identifier: Apache-2.0
 * Maxima of int8 windows, 16 channels at a time. */
#if defined(__ARM_FEATURE_MVE)
#include "kernels/mve/requant_mve.h"

eq_max_pool_s8_fn eq_max_pool_s8_scalar;

enum { LANES = 16 };

void eq_max_pool_s8_mve(int8_t *out, const int8_t *x, const eq_pool_window *w) {
  if (w->channels < LANES) {
    eq_max_pool_s8_scalar(out, x, w);
    return;
  }
  const int8x16_t least = vdupq_n_s8((int8_t)w->act_min), largest = vdupq_n_s8((int8_t)w->act_max);
  for (int32_t c = 0; c < w->channels; c += LANES) {
    const int32_t first = eq_min32(c, w->channels - LANES); /* the last channels may come a second time */
    int8x16_t found = least;
    for (int32_t row = 0; row < w->rows; row++) {
      const int8_t *tap = x + (size_t)row * w->x_row + first;
      for (int32_t column = 0; column < w->columns; column++, tap += w->channels) {
        found = vmaxq_s8(found, vldrbq_s8(tap));
      }
    }
    vstrbq_s8(out + first, vminq_s8(found, largest));
  }
}
#endif
