/* SPDX-License-Identifier: Apache-2.0
 * Maxima of int8 windows, 16 channels at a time; for 32-bit NEON too. */
#if defined(__ARM_NEON)
#include <arm_neon.h>

#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"

eq_max_pool_s8_fn eq_max_pool_s8_scalar;

enum { LANES = 16 };

static void run_block(int8_t *out, const int8_t *x, const eq_pool_window *w) {
  int8x16_t found = vdupq_n_s8(INT8_MIN);
  for (int32_t row = 0; row < w->rows; row++) {
    const int8_t *tap = x + (size_t)row * w->x_row;
    for (int32_t column = 0; column < w->columns; column++, tap += w->channels) found = vmaxq_s8(found, vld1q_s8(tap));
  }
  found = vmaxq_s8(found, vdupq_n_s8((int8_t)w->act_min));
  vst1q_s8(out, vminq_s8(found, vdupq_n_s8((int8_t)w->act_max)));
}

void eq_max_pool_s8_neon(int8_t *out, const int8_t *x, const eq_pool_window *window) {
  if (window->channels < LANES) {
    eq_max_pool_s8_scalar(out, x, window);
    return;
  }
  /* the last block is moved back until it ends with the pixel */
  for (int32_t next = 0; next < window->channels; next += LANES) {
    const int32_t first = eq_min32(next, window->channels - LANES);
    run_block(out + first, x + first, window);
  }
}
#endif
