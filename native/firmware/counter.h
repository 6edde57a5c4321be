/* SPDX-License-Identifier: Apache-2.0
 * How long things take: the cycle counter where it counts, else the system timer, else a timer of the chip. */
#ifndef EDGEQ_FIRMWARE_COUNTER_H
#define EDGEQ_FIRMWARE_COUNTER_H

#include "link/device.h"

/* Find the counter, start it and say what it counts, and how fast. */
eq_counter_unit eq_counter_start(uint32_t *hz);

/* What it counted since; never goes back. It must be read at least once while the 32 bits of a cycle counter pass. */
uint64_t eq_counter_read(void);

/* The system timer's interrupt. */
void eq_counter_wrapped(void);

#endif
