/* SPDX-License-Identifier: Apache-2.0
 * What the checks of several operators share. */
#include "edgeq/step.h"

bool eq_multipliers_legal(const eq_step_check *s, eq_span multipliers, eq_span shifts, int32_t max_shift) {
  const int32_t *m = (const int32_t *)(const void *)(s->constants + multipliers.offset);
  const int8_t *shift = (const int8_t *)(s->constants + shifts.offset);
  const uint32_t count = shifts.bytes;
  if (multipliers.bytes / 4 != count || multipliers.bytes % 4 != 0) return false;
  for (uint32_t i = 0; i < count; i++) {
    if (!eq_multiplier_legal(m[i], shift[i], max_shift)) return false;
  }
  return true;
}

bool eq_all_half(const eq_step_check *s, eq_span multipliers) {
  const int32_t *m = (const int32_t *)(const void *)(s->constants + multipliers.offset);
  const uint32_t count = multipliers.bytes / 4;
  uint32_t i = 0;
  while (i < count && m[i] == EQ_HALF) i++;
  return i == count;
}
