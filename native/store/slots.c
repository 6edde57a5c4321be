/* SPDX-License-Identifier: Apache-2.0
 * Slots in flash: where things lie, how they are read and burnt. */
#include "store/slots.h"

#include "edgeq/memory.h"

/* A cell of flash, read anew each time: the compiler must not take it for what it knows. Tests read through cells of
 * their own. */
#if !defined(EQ_STORE_CELL)
#define EQ_STORE_CELL(flash, offset) (*(const volatile uint8_t *)((flash)->base + (offset)))
#endif

/* Boot words are this far apart, so that no two share a write unit. */
static uint32_t word_stride(const eq_flash *flash) { return flash->write_bytes < 16 ? 16 : flash->write_bytes; }

/* Bytes of a boot word: enough bits to tell one that was burnt from one that lost a bit. */
static uint32_t word_bytes(const eq_flash *flash) { return flash->write_bytes < 4 ? 4 : flash->write_bytes; }

static uint32_t word_offset(const eq_flash *flash, uint32_t slot, uint32_t word) {
  return slot * flash->slot_bytes + (uint32_t)sizeof(eq_slot_record) + word * word_stride(flash);
}

uint32_t eq_slot_header_bytes(const eq_flash *flash) {
  const uint32_t used = (uint32_t)sizeof(eq_slot_record) + EQ_BOOT_WORDS * word_stride(flash);
  return (used + flash->page_bytes - 1) / flash->page_bytes * flash->page_bytes;
}

uint32_t eq_slot_payload(const eq_flash *flash, uint32_t slot) {
  return slot * flash->slot_bytes + eq_slot_header_bytes(flash);
}

static bool reads_as(const eq_flash *flash, uint32_t offset, const uint8_t *bytes, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    if (EQ_STORE_CELL(flash, offset + i) != bytes[i]) return false;
  }
  return true;
}

eq_status eq_flash_erase(const eq_flash *flash, uint32_t offset) {
  const eq_status status = flash->erase(flash, offset);
  if (status != EQ_OK) return status;
  for (uint32_t i = 0; i < flash->page_bytes; i++) {
    if (EQ_STORE_CELL(flash, offset + i) != 0xFF) return EQ_ERR_FLASH;
  }
  return EQ_OK;
}

eq_status eq_flash_program(const eq_flash *flash, uint32_t offset, const uint8_t *bytes, uint32_t n) {
  const uint32_t rest = n % flash->write_bytes, whole = n - rest;
  eq_status status = whole == 0 ? EQ_OK : flash->program(flash, offset, bytes, whole);
  if (status == EQ_OK && rest != 0) {
    uint8_t last[EQ_STORE_MAX_WRITE_BYTES];
    eq_fill(last, 0xFF, sizeof last);
    eq_copy(last, bytes + whole, rest);
    status = flash->program(flash, offset + whole, last, flash->write_bytes);
  }
  if (status != EQ_OK) return status;
  return reads_as(flash, offset, bytes, n) ? EQ_OK : EQ_ERR_FLASH;
}

eq_status eq_slot_invalidate(const eq_flash *flash, uint32_t slot) {
  for (uint32_t offset = 0; offset < eq_slot_header_bytes(flash); offset += flash->page_bytes) {
    const eq_status status = eq_flash_erase(flash, slot * flash->slot_bytes + offset);
    if (status != EQ_OK) return status;
  }
  return EQ_OK;
}

bool eq_slot_read(const eq_flash *flash, eq_slot_record *record, uint32_t slot) {
  const uint32_t offset = slot * flash->slot_bytes;
  uint8_t *bytes = (uint8_t *)record;
  for (uint32_t i = 0; i < sizeof *record; i++) bytes[i] = EQ_STORE_CELL(flash, offset + i);
  for (uint32_t again = 0; again < 2; again++) {
    if (!reads_as(flash, offset, bytes, sizeof *record)) return false;
  }
  return record->magic == EQ_SLOT_MAGIC && eq_crc32(0, record, offsetof(eq_slot_record, header_crc)) == record->header_crc;
}

/* Bits that are no longer 1. */
static uint32_t fallen(const eq_flash *flash, uint32_t offset, uint32_t n) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < n; i++) {
    for (uint32_t bits = EQ_STORE_CELL(flash, offset + i) ^ UINT32_C(0xFF); bits != 0; bits &= bits - 1) count++;
  }
  return count;
}

static uint32_t fallen_bits(const eq_flash *flash, uint32_t slot, uint32_t word) {
  return fallen(flash, word_offset(flash, slot, word), word_bytes(flash));
}

bool eq_slot_burnt(const eq_flash *flash, uint32_t slot, uint32_t word) { return fallen_bits(flash, slot, word) >= 2; }

uint32_t eq_slot_tried(const eq_flash *flash, uint32_t slot) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < EQ_STORE_TRIALS; i++) count += fallen_bits(flash, slot, EQ_WORD_TRIED + i) != 0;
  return count;
}

/* Program a boot word to zeros, but for units in which bits fell already: none is programmed twice. */
static eq_status burn(const eq_flash *flash, uint32_t slot, uint32_t word) {
  const uint32_t offset = word_offset(flash, slot, word), unit = flash->write_bytes;
  uint8_t zeros[EQ_STORE_MAX_WRITE_BYTES];
  eq_fill(zeros, 0, sizeof zeros);
  eq_status status = EQ_OK;
  for (uint32_t i = 0; i < word_bytes(flash) && status == EQ_OK; i += unit) {
    if (fallen(flash, offset + i, unit) == 0) status = eq_flash_program(flash, offset + i, zeros, unit);
  }
  return status;
}

eq_status eq_slot_burn(const eq_flash *flash, uint32_t slot, uint32_t word) {
  const eq_status status = burn(flash, slot, word);
  if (status != EQ_OK) return status;
  return eq_slot_burnt(flash, slot, word) ? EQ_OK : EQ_ERR_FLASH;
}

eq_status eq_slot_burn_trial(const eq_flash *flash, uint32_t slot) {
  for (uint32_t i = 0; i < EQ_STORE_TRIALS; i++) {
    if (fallen_bits(flash, slot, EQ_WORD_TRIED + i) == 0) return burn(flash, slot, EQ_WORD_TRIED + i);
  }
  return EQ_ERR_TRIAL;
}
