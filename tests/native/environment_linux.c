/* SPDX-License-Identifier: Apache-2.0
 * The harness on Linux: every buffer ends in front of a page that cannot be touched. */
#define _GNU_SOURCE
#include "environment.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

#define MARKER_CALL 0x5EED /* see native/port/linux/eqrun.c */

static region regions[HARNESS_BUFFERS];

int environment_open(void (*on_fault)(int number)) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (int32_t i = 0; i < HARNESS_BUFFERS; i++) {
    const size_t usable = page + HARNESS_BYTES; /* the first page holds the guard before a buffer */
    uint8_t *memory = mmap(NULL, usable + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory + usable, page, PROT_NONE) != 0) return -1;
    regions[i] = (region){memory, usable};
  }
  signal(SIGSEGV, on_fault);
  signal(SIGBUS, on_fault);
  signal(SIGILL, on_fault);
  return 0;
}

region environment_region(int32_t i, uint64_t seed) {
  (void)seed;
  return regions[i];
}

uint64_t environment_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void environment_mark(uint32_t what) { (void)syscall(MARKER_CALL, what); }

_Noreturn void environment_end(int code) { _exit(code); }
