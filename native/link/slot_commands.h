/* SPDX-License-Identifier: Apache-2.0
 * The commands of a device whose models are kept in slots. */
#ifndef EDGEQ_LINK_SLOT_COMMANDS_H
#define EDGEQ_LINK_SLOT_COMMANDS_H

#include "link/link.h"

/* Do STATUS, BEGIN, DATA, CRCS, COMMIT, CONFIRM or REVERT on device->store; returns an eq_link_status. */
uint8_t eq_slot_commands(eq_device *device, eq_frame *frame);

#endif
