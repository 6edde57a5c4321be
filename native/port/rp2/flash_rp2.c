/* SPDX-License-Identifier: Apache-2.0
 * The flash beside RP2040 and RP2350, by the functions of their ROM (RP2040 datasheet, 2.8.3; RP2350 datasheet, 5.4). While it is
 * written it cannot be read, so everything that runs then is ROM or in RAM, with interrupts off. */
#if defined(EQ_STORE_ORIGIN)
#include "port/cortex_m.h"
#include "port/flash.h"

#define IN_RAM __attribute__((section(".fast"), noinline))
#define CODE(a, b) ((uint32_t)(a) | (uint32_t)(b) << 8)

enum { FLASH_START = 0x10000000, PAGE = 256, SECTOR = 4096, SECTOR_ERASE = 0x20 };

typedef void simple(void);
typedef void erase_range(uint32_t offset, uint32_t bytes, uint32_t block_bytes, uint8_t block_command);
typedef void program_range(uint32_t offset, const uint8_t *bytes, uint32_t n);

typedef struct rom {
  simple *connect, *exit_xip, *flush, *enter_xip;
  erase_range *erase;
  program_range *program;
} rom;

static uint32_t look_up(uint32_t code) {
#if EQ_PORT_FAMILY == 2040
  typedef uint32_t lookup(const uint16_t *table, uint32_t code);
  const uint16_t *const table = (const uint16_t *)(uintptr_t)(*(const volatile uint16_t *)0x14);
  return ((lookup *)(uintptr_t)(*(const volatile uint16_t *)0x18))(table, code);
#else
  typedef uint32_t lookup(uint32_t code, uint32_t mask);
  return ((lookup *)(uintptr_t)(*(const volatile uint16_t *)0x16))(code, 4); /* RT_FLAG_FUNC_ARM_SEC */
#endif
}

static rom functions(void) {
  return (rom){
      .connect = (simple *)look_up(CODE('I', 'F')),
      .exit_xip = (simple *)look_up(CODE('E', 'X')),
      .flush = (simple *)look_up(CODE('F', 'C')),
      .enter_xip = (simple *)look_up(CODE('C', 'X')),
      .erase = (erase_range *)look_up(CODE('R', 'E')),
      .program = (program_range *)look_up(CODE('R', 'P')),
  };
}

/* Program a page from bytes in RAM, or erase its sector where there are none. */
static IN_RAM void write_flash(const rom *f, uint32_t offset, const uint8_t *page) {
  eq_interrupts_off();
  f->connect();
  f->exit_xip();
  if (page == NULL) {
    f->erase(offset, SECTOR, SECTOR, SECTOR_ERASE);
  } else {
    f->program(offset, page, PAGE);
  }
  f->flush();
  f->enter_xip();
  eq_interrupts_on();
}

static eq_status erase(const eq_flash *flash, uint32_t offset) {
  (void)flash;
  const rom f = functions();
  write_flash(&f, EQ_STORE_ORIGIN - FLASH_START + offset, NULL);
  return EQ_OK;
}

/* Ones change nothing, so a page is programmed around the bytes given. */
static eq_status program(const eq_flash *flash, uint32_t offset, const void *bytes, uint32_t n) {
  (void)flash;
  static uint8_t page[PAGE];
  const rom f = functions();
  const uint8_t *const from = bytes;
  for (uint32_t done = 0; done < n;) {
    const uint32_t at = offset + done, start = at % PAGE;
    for (uint32_t i = 0; i < PAGE; i++) page[i] = i >= start && done < n ? from[done++] : 0xFF;
    write_flash(&f, EQ_STORE_ORIGIN - FLASH_START + at - start, page);
  }
  return EQ_OK;
}

EQ_PORT_FLASH(erase, program)
#endif
