# SPDX-License-Identifier: Apache-2.0
"""Write the C source of the Python binding (cffi, API mode) to the path given; CMake compiles it."""

import sys

from cffi import FFI

DECLARATIONS = """
typedef int... eq_status;
typedef struct eq_model { ...; } eq_model;
typedef struct eq_runner { ...; } eq_runner;
eq_status eq_model_open(eq_model *model, const void *bytes, size_t n_bytes);
eq_status eq_model_check_payload(const eq_model *model);
uint32_t eq_arena_bytes(const eq_model *model);
eq_status eq_runner_init(eq_runner *runner, const eq_model *model, void *arena, size_t arena_bytes);
eq_status eq_runner_use(eq_runner *runner, const char *isa);
size_t eq_repacked_bytes(const eq_model *model, const char *isa);
void eq_model_repack(void *to, const eq_model *model, const char *isa);
const char *eq_isa_name(uint32_t i);
typedef ... eq_pool;
eq_pool *eq_pool_start(uint32_t count);
void eq_pool_stop(eq_pool *pool);
uint64_t eq_pool_cpu_ns(const eq_pool *pool, uint32_t i);
void eq_runner_take_threads(eq_runner *runner, const eq_pool *pool);
void *eq_input(const eq_runner *runner, uint32_t i);
const void *eq_output(const eq_runner *runner, uint32_t i);
const void *eq_tensor(const eq_runner *runner, uint32_t id);
uint32_t eq_step_count(const eq_model *model);
void eq_run_step(const eq_runner *runner, uint32_t i);
void eq_run(const eq_runner *runner);
uint32_t eq_step_crc(const eq_runner *runner, uint32_t i);
const char *eq_runner_isa(const eq_runner *runner);
const char *eq_status_name(eq_status status);
uint32_t eq_format_hash(void);
void eq_time_steps(const eq_runner *runner, uint64_t *nanoseconds);
"""

SOURCE = """
#include <time.h>
#include "edgeq/edgeq.h"
#include "kernels/kernels.h"
#include "threads.h"

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The name of the kernel table number i of this CPU, slowest first; NULL beyond the last. */
static const char *eq_isa_name(uint32_t i) {
  const eq_kernels *table = eq_kernels_at(i);
  return table == NULL ? NULL : table->isa;
}

static void eq_runner_take_threads(eq_runner *runner, const eq_pool *pool) {
  runner->threads = eq_pool_threads(pool);
}

/* Run one inference and write the nanoseconds of each step. */
static void eq_time_steps(const eq_runner *runner, uint64_t *nanoseconds) {
  const uint32_t count = eq_step_count(runner->model);
  uint64_t before = now_ns();
  for (uint32_t i = 0; i < count; i++) {
    eq_run_step(runner, i);
    const uint64_t after = now_ns();
    nanoseconds[i] = after - before;
    before = after;
  }
}
"""

builder = FFI()
builder.cdef(DECLARATIONS)
builder.set_source("edgeq._native", SOURCE)

if __name__ == "__main__":
    builder.emit_c_code(sys.argv[1])
