/* SPDX-License-Identifier: Apache-2.0
 * What a fault leaves behind for the next start. */
#ifndef EDGEQ_FIRMWARE_FAULT_H
#define EDGEQ_FIRMWARE_FAULT_H

#include "link/device.h"

/* The handler of every exception that should not happen: stores a record and resets the chip. */
void eq_fault(void);

/* Name the device whose running step a record shall tell. */
void eq_fault_watch(const eq_device *device);

/* The record of a fault before this start, NULL when there is none; and forget it. */
const eq_fault_record *eq_fault_stored(void);
void eq_fault_clear(const eq_device *device);

#endif
