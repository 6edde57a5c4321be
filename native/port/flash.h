/* SPDX-License-Identifier: Apache-2.0
 * What the flash drivers of all families share. */
#ifndef EDGEQ_PORT_FLASH_H
#define EDGEQ_PORT_FLASH_H

#include "edgeq/port.h"
#include "store/store.h"

/* The board's store, divided into two slots, under a family's two functions. */
#define EQ_PORT_FLASH(erase_page, program_units)                                                                        \
  const eq_flash *eq_port_flash(void) {                                                                                \
    static const eq_flash flash = {                                                                                    \
        .base = (const uint8_t *)EQ_STORE_ORIGIN,                                                                      \
        .slot_bytes = EQ_STORE_BYTES / 2,                                                                              \
        .page_bytes = EQ_STORE_PAGE_BYTES,                                                                             \
        .write_bytes = EQ_STORE_WRITE_BYTES,                                                                           \
        .erase = erase_page,                                                                                           \
        .program = program_units,                                                                                      \
    };                                                                                                                 \
    return &flash;                                                                                                     \
  }

/* Bytes of any alignment as a little-endian word. */
static inline uint32_t eq_word_at(const uint8_t *bytes) {
  return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

#endif
