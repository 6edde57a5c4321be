/* SPDX-License-Identifier: Apache-2.0
 * Requantization of neighbouring channels. */
#if defined(__ARM_FEATURE_MVE)
#include "kernels/mve/requant_mve.h"
#include "kernels/requant.h"

enum { CHANNELS = 4 };

void eq_finish_mve(int8_t *out, const int32_t *sums, int32_t first, int32_t n, const eq_linear_s8 *linear, eq_way way) {
  const int32_t *bias = linear->bias + first, *multipliers = linear->multipliers + first;
  const int8_t *shifts = linear->shifts + first;
  const eq_codes codes = eq_codes_of(linear->zero, linear->act_min, linear->act_max);
  const int32_t fours = way == EQ_WAY_SCALAR ? 0 : n / CHANNELS;
#define FINISH(way)                                                                                            \
  for (int32_t i = 0; i < fours; i++, sums += 4, bias += 4, multipliers += 4, shifts += 4, out += 4) {         \
    const eq_scale4 scale = eq_scale4_of(vldrwq_s32(multipliers), vldrbq_s32(shifts), way);                    \
    vstrbq_s32(out, eq_code4(eq_requant4(vaddq_s32(vldrwq_s32(sums), vldrwq_s32(bias)), scale, way), &codes)); \
  }
  EQ_FOR_WAY(way, FINISH);
#undef FINISH
  const int32_t done = CHANNELS * fours;
  if (done < n) eq_requant_s8(out, sums, first + done, n - done, linear);
}
#endif
