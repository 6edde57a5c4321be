/* SPDX-License-Identifier: Apache-2.0
 * What a microcontroller's family supplies to the firmware: bytes in and out, sleep, reset, and where it has them a timer
 * and flash that models may be kept in. */
#ifndef EDGEQ_PORT_H
#define EDGEQ_PORT_H

#include <stdint.h>

struct eq_flash;

/* Set up clocks, pins and the UART, whose receive interrupt is on afterwards. Called once, before anything else here. */
void eq_port_init(void);

/* The next received byte, or -1. Bytes come from a ring that the UART's interrupt fills; what does not fit is lost. */
int32_t eq_port_read(void);

/* Send bytes; returns once all have been taken by the UART. */
void eq_port_write(const uint8_t *bytes, uint32_t n);

/* Sleep until an interrupt, unless a byte is waiting. */
void eq_port_idle(void);

/* A counter of 32 bits, for cores whose own do not count: its rate, start it at 0, read it. Rate 0 where there is none. */
uint32_t eq_port_timer_hz(void);
void eq_port_timer_start(void);
uint32_t eq_port_timer(void);

/* Reset the chip. */
_Noreturn void eq_port_reboot(void);

/* Restart the watchdog's time if one runs. */
void eq_port_kick_watchdog(void);

/* The memory that models are kept in, NULL where the board has none. */
const struct eq_flash *eq_port_flash(void);

#endif
