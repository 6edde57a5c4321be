/* SPDX-License-Identifier: Apache-2.0
 * Start a device whose models are kept in slots. */
#include "link/slot_boot.h"

#include "link/slot_commands.h"

/* Bind the model that the store has chosen, and test it if it has not been confirmed yet. */
static eq_status bind(const eq_device *device, const eq_model *model, eq_runner *runner, void *arena) {
  const eq_status status = eq_runner_init(runner, model, arena, device->store->rules->arena_bytes);
  return status == EQ_OK && eq_store_on_trial(device->store) ? eq_self_test(runner) : status;
}

void eq_slot_boot(eq_device *device, eq_model *model, eq_runner *runner, void *arena) {
  eq_store *store = device->store;
  device->slot_commands = eq_slot_commands;
  device->arena_bytes = store->rules->arena_bytes;
  device->slot_bytes = eq_store_capacity(store->flash);
  device->page_bytes = store->flash->page_bytes;
  device->runner = NULL;
  device->active_slot = EQ_NO_SLOT;
  device->flags &= ~(uint32_t)EQ_DEVICE_ON_TRIAL;
  int32_t slot = eq_store_boot(store, model);
  for (uint32_t i = 0; i < 2 && slot >= 0; i++) {
    const eq_status status = bind(device, model, runner, arena);
    if (status == EQ_OK) break;
    eq_log_text(device->log, "model given up: ");
    eq_log_text(device->log, eq_status_name(status));
    eq_log_text(device->log, "\n");
    slot = eq_store_revert(store) == EQ_OK && i == 0 ? eq_store_boot(store, model) : -1;
  }
  if (slot < 0) {
    device->model_bytes = device->model_crc = device->model_version = 0;
    return;
  }
  device->runner = runner;
  device->active_slot = (uint8_t)slot;
  device->flags |= eq_store_on_trial(store) ? EQ_DEVICE_ON_TRIAL : 0u;
  device->model_bytes = model->header->file_bytes;
  device->model_crc = model->header->payload_crc;
  device->model_version = model->header->model_version;
}
