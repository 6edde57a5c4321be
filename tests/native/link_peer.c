/* SPDX-License-Identifier: Apache-2.0
 * A device in memory for tests of the link: two slots in RAM that keeps the rules of flash, a counter that counts calls. */
#include <stdlib.h>
#include <string.h>

#include "link/link.h"
#include "link/slot_boot.h"

enum { PAGE_BYTES = 1024, SLOT_PAGES = 24, WRITE_BYTES = 8, MAX_STEPS = 3, ARENA_BYTES = 1 << 16 };

typedef struct peer {
  _Alignas(16) uint8_t flash[2 * SLOT_PAGES * PAGE_BYTES];
  _Alignas(16) uint8_t arena[ARENA_BYTES];
  eq_flash driver;
  eq_store store;
  eq_model model;
  eq_runner runner;
  eq_device device;
  eq_link link;
  eq_log log;
  eq_step_result steps[MAX_STEPS];
  uint8_t *out;
  uint32_t out_bytes, out_capacity;
  uint64_t ticks;
  uint32_t runs;
  bool reboots;
} peer;

peer *peer_new(void);
void peer_free(peer *p);
void peer_start(peer *p);
bool peer_install(peer *p, const uint8_t *file, uint32_t n);
uint32_t peer_feed(peer *p, const uint8_t *bytes, uint32_t n, uint8_t *out, uint32_t capacity);
const uint8_t *peer_flash(const peer *p);
uint32_t peer_runs(const peer *p);
void peer_fault(peer *p);

static peer *of(const eq_device *device) {
  return (peer *)(uintptr_t)((const uint8_t *)device - offsetof(peer, device));
}

static void put(const eq_device *device, const uint8_t *bytes, uint32_t n) {
  peer *p = of(device);
  for (uint32_t i = 0; i < n && p->out_bytes < p->out_capacity; i++) p->out[p->out_bytes++] = bytes[i];
}

static uint64_t count(const eq_device *device) { return of(device)->ticks += 1000; }

static void memory(const eq_device *device, eq_memory_use *use) {
  *use = (eq_memory_use){device->arena_bytes, 1, 2, 3, 4};
}

static void reboot(const eq_device *device) { of(device)->reboots = true; }

static void alive(const eq_device *device) {
  if (device->step == EQ_NO_STEP) of(device)->runs++;
}

static eq_status erase(const eq_flash *flash, uint32_t offset) {
  if (offset % PAGE_BYTES != 0) abort();
  memset((uint8_t *)(uintptr_t)flash->base + offset, 0xFF, PAGE_BYTES);
  return EQ_OK;
}

static eq_status program(const eq_flash *flash, uint32_t offset, const void *bytes, uint32_t n) {
  if (offset % WRITE_BYTES != 0 || n % WRITE_BYTES != 0) abort();
  for (uint32_t i = 0; i < n; i++) {
    uint8_t *cell = (uint8_t *)(uintptr_t)flash->base + offset + i;
    if (*cell != 0xFF) abort(); /* programmed once after an erase */
    *cell = ((const uint8_t *)bytes)[i];
  }
  return EQ_OK;
}

peer *peer_new(void) {
  peer *p = aligned_alloc(16, (sizeof(peer) + 15) / 16 * 16);
  memset(p, 0, sizeof *p);
  memset(p->flash, 0xFF, sizeof p->flash);
  peer_start(p);
  return p;
}

void peer_free(peer *p) { free(p); }

/* Power on: flash stays, everything else begins anew. */
void peer_start(peer *p) {
  static const eq_store_rules rules = {.slots = 2, .arena_bytes = ARENA_BYTES, .max_work = UINT64_MAX};
  p->driver = (eq_flash){p->flash, SLOT_PAGES * PAGE_BYTES, PAGE_BYTES, WRITE_BYTES, erase, program};
  p->log = (eq_log){.end = 0};
  p->device = (eq_device){
      .board = "host", .cpuid = 0x410CC601, .counter_hz = 1000000, .counter_unit = EQ_COUNTER_SYSTICK,
      .firmware_version = {1, 2, 3}, .write = put, .count = count, .memory = memory, .reboot = reboot, .alive = alive,
      .log = &p->log, .store = &p->store, .steps = p->steps, .step_capacity = MAX_STEPS, .active_slot = EQ_NO_SLOT,
      .step = EQ_NO_STEP,
  };
  p->reboots = false;
  if (eq_store_init(&p->store, &p->driver, &rules) != EQ_OK) abort();
  eq_slot_boot(&p->device, &p->model, &p->runner, p->arena);
  eq_log_text(&p->log, "started\n");
  eq_link_init(&p->link, &p->device);
}

/* Make a model part of the firmware: no slots. The file must outlive the peer. */
bool peer_install(peer *p, const uint8_t *file, uint32_t n) {
  if (eq_model_open(&p->model, file, n) != EQ_OK) return false;
  if (eq_runner_init(&p->runner, &p->model, p->arena, ARENA_BYTES) != EQ_OK) return false;
  p->device.runner = &p->runner;
  p->device.model_bytes = p->model.header->file_bytes;
  p->device.model_crc = p->model.header->payload_crc;
  p->device.features = EQ_FEATURE_FIXED_MODEL | EQ_FEATURE_TEXT | EQ_FEATURE_COUNTS;
  p->device.slot_commands = NULL;
  return true;
}

uint32_t peer_feed(peer *p, const uint8_t *bytes, uint32_t n, uint8_t *out, uint32_t capacity) {
  p->out = out;
  p->out_bytes = 0;
  p->out_capacity = capacity;
  for (uint32_t i = 0; i < n; i++) {
    eq_link_feed(&p->link, bytes[i]);
    if (p->reboots) peer_start(p);
  }
  return p->out_bytes;
}

const uint8_t *peer_flash(const peer *p) { return p->flash; }
uint32_t peer_runs(const peer *p) { return p->runs; }

/* Store a fault record as a handler would. */
void peer_fault(peer *p) {
  static const eq_fault_record record = {.exception = 3, .step = 1, .tensor = 4, .pc = 0x1234, .sp = 0x20000400};
  p->device.fault = &record;
}
