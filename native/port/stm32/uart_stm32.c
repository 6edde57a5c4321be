/* SPDX-License-Identifier: Apache-2.0
 * Clocks, pins and UART of STM32 (reference manuals in the board files). The chips run on the oscillator that they start
 * with, L4 on its fastest range.
 *
 * EQ_PORT_FAMILY is 1 (F1), 4 (F4), 40 (L4) or 7 (H7). */
#include "edgeq/port.h"
#include "port/cortex_m.h"
#include "port/uart.h"

#define UART(offset) EQ_REGISTER(EQ_PORT_UART_BASE + (offset))

#if EQ_PORT_FAMILY == 1 || EQ_PORT_FAMILY == 4
#define STATUS UART(0x00u)
#define RECEIVED UART(0x04u)
#define TRANSMIT UART(0x04u)
#define DIVISOR UART(0x08u)
#define CONTROL UART(0x0Cu)
#define ENABLED (1u << 13) /* CR1.UE */
#define CLEAR_ERRORS()     /* by reading status and data */
#else
#define STATUS UART(0x1Cu)
#define RECEIVED UART(0x24u)
#define TRANSMIT UART(0x28u)
#define DIVISOR UART(0x0Cu)
#define CONTROL UART(0x00u)
#define ENABLED (1u << 0)
#define CLEAR_ERRORS() (UART(0x20u) = 0xFu) /* ICR: overrun and the others would hold the interrupt */
#endif

enum { RXNE = 1 << 5, TXE = 1 << 7 };                             /* STATUS */
enum { RECEIVER = 1 << 2, TRANSMITTER = 1 << 3, RXNEIE = 1 << 5 }; /* CONTROL */

#define IWDG_KR EQ_REGISTER(EQ_PORT_FAMILY == 7 ? 0x58004800u : 0x40003000u)
#define IWDG_RELOAD 0xAAAAu

#if EQ_PORT_FAMILY == 1
#define RCC 0x40021000u
#define PIN_CLOCKS EQ_REGISTER(RCC + 0x18u) /* APB2ENR */

/* CRL or CRH holds four bits a pin: 0xB is a fast push-pull output of a peripheral, 0x4 a floating input. */
static void set_pin(uint32_t pin, uint32_t mode) {
  volatile uint32_t *const half = &EQ_REGISTER(EQ_PORT_PIN_PORT + (pin < 8 ? 0u : 4u));
  *half = (*half & ~(0xFu << pin % 8u * 4u)) | mode << pin % 8u * 4u;
}

static void set_pins(void) {
  set_pin(EQ_PORT_PIN_TX, 0xB);
  set_pin(EQ_PORT_PIN_RX, 0x4);
}
#else
#if EQ_PORT_FAMILY == 4
#define RCC 0x40023800u
#define PIN_CLOCKS EQ_REGISTER(RCC + 0x30u) /* AHB1ENR */
#elif EQ_PORT_FAMILY == 40
#define RCC 0x40021000u
#define PIN_CLOCKS EQ_REGISTER(RCC + 0x4Cu) /* AHB2ENR */
#else
#define RCC 0x58024400u
#define PIN_CLOCKS EQ_REGISTER(RCC + 0xE0u) /* AHB4ENR */
#endif

/* MODER: 2 is the alternate function that AFRL or AFRH names. */
static void set_pin(uint32_t pin) {
  volatile uint32_t *const mode = &EQ_REGISTER(EQ_PORT_PIN_PORT);
  volatile uint32_t *const function = &EQ_REGISTER(EQ_PORT_PIN_PORT + (pin < 8 ? 0x20u : 0x24u));
  *function = (*function & ~(0xFu << pin % 8u * 4u)) | (uint32_t)EQ_PORT_PIN_FUNCTION << pin % 8u * 4u;
  *mode = (*mode & ~(3u << pin * 2u)) | 2u << pin * 2u;
}

static void set_pins(void) {
  set_pin(EQ_PORT_PIN_TX);
  set_pin(EQ_PORT_PIN_RX);
}
#endif

#if EQ_PORT_FAMILY == 40
#define FLASH_ACR EQ_REGISTER(0x40022000u)
#define PWR_CR2 EQ_REGISTER(0x40007004u)
#define RCC_CR EQ_REGISTER(RCC)

/* 48 MHz by the MSI oscillator: two wait states in range 1 (RM0432, 3.3.3), then range 11; and power for port G. */
static void start_clock(void) {
  FLASH_ACR = (FLASH_ACR & ~0xFu) | 2u;
  while ((FLASH_ACR & 0xFu) != 2u) {
  }
  RCC_CR = (RCC_CR & ~0xF0u) | 11u << 4 | 1u << 3; /* MSIRANGE, MSIRGSEL */
  EQ_REGISTER(RCC + 0x58u) |= 1u << 28;            /* APB1ENR1: PWR */
  PWR_CR2 |= 1u << 9;                              /* IOSV */
}
#else
static void start_clock(void) {}
#endif

#if EQ_PORT_UART_BASE == 0x40008000
#define DIVIDER ((uint32_t)(256ull * EQ_PORT_UART_HZ / EQ_BAUD)) /* LPUART */
#else
#define DIVIDER ((EQ_PORT_UART_HZ + EQ_BAUD / 2u) / EQ_BAUD)
#endif

void eq_uart_listen(bool on) { CONTROL = ENABLED | RECEIVER | TRANSMITTER | (on ? RXNEIE : 0u); }

void eq_port_init(void) {
  start_clock();
  PIN_CLOCKS |= 1u << EQ_PORT_PIN_CLOCK_BIT;
  EQ_REGISTER(RCC + EQ_PORT_UART_CLOCK) |= 1u << EQ_PORT_UART_CLOCK_BIT;
  (void)EQ_REGISTER(RCC + EQ_PORT_UART_CLOCK); /* a clock runs two cycles after it is switched on */
  set_pins();
  DIVISOR = DIVIDER;
  eq_uart_listen(true);
  EQ_NVIC_ISER(EQ_PORT_UART_IRQ / 32u) = 1u << EQ_PORT_UART_IRQ % 32u;
}

void eq_uart_interrupt(void) {
  while ((STATUS & RXNE) != 0 && eq_ring_has_room()) eq_ring_put((uint8_t)RECEIVED);
  CLEAR_ERRORS();
}

void eq_port_write(const uint8_t *bytes, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    while ((STATUS & TXE) == 0) {
    }
    TRANSMIT = bytes[i];
  }
}

void eq_port_kick_watchdog(void) { IWDG_KR = IWDG_RELOAD; }
