/* SPDX-License-Identifier: Apache-2.0
 * Clocks, pins and UART of RP2040 and RP2350 (RP2040 datasheet: 2.14 resets, 2.15 clocks, 2.16 XOSC, 2.18 PLL, 2.19 GPIO, 4.2
 * UART; RP2350 datasheet: 7.5, 8.1, 8.2, 8.6, 9.11, 12.1). EQ_PORT_FAMILY is 2040 or 2350. */
#include "edgeq/port.h"
#include "port/cortex_m.h"
#include "port/uart.h"

#if EQ_PORT_FAMILY == 2040
enum { RESETS = 0x4000C000, CLOCKS = 0x40008000, XOSC = 0x40024000, PLL_SYS = 0x40028000, IO = 0x40014000 };
enum { RESET_IO = 1 << 5, RESET_PADS = 1 << 8, RESET_PLL = 1 << 12, RESET_UART = 1 << 22 };
enum { DIVIDERS = 6 << 16 | 2 << 12 }; /* 1500 MHz to 125 MHz */
#else
enum { RESETS = 0x40020000, CLOCKS = 0x40010000, XOSC = 0x40048000, PLL_SYS = 0x40050000, IO = 0x40028000 };
enum { PADS = 0x40038000, PAD_DRIVEN = 0x52 }; /* its reset value without ISO, with the input buffer on */
enum { RESET_IO = 1 << 6, RESET_PADS = 1 << 9, RESET_PLL = 1 << 14, RESET_UART = 1 << 26 };
enum { DIVIDERS = 5 << 16 | 2 << 12 }; /* 1500 MHz to 150 MHz */
#endif

enum { CRYSTAL_TO_VCO = 125, FUNCTION_UART = 2 };
#define REGISTER(block, offset) EQ_REGISTER((uint32_t)(block) + (offset))
#define STABLE (1u << 31)
#define UART(offset) EQ_REGISTER(EQ_PORT_UART_BASE + (offset))

enum { RX_EMPTY = 1 << 4, TX_FULL = 1 << 5 };                 /* UARTFR */
enum { RX_INTERRUPT = 1 << 4, TIMEOUT_INTERRUPT = 1 << 6 };   /* UARTIMSC, UARTICR */

static void leave_reset(uint32_t blocks) {
  REGISTER(RESETS, 0x0u) &= ~blocks;
  while ((REGISTER(RESETS, 0x8u) & blocks) != blocks) {
  }
}

/* Every clock from the 12 MHz crystal, the core's by the PLL; the ring oscillator that runs at first is too coarse. */
static void start_clocks(void) {
  REGISTER(XOSC, 0x0Cu) = 47; /* STARTUP: 1 ms, in units of 256 cycles */
  REGISTER(XOSC, 0x00u) = 0x00FABAA0u;
  while ((REGISTER(XOSC, 0x04u) & STABLE) == 0) {
  }
  REGISTER(CLOCKS, 0x30u) = 2; /* CLK_REF from the crystal */
  while ((REGISTER(CLOCKS, 0x38u) & 1u << 2) == 0) {
  }
  leave_reset(RESET_PLL);
  REGISTER(PLL_SYS, 0x0u) = 1; /* REFDIV */
  REGISTER(PLL_SYS, 0x8u) = CRYSTAL_TO_VCO;
  REGISTER(PLL_SYS, 0x4u) &= ~(1u << 5 | 1u << 0); /* PWR: VCO and main part on */
  while ((REGISTER(PLL_SYS, 0x0u) & STABLE) == 0) {
  }
  REGISTER(PLL_SYS, 0xCu) = DIVIDERS;
  REGISTER(PLL_SYS, 0x4u) &= ~(1u << 3); /* the dividers on */
  REGISTER(CLOCKS, 0x3Cu) = 1;           /* CLK_SYS from the PLL */
  while ((REGISTER(CLOCKS, 0x44u) & 1u << 1) == 0) {
  }
  REGISTER(CLOCKS, 0x48u) = 1u << 11; /* CLK_PERI from CLK_SYS, on */
}

static void set_pin(uint32_t pin) {
  REGISTER(IO, 4u + 8u * pin) = FUNCTION_UART;
#if EQ_PORT_FAMILY == 2350
  REGISTER(PADS, 4u + 4u * pin) = PAD_DRIVEN;
#endif
}

void eq_uart_listen(bool on) { UART(0x38u) = on ? RX_INTERRUPT | TIMEOUT_INTERRUPT : 0u; }

void eq_port_init(void) {
  const uint32_t divisor = (uint32_t)(((uint64_t)EQ_CLOCK_HZ * 4u + EQ_BAUD / 2u) / EQ_BAUD); /* in units of 1/64 */
  start_clocks();
  leave_reset(RESET_IO | RESET_PADS | RESET_UART);
  UART(0x24u) = divisor >> 6;
  UART(0x28u) = divisor & 63u;
  UART(0x2Cu) = 3u << 5 | 1u << 4;          /* LCR_H: eight bits, FIFOs on */
  UART(0x30u) = 1u << 9 | 1u << 8 | 1u << 0; /* CR: receive, transmit, on */
  set_pin(EQ_PORT_PIN_TX);
  set_pin(EQ_PORT_PIN_RX);
  eq_uart_listen(true);
  EQ_NVIC_ISER(EQ_PORT_UART_IRQ / 32u) = 1u << EQ_PORT_UART_IRQ % 32u;
}

void eq_uart_interrupt(void) {
  while ((UART(0x18u) & RX_EMPTY) == 0 && eq_ring_has_room()) eq_ring_put((uint8_t)UART(0x00u));
  UART(0x44u) = RX_INTERRUPT | TIMEOUT_INTERRUPT;
}

void eq_port_write(const uint8_t *bytes, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    while ((UART(0x18u) & TX_FULL) != 0) {
    }
    UART(0x00u) = bytes[i];
  }
}

void eq_port_kick_watchdog(void) {} /* it is never started */
