/* SPDX-License-Identifier: Apache-2.0
 * The flash controllers of STM32 F1, F4, L4 and H7: unlocked for each page and each run of units, locked after.
 *
 * F1: PM0063 rev 2; F4: RM0090 rev 19, 3.9; L4+: RM0432 rev 9, 3.7; H7: RM0433 rev 8, 4.9, the registers of bank 2. Those of
 * F1, F4 and L4 are in the SVD files of pyocd 0.46.0 as well. */
#if defined(EQ_STORE_ORIGIN)
#include "port/cortex_m.h"
#include "port/flash.h"

#define KEY_1 0x45670123u
#define KEY_2 0xCDEF89ABu

#if EQ_PORT_FAMILY == 1
#define FLASH(offset) EQ_REGISTER(0x40022000u + (offset))
#define KEYS FLASH(0x04u)
#define STATUS FLASH(0x0Cu)
#define CONTROL FLASH(0x10u)
#define BUSY 1u
#define ERRORS 0x14u /* PGERR, WRPRTERR */
#define CLEAR STATUS
#define LOCK (1u << 7)
#define PROGRAM 1u

static void start_erase(uint32_t offset) {
  CONTROL = 1u << 1;                         /* PER */
  FLASH(0x14u) = EQ_STORE_ORIGIN + offset;   /* AR */
  CONTROL |= 1u << 6;                        /* STRT */
}

#elif EQ_PORT_FAMILY == 4
#define FLASH(offset) EQ_REGISTER(0x40023C00u + (offset))
#define KEYS FLASH(0x04u)
#define STATUS FLASH(0x0Cu)
#define CONTROL FLASH(0x10u)
#define BUSY (1u << 16)
#define ERRORS 0xF2u /* OPERR, WRPERR, PGAERR, PGPERR, PGSERR */
#define CLEAR STATUS
#define LOCK (1u << 31)
#define WORDS (2u << 8) /* PSIZE: 32 bits, at 2.7 V and more */
#define PROGRAM (WORDS | 1u)

/* Sectors from the fifth on have 128 KB; the first five fill 128 KB together. */
static void start_erase(uint32_t offset) {
  const uint32_t sector = 4u + (EQ_STORE_ORIGIN - 0x08000000u + offset) / 0x20000u;
  CONTROL = WORDS | sector << 3 | 1u << 1; /* SNB, SER */
  CONTROL |= 1u << 16;                     /* STRT */
}

#elif EQ_PORT_FAMILY == 40
#define FLASH(offset) EQ_REGISTER(0x40022000u + (offset))
#define KEYS FLASH(0x08u)
#define STATUS FLASH(0x10u)
#define CONTROL FLASH(0x14u)
#define BUSY (1u << 16)
#define ERRORS 0xC3FAu
#define CLEAR STATUS
#define LOCK (1u << 31)
#define PROGRAM 1u

/* The store lies in the second of two banks. */
static void start_erase(uint32_t offset) {
  const uint32_t page = (EQ_STORE_ORIGIN - 0x08100000u + offset) / EQ_STORE_PAGE_BYTES;
  CONTROL = page << 3 | 1u << 11 | 1u << 1; /* PNB, BKER, PER */
  CONTROL |= 1u << 16;                      /* START */
}

#else
#define FLASH(offset) EQ_REGISTER(0x52002100u + (offset))
#define KEYS FLASH(0x04u)
#define STATUS FLASH(0x10u)
#define CONTROL FLASH(0x0Cu)
#define BUSY 7u /* BSY, WBNE, QW */
#define ERRORS 0x07EE0000u
#define CLEAR FLASH(0x14u)
#define LOCK 1u
#define PROGRAM (2u << 4 | 1u << 1) /* PSIZE, PG */

static void start_erase(uint32_t offset) {
  const uint32_t sector = (EQ_STORE_ORIGIN - 0x08100000u + offset) / EQ_STORE_PAGE_BYTES;
  CONTROL = sector << 8 | 2u << 4 | 1u << 2; /* SNB, PSIZE, SER */
  CONTROL |= 1u << 7;                        /* START */
}
#endif

static void unlock(void) {
  if ((CONTROL & LOCK) != 0) {
    KEYS = KEY_1;
    KEYS = KEY_2;
  }
  CLEAR = ERRORS;
}

static eq_status finish(void) {
  while ((STATUS & BUSY) != 0) {
  }
  return (STATUS & ERRORS) == 0 ? EQ_OK : EQ_ERR_FLASH;
}

static eq_status lock(eq_status status) {
  CONTROL = LOCK;
  return status;
}

static eq_status erase(const eq_flash *flash, uint32_t offset) {
  (void)flash;
  unlock();
  start_erase(offset);
  eq_barrier();
  return lock(finish());
}

/* A unit is written in one go: two, four, eight or thirty-two bytes. */
static eq_status program(const eq_flash *flash, uint32_t offset, const void *bytes, uint32_t n) {
  const uint8_t *from = bytes;
  eq_status status = EQ_OK;
  unlock();
  CONTROL = PROGRAM;
  for (uint32_t at = 0; at < n && status == EQ_OK; at += flash->write_bytes) {
#if EQ_STORE_WRITE_BYTES == 2
    *(volatile uint16_t *)(EQ_STORE_ORIGIN + offset + at) = (uint16_t)(from[at] | from[at + 1] << 8);
#else
    for (uint32_t i = 0; i < EQ_STORE_WRITE_BYTES; i += 4) EQ_REGISTER(EQ_STORE_ORIGIN + offset + at + i) = eq_word_at(from + at + i);
#endif
    eq_barrier();
    status = finish();
  }
#if EQ_PORT_FAMILY == 40
  FLASH(0x00u) &= ~(1u << 10); /* ACR: the data cache off, emptied, on again, since it may hold what was there before */
  FLASH(0x00u) |= 1u << 12;
  FLASH(0x00u) = (FLASH(0x00u) & ~(1u << 12)) | 1u << 10;
#endif
  return lock(status);
}

EQ_PORT_FLASH(erase, program)
#endif
