/* SPDX-License-Identifier: Apache-2.0
 * Clock, UART, timer and watchdog of nRF51 and nRF52 (nrf51.svd and nrf52840.svd of pyocd 0.46.0; nRF51 Series Reference
 * Manual 3.0, chapter 29; nRF52840 Product Specification 1.7, 6.33 UART). */
#include "edgeq/port.h"
#include "port/cortex_m.h"
#include "port/uart.h"

#define UART(offset) EQ_REGISTER(EQ_PORT_UART_BASE + (offset))
#define TASKS_STARTRX UART(0x000u)
#define TASKS_STARTTX UART(0x008u)
#define EVENTS_RXDRDY UART(0x108u)
#define EVENTS_TXDRDY UART(0x11Cu)
#define INTENSET UART(0x304u)
#define INTENCLR UART(0x308u)
#define ENABLE UART(0x500u)
#define PSELTXD UART(0x50Cu)
#define PSELRXD UART(0x514u)
#define RXD UART(0x518u)
#define TXD UART(0x51Cu)
#define BAUDRATE UART(0x524u)

enum { RXDRDY = 1 << 2, UART_ENABLED = 4 };

/* CLOCK and GPIO P0 lie at the same addresses in both. */
#define TASKS_HFCLKSTART EQ_REGISTER(0x40000000u)
#define GPIO_OUTSET EQ_REGISTER(0x50000508u)
#define GPIO_DIRSET EQ_REGISTER(0x50000518u)
#define WDT_RR0 EQ_REGISTER(EQ_PORT_WDT_BASE + 0x600u)
#define WDT_RELOAD 0x6E524635u

void eq_uart_listen(bool on) {
  if (on) {
    INTENSET = RXDRDY;
  } else {
    INTENCLR = RXDRDY;
  }
}

void eq_port_init(void) {
  TASKS_HFCLKSTART = 1; /* the crystal: the RC oscillator is too coarse for a UART; it runs by the first byte */
  GPIO_OUTSET = 1u << EQ_PORT_PIN_TX;
  GPIO_DIRSET = 1u << EQ_PORT_PIN_TX;
  PSELTXD = EQ_PORT_PIN_TX;
  PSELRXD = EQ_PORT_PIN_RX;
  BAUDRATE = (uint32_t)(((uint64_t)EQ_BAUD << 32) / 16000000u + 0x800u) & 0xFFFFF000u;
  ENABLE = UART_ENABLED;
  TASKS_STARTTX = 1;
  TASKS_STARTRX = 1;
  eq_uart_listen(true);
  EQ_NVIC_ISER(0) = 1u << EQ_PORT_UART_IRQ;
}

void eq_uart_interrupt(void) {
  while (EVENTS_RXDRDY != 0 && eq_ring_has_room()) {
    EVENTS_RXDRDY = 0;
    eq_ring_put((uint8_t)RXD);
  }
}

void eq_port_write(const uint8_t *bytes, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    EVENTS_TXDRDY = 0;
    TXD = bytes[i];
    while (EVENTS_TXDRDY == 0) {
    }
  }
}

void eq_port_kick_watchdog(void) { WDT_RR0 = WDT_RELOAD; }

#if defined(EQ_PORT_TIMER_BASE)
/* TIMER0, which alone has 32 bits: at 16 MHz it wraps after 268 s. */
#define TIMER(offset) EQ_REGISTER(EQ_PORT_TIMER_BASE + (offset))

enum { BITS_32 = 3 };

uint32_t eq_port_timer_hz(void) { return 16000000; }

void eq_port_timer_start(void) {
  TIMER(0x508u) = BITS_32; /* BITMODE */
  TIMER(0x510u) = 0;       /* PRESCALER */
  TIMER(0x00Cu) = 1;       /* TASKS_CLEAR */
  TIMER(0x000u) = 1;       /* TASKS_START */
}

uint32_t eq_port_timer(void) {
  TIMER(0x040u) = 1; /* TASKS_CAPTURE[0] */
  return TIMER(0x540u);
}
#endif
