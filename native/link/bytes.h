/* SPDX-License-Identifier: Apache-2.0
 * Little-endian numbers in payloads, which are not aligned. */
#ifndef EDGEQ_LINK_BYTES_H
#define EDGEQ_LINK_BYTES_H

#include <stdint.h>

static inline uint16_t eq_get_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

static inline uint32_t eq_get_u32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void eq_put_u16(uint8_t *p, uint32_t value) {
  p[0] = (uint8_t)value;
  p[1] = (uint8_t)(value >> 8);
}

static inline void eq_put_u32(uint8_t *p, uint32_t value) {
  eq_put_u16(p, value);
  eq_put_u16(p + 2, value >> 16);
}

#endif
