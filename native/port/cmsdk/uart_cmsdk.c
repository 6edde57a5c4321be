/* SPDX-License-Identifier: Apache-2.0
 * The UART of Arm's FPGA images (Cortex-M System Design Kit TRM r1p0, 4.3 APB UART). */
#include "edgeq/port.h"
#include "port/cortex_m.h"
#include "port/uart.h"

#define DATA EQ_REGISTER(EQ_PORT_UART_BASE + 0x00u)
#define STATE EQ_REGISTER(EQ_PORT_UART_BASE + 0x04u)
#define CTRL EQ_REGISTER(EQ_PORT_UART_BASE + 0x08u)
#define INTCLEAR EQ_REGISTER(EQ_PORT_UART_BASE + 0x0Cu)
#define BAUDDIV EQ_REGISTER(EQ_PORT_UART_BASE + 0x10u)

enum { TX_FULL = 1, RX_FULL = 2 };                               /* STATE */
enum { TX_ENABLE = 1, RX_ENABLE = 2, RX_INTERRUPT_ENABLE = 8 };  /* CTRL */
enum { RX_INTERRUPT = 2 };                                       /* INTCLEAR */

void eq_uart_listen(bool on) { CTRL = TX_ENABLE | RX_ENABLE | (on ? RX_INTERRUPT_ENABLE : 0u); }

void eq_port_init(void) {
  BAUDDIV = EQ_PORT_UART_HZ / EQ_BAUD;
  eq_uart_listen(true);
  EQ_NVIC_ISER(EQ_PORT_UART_IRQ / 32u) = 1u << EQ_PORT_UART_IRQ % 32u;
}

void eq_uart_interrupt(void) {
  INTCLEAR = RX_INTERRUPT;
  while ((STATE & RX_FULL) != 0 && eq_ring_has_room()) eq_ring_put((uint8_t)DATA);
}

void eq_port_write(const uint8_t *bytes, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    while ((STATE & TX_FULL) != 0) {
    }
    DATA = bytes[i];
  }
}

void eq_port_kick_watchdog(void) {} /* it is never started */
