/* SPDX-License-Identifier: Apache-2.0
 * The models are kept in slots, which the link writes. */
#include "edgeq/port.h"
#include "firmware/model.h"
#include "firmware/sections.h"
#include "link/slot_boot.h"

enum { RESULTS = 64, SECONDS = 60 /* that a model may take, at one multiply-accumulate a cycle */ };

#if defined(EQ_KEY)
static const uint8_t key[32] = {EQ_KEY};
#endif

static eq_store_rules rules = {
    .slots = 2,
    .board_class = EQ_BOARD_CLASS,
    .max_work = (uint64_t)EQ_CLOCK_HZ * SECONDS,
#if defined(EQ_KEY)
    .key = key,
#endif
};
static eq_store store;
static eq_model model;
static eq_runner runner;
static eq_step_result results[RESULTS];

void eq_attach_model(eq_device *device) {
  rules.arena_bytes = (uint32_t)(eq_arena_end - eq_arena_start) * 4u;
  device->steps = results;
  device->step_capacity = RESULTS;
  device->store = &store;
#if defined(EQ_KEY)
  device->features |= EQ_FEATURE_SIGNED;
#endif
  if (eq_store_init(&store, eq_port_flash(), &rules) == EQ_OK) {
    eq_slot_boot(device, &model, &runner, eq_arena_start);
  } else {
    eq_log_text(device->log, "the store is unusable\n");
  }
}
