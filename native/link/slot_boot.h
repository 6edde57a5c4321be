/* SPDX-License-Identifier: Apache-2.0
 * Start a device whose models are kept in slots. */
#ifndef EDGEQ_LINK_SLOT_BOOT_H
#define EDGEQ_LINK_SLOT_BOOT_H

#include "link/device.h"
#include "store/store.h"

/* Choose the model to run from device->store, bind it to the arena (16-byte aligned, as large as the store's rules say) and
 * tell the device of it; one on trial that fails its self-test is given up and the other slot's chosen. Without any the
 * device has no model, which is a state like any other. Call it once per start, after eq_store_init. */
void eq_slot_boot(eq_device *device, eq_model *model, eq_runner *runner, void *arena);

#endif
