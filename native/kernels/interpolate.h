/* SPDX-License-Identifier: Apache-2.0
 * Look-up of int16 codes in a 513-entry table with linear interpolation. */
#ifndef EDGEQ_INTERPOLATE_H
#define EDGEQ_INTERPOLATE_H

#include "edgeq/fixed_point.h"

/* The table at 256 + code / 128, rounded; between the two entries when their difference fits 16 bits. code is int16. */
static inline int32_t eq_interpolate_s16(const int16_t table[513], int32_t code) {
  const int16_t *entry = table + 256 + eq_asr32(code, 7);
  const int16_t slope = (int16_t)(entry[1] - entry[0]); /* in 16 bits, as LiteRT holds it */
  return entry[0] + eq_asr32(slope * (code & 127) + 64, 7);
}

#endif
