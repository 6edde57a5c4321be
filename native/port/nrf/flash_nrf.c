/* SPDX-License-Identifier: Apache-2.0
 * The flash controller of nRF51 and nRF52 (NVMC: nrf51.svd and nrf52840.svd of pyocd 0.46.0; nRF51 Series Reference Manual
 * 3.0, chapter 6; nRF52840 Product Specification 1.7, 4.3). The core waits while flash is written. */
#if defined(EQ_STORE_ORIGIN)
#include "port/cortex_m.h"
#include "port/flash.h"

#define READY EQ_REGISTER(EQ_PORT_NVMC_BASE + 0x400u)
#define CONFIG EQ_REGISTER(EQ_PORT_NVMC_BASE + 0x504u)
#define ERASEPAGE EQ_REGISTER(EQ_PORT_NVMC_BASE + 0x508u)

enum { READ_ONLY = 0, WRITE_ENABLE = 1, ERASE_ENABLE = 2 }; /* CONFIG */

static void wait(void) {
  while ((READY & 1u) == 0) {
  }
}

static eq_status erase(const eq_flash *flash, uint32_t offset) {
  (void)flash;
  CONFIG = ERASE_ENABLE;
  wait();
  ERASEPAGE = EQ_STORE_ORIGIN + offset;
  wait();
  CONFIG = READ_ONLY;
  return EQ_OK;
}

static eq_status program(const eq_flash *flash, uint32_t offset, const void *bytes, uint32_t n) {
  (void)flash;
  const uint8_t *const from = bytes;
  CONFIG = WRITE_ENABLE;
  wait();
  for (uint32_t at = 0; at < n; at += 4) {
    EQ_REGISTER(EQ_STORE_ORIGIN + offset + at) = eq_word_at(from + at);
    wait();
  }
  CONFIG = READ_ONLY;
  return EQ_OK;
}

EQ_PORT_FLASH(erase, program)
#endif
