/* SPDX-License-Identifier: Apache-2.0
 * The edgeq link on standard input and output: what an SSH pipe, a pseudo terminal or a TCP server passes on. */
#define _GNU_SOURCE
#include "serve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "link/link.h"

enum { EXIT_NO_MEMORY = 3, EXIT_STORAGE = 9 };
enum { CHUNK_BYTES = 4096, NANOSECONDS = 1000000000 };

/* Bytes on their way out; written when a chunk of input is done with, or when full. */
static uint8_t waiting[CHUNK_BYTES];
static size_t waiting_bytes;
static bool broken;

static void flush(void) {
  for (size_t done = 0; done < waiting_bytes && !broken;) {
    const ssize_t n = write(STDOUT_FILENO, waiting + done, waiting_bytes - done);
    if (n >= 0) {
      done += (size_t)n;
    } else if (errno != EINTR) {
      broken = true;
    }
  }
  waiting_bytes = 0;
}

static void put(const eq_device *device, const uint8_t *bytes, uint32_t n) {
  (void)device;
  for (uint32_t i = 0; i < n; i++) {
    if (waiting_bytes == sizeof waiting) flush();
    waiting[waiting_bytes++] = bytes[i];
  }
}

static uint64_t now_ns(const eq_device *device) {
  (void)device;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * NANOSECONDS + (uint64_t)now.tv_nsec;
}

static void tell_memory(const eq_device *device, eq_memory_use *use) {
  const uint32_t results = device->step_capacity * (uint32_t)sizeof *device->steps;
  const uint32_t arena = device->runner == NULL ? 0 : eq_arena_bytes(device->runner->model);
  *use = (eq_memory_use){
      .arena_bytes = arena,
      .arena_used = arena,
      .runtime_bytes = (uint32_t)(sizeof(eq_model) + sizeof(eq_runner) + sizeof(eq_device)) + results,
  };
}

/* There is nothing to start anew: the process is the device. */
static void stay(const eq_device *device) { (void)device; }

int eq_serve(const eq_runner *runner, const eq_header_record *file, const char *board) {
  static eq_log log;
  static eq_link link;
  const uint32_t steps = runner == NULL ? 0 : eq_step_count(runner->model);
  eq_device device = {
      .board = board,
      .features = runner == NULL ? 0 : EQ_FEATURE_FIXED_MODEL,
      .arena_bytes = runner == NULL ? 0 : eq_arena_bytes(runner->model),
      .counter_hz = NANOSECONDS,
      .counter_unit = EQ_COUNTER_NS,
      .firmware_version = {0, 1, 0},
      .write = put,
      .count = now_ns,
      .memory = tell_memory,
      .reboot = stay,
      .log = &log,
      .steps = calloc(steps + 1, sizeof(eq_step_result)),
      .step_capacity = steps,
      .runner = runner,
      .model_bytes = file == NULL ? 0 : file->file_bytes,
      .model_crc = file == NULL ? 0 : file->payload_crc,
      .model_version = file == NULL ? 0 : file->model_version,
      .active_slot = EQ_NO_SLOT,
  };
  if (device.steps == NULL) return EXIT_NO_MEMORY;
  eq_log_text(&log, "serving\n");
  eq_link_init(&link, &device);
  uint8_t chunk[CHUNK_BYTES];
  for (ssize_t n = 1; n != 0 && !broken;) {
    n = read(STDIN_FILENO, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) broken = true;
    for (ssize_t i = 0; i < n; i++) eq_link_feed(&link, chunk[i]);
    flush();
  }
  free(device.steps);
  return broken ? EXIT_STORAGE : 0;
}
