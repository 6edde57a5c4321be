/* SPDX-License-Identifier: Apache-2.0
 * Run a model on a bare core: count_model MODEL INPUTS OUTPUTS. The markers are those of eqrun --count; the stack below
 * the call of a whole inference is measured by painting it. model_counts.py reads what it prints. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgeq/edgeq.h"
#include "environment.h"

#define CALIBRATE UINT32_C(0xFFFFFFFF)
enum { BAD_INPUT = 2, PAINTED_BYTES = 16384, PAINT = 0xA5, MARGIN = 64 };

static void on_fault(int number) {
  printf("fault %d\n", number);
  fflush(stdout);
  environment_end(EXIT_FAILURE);
}

static void fail(const char *what) {
  printf("count_model: %s\n", what);
  exit(BAD_INPUT);
}

static FILE *open_file(const char *path, const char *mode) {
  FILE *file = fopen(path, mode);
  if (file == NULL) fail(path);
  return file;
}

/* How much of the stack one inference needs. */
__attribute__((noinline)) static size_t measure_stack(const eq_runner *runner) {
  uint8_t *const top = (uint8_t *)__builtin_frame_address(0) - MARGIN;
  volatile uint8_t *const bottom = top - PAINTED_BYTES;
  for (size_t i = 0; i < PAINTED_BYTES; i++) bottom[i] = PAINT;
  eq_run(runner);
  size_t untouched = 0;
  while (untouched < PAINTED_BYTES && bottom[untouched] == PAINT) untouched++;
  return PAINTED_BYTES - untouched + MARGIN;
}

static void feed(const eq_runner *runner, const uint8_t *sample) {
  for (uint32_t i = 0; i < eq_input_count(runner->model); i++) {
    const size_t size = eq_tensor_bytes(runner->model, eq_input_port(runner->model, i)->tensor);
    memcpy(eq_input(runner, i), sample, size);
    sample += size;
  }
}

int main(int argc, char **argv) {
  if (argc != 4 || environment_open(on_fault) != 0) fail("takes MODEL INPUTS OUTPUTS");
  const region file = environment_region(1, 0), arena = environment_region(2, 0), sample = environment_region(3, 0);
  FILE *from = open_file(argv[1], "rb");
  const size_t bytes = fread(file.start, 1, file.bytes, from);
  eq_model model;
  eq_runner runner;
  eq_status status = eq_model_open(&model, file.start, bytes);
  if (status == EQ_OK) status = eq_runner_init(&runner, &model, arena.start, arena.bytes);
  if (status != EQ_OK) fail(eq_status_name(status));
  if (fread(sample.start, 1, sample.bytes, open_file(argv[2], "rb")) == 0) fail("no inputs");
  feed(&runner, sample.start);
  const size_t stack = measure_stack(&runner);
  feed(&runner, sample.start);
  environment_mark(CALIBRATE);
  environment_mark(CALIBRATE);
  for (uint32_t i = 0; i < eq_step_count(&model); i++) {
    environment_mark(i);
    eq_run_step(&runner, i);
  }
  environment_mark(eq_step_count(&model));
  FILE *to = open_file(argv[3], "wb");
  for (uint32_t i = 0; i < eq_output_count(&model); i++) {
    fwrite(eq_output(&runner, i), 1, eq_tensor_bytes(&model, eq_output_port(&model, i)->tensor), to);
  }
  fclose(to);
  printf("isa %s stack %lu arena %lu\n", eq_runner_isa(&runner), (unsigned long)stack, (unsigned long)eq_arena_bytes(&model));
  return 0;
}
