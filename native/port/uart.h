/* SPDX-License-Identifier: Apache-2.0
 * Between a family's UART and the ring that its bytes wait in. */
#ifndef EDGEQ_PORT_UART_H
#define EDGEQ_PORT_UART_H

#include <stdbool.h>
#include <stdint.h>

/* Supplied by the family: take what has arrived into the ring, as the receive interrupt does. */
void eq_uart_interrupt(void);

/* Supplied by the family: let bytes that arrive interrupt, or not. */
void eq_uart_listen(bool on);

/* False when the ring is full: the family then leaves the byte where it is and returns, having stopped listening. */
bool eq_ring_has_room(void);
void eq_ring_put(uint8_t byte);

#endif
