/* SPDX-License-Identifier: Apache-2.0
 * The edgeq link on standard input and output: what an SSH pipe, a pseudo terminal or a TCP server passes on. */
#define _GNU_SOURCE
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "link/link.h"
#include "link/slot_boot.h"

enum { EXIT_STORAGE = 9 };
enum { CHUNK_BYTES = 4096, PAGE_BYTES = 4096, MAX_STEPS = 1024, NANOSECONDS = 1000000000 };

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

/* What a server with slots starts anew when it is told to reboot. */
static struct {
  eq_device *device;
  eq_model model;
  eq_runner runner;
  eq_store store;
  void *arena;
} slots;

static eq_status erase(const eq_flash *flash, uint32_t offset) {
  uint8_t *page = (uint8_t *)(uintptr_t)flash->base + offset;
  memset(page, 0xFF, flash->page_bytes);
  return msync(page, flash->page_bytes, MS_SYNC) == 0 ? EQ_OK : EQ_ERR_FLASH;
}

static eq_status program(const eq_flash *flash, uint32_t offset, const void *bytes, uint32_t n) {
  uint8_t *page = (uint8_t *)(uintptr_t)flash->base + offset / flash->page_bytes * flash->page_bytes;
  memcpy(page + offset % flash->page_bytes, bytes, n);
  return msync(page, flash->page_bytes, MS_SYNC) == 0 ? EQ_OK : EQ_ERR_FLASH;
}

/* Fill a file with erased slots. */
static bool make_slots(int file, uint64_t bytes) {
  uint8_t erased[PAGE_BYTES];
  memset(erased, 0xFF, sizeof erased);
  for (uint64_t done = 0; done < bytes; done += sizeof erased) {
    if (write(file, erased, sizeof erased) != (ssize_t)sizeof erased) return false;
  }
  return true;
}

/* Map a file of two slots; NULL when it cannot be read, made or written, or is none. */
static const uint8_t *map_slots(const char *path, uint32_t *slot_bytes) {
  const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return NULL;
  struct stat about;
  void *data = MAP_FAILED;
  bool made = fstat(file, &about) == 0;
  if (made && about.st_size == 0) {
    made = make_slots(file, 2 * (uint64_t)*slot_bytes) && fstat(file, &about) == 0;
  }
  if (made && about.st_size % (2 * PAGE_BYTES) == 0 && about.st_size / 2 <= UINT32_MAX) {
    *slot_bytes = (uint32_t)(about.st_size / 2);
    data = mmap(NULL, (size_t)about.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  }
  close(file);
  return data == MAP_FAILED ? NULL : data;
}

static void boot(const eq_device *device) {
  if (slots.device != NULL && device == slots.device) eq_slot_boot(slots.device, &slots.model, &slots.runner, slots.arena);
}

static eq_status open_slots(eq_device *device, const eq_served *served) {
  static eq_flash flash = {.page_bytes = PAGE_BYTES, .write_bytes = 1, .erase = erase, .program = program};
  static const eq_store_rules rules = {.slots = 2, .arena_bytes = EQ_SERVE_ARENA_BYTES, .max_work = UINT64_MAX};
  flash.slot_bytes = served->slot_bytes;
  flash.base = map_slots(served->slots, &flash.slot_bytes);
  slots.arena = mmap(NULL, EQ_SERVE_ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (flash.base == NULL || slots.arena == MAP_FAILED) return EQ_ERR_FLASH;
  const eq_status status = eq_store_init(&slots.store, &flash, &rules);
  slots.device = device;
  device->store = &slots.store;
  if (status == EQ_OK) boot(device);
  return status;
}

int eq_serve(const eq_served *served) {
  static eq_log log;
  static eq_link link;
  static eq_step_result results[MAX_STEPS];
  const eq_header_record *file = served->file;
  eq_device device = {
      .board = served->board,
      .features = served->runner == NULL ? 0 : EQ_FEATURE_FIXED_MODEL,
      .arena_bytes = file == NULL ? 0 : file->arena_bytes,
      .counter_hz = NANOSECONDS,
      .counter_unit = EQ_COUNTER_NS,
      .firmware_version = {0, 1, 0},
      .write = put,
      .count = now_ns,
      .memory = tell_memory,
      .reboot = boot,
      .log = &log,
      .steps = results,
      .step_capacity = MAX_STEPS,
      .runner = served->runner,
      .model_bytes = file == NULL ? 0 : file->file_bytes,
      .model_crc = file == NULL ? 0 : file->payload_crc,
      .model_version = file == NULL ? 0 : file->model_version,
      .active_slot = EQ_NO_SLOT,
  };
  if (served->slots != NULL && open_slots(&device, served) != EQ_OK) return EXIT_STORAGE;
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
  return broken ? EXIT_STORAGE : 0;
}
