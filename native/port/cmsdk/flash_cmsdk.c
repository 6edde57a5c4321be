/* SPDX-License-Identifier: Apache-2.0
 * The PSRAM or DDR of Arm's FPGA images as the flash that they lack: erasing sets bits, programming clears them. */
#if defined(EQ_STORE_ORIGIN)
#include "port/cortex_m.h"
#include "port/flash.h"

static eq_status erase(const eq_flash *flash, uint32_t offset) {
  for (uint32_t at = 0; at < flash->page_bytes; at += 4) EQ_REGISTER(EQ_STORE_ORIGIN + offset + at) = UINT32_MAX;
  return EQ_OK;
}

static eq_status program(const eq_flash *flash, uint32_t offset, const void *bytes, uint32_t n) {
  (void)flash;
  const uint8_t *const from = bytes;
  for (uint32_t at = 0; at < n; at += 4) EQ_REGISTER(EQ_STORE_ORIGIN + offset + at) &= eq_word_at(from + at);
  return EQ_OK;
}

EQ_PORT_FLASH(erase, program)
#endif
