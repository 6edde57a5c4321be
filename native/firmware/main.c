/* SPDX-License-Identifier: Apache-2.0
 * The firmware: give the link a device, then hand it every byte that arrives and sleep between them. */
#include "edgeq/port.h"
#include "firmware/counter.h"
#include "firmware/fault.h"
#include "firmware/model.h"
#include "firmware/sections.h"
#include "link/link.h"
#include "port/cortex_m.h"

static eq_device device;
static eq_link serial;
static eq_log messages;

int main(void);

static void write(const eq_device *to, const uint8_t *bytes, uint32_t n) {
  (void)to;
  eq_port_write(bytes, n);
}

static uint64_t count(const eq_device *of) {
  (void)of;
  return eq_counter_read();
}

static void reboot(const eq_device *which) {
  (void)which;
  eq_port_reboot();
}

static void alive(const eq_device *which) {
  (void)which;
  eq_port_kick_watchdog();
}

static uint32_t bytes_between(const uint32_t *from, const uint32_t *end) { return (uint32_t)(end - from) * 4u; }

static void memory(const eq_device *of, eq_memory_use *use) {
  use->arena_bytes = of->arena_bytes;
  use->arena_used = bytes_between(eq_arena_start, eq_arena_end) - 4u * eq_painted_down(eq_arena_start, eq_arena_end);
  use->stack_bytes = bytes_between(eq_stack_start, eq_stack_end);
  use->stack_used = use->stack_bytes - 4u * eq_painted_up(eq_stack_start, eq_stack_end);
  use->runtime_bytes = (uint32_t)sizeof device + of->step_capacity * (uint32_t)sizeof(eq_step_result);
}

int main(void) {
  eq_port_init();
  device.board = EQ_BOARD_NAME;
  device.board_class = EQ_BOARD_CLASS;
  device.cpuid = EQ_SCB_CPUID;
  device.firmware_version[0] = 0;
  device.firmware_version[1] = 1;
  device.counter_unit = (uint8_t)eq_counter_start(&device.counter_hz);
  device.write = write;
  device.count = count;
  device.memory = memory;
  device.reboot = reboot;
  device.alive = alive;
  device.clear_fault = eq_fault_clear;
  device.fault = eq_fault_stored();
  device.log = &messages;
  device.active_slot = EQ_NO_SLOT;
  device.step = EQ_NO_STEP;
  eq_attach_model(&device);
  eq_fault_watch(&device);
  eq_link_init(&serial, &device);
  for (;;) {
    const int32_t byte = eq_port_read();
    if (byte >= 0) {
      eq_link_feed(&serial, (uint8_t)byte);
    } else {
      eq_port_kick_watchdog();
      eq_port_idle();
    }
  }
}
