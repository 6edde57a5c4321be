/* SPDX-License-Identifier: Apache-2.0
 * What all families share: the ring of received bytes, sleep and reset. */
#include "port/uart.h"

#include "edgeq/port.h"
#include "link/link.h"
#include "port/cortex_m.h"

enum { RING_BYTES = 1024 }; /* a power of two */
_Static_assert(RING_BYTES >= EQ_LINK_WINDOW * EQ_LINK_WIRE_BYTES, "the ring is shorter than the link's window");

static volatile uint32_t ring_end;   /* bytes ever put, which the interrupt changes alone */
static volatile uint32_t ring_start; /* bytes ever taken */
static volatile bool stopped;        /* bytes wait in the UART until there is room */
static uint8_t ring[RING_BYTES];

bool eq_ring_has_room(void) {
  if (ring_end - ring_start < RING_BYTES) return true;
  stopped = true;
  eq_uart_listen(false);
  return false;
}

void eq_ring_put(uint8_t byte) {
  ring[ring_end % RING_BYTES] = byte;
  ring_end++;
}

int32_t eq_port_read(void) {
  if (ring_start == ring_end) return -1;
  const uint8_t byte = ring[ring_start % RING_BYTES];
  ring_start++;
  if (stopped && ring_end - ring_start < RING_BYTES / 2) {
    eq_interrupts_off();
    stopped = false;
    eq_uart_listen(true);
    eq_uart_interrupt(); /* what waits raised its interrupt long ago */
    eq_interrupts_on();
  }
  return byte;
}

void eq_port_idle(void) {
  eq_interrupts_off(); /* a pending interrupt wakes all the same, and none is taken between the look and the sleep */
  if (ring_start == ring_end) __asm__ volatile("dsb\n wfi" ::: "memory");
  eq_interrupts_on();
}

_Noreturn void eq_port_reboot(void) {
  eq_barrier();
  EQ_SCB_AIRCR = EQ_AIRCR_RESET;
  for (;;) eq_barrier();
}

#if !defined(EQ_PORT_TIMER_BASE)
uint32_t eq_port_timer_hz(void) { return 0; }
void eq_port_timer_start(void) {}
uint32_t eq_port_timer(void) { return 0; }
#endif
