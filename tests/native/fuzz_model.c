/* SPDX-License-Identifier: Apache-2.0
 * Fuzz target: open a model file, compare the verdict with the oracle's, then run what was accepted.
 *
 * Built with libFuzzer, or with STANDALONE as a program that replays files and prints what happens to each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgeq/edgeq.h"
#include "model_oracle.h"

enum { MAX_ARENA = 1 << 16, MAX_WORK = 1 << 22 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fail(const char *what, long detail) {
  fprintf(stderr, "\nfuzz_model: %s (%ld)\n", what, detail);
  abort();
}

/* A copy with nothing of ours behind it, so that the sanitizer sees every byte too many. */
static void *exact(size_t bytes) {
  void *memory = NULL;
  if (posix_memalign(&memory, 16, bytes > 0 ? bytes : 1) != 0) fail("out of memory", (long)bytes);
  return memory;
}

/* An upper bound on the work of one inference: each output byte needs at most every input and constant byte. */
static bool is_quick(const eq_model *m) {
  uint64_t work = 0;
  for (uint32_t i = 0; i < eq_step_count(m); i++) {
    const eq_step_record *s = &m->steps[i];
    const uint16_t *operands = m->operands + s->first_operand;
    uint64_t read = m->header->constants_size, written = 0;
    for (uint32_t j = 0; j < s->input_count; j++) read += m->tensor_bytes[operands[j]];
    for (uint32_t j = 0; j < s->output_count; j++) written += m->tensor_bytes[operands[s->input_count + j]];
    work += read * written;
  }
  return eq_arena_bytes(m) <= MAX_ARENA && work <= MAX_WORK;
}

/* Take the writes of step i out of the comparison. */
static void forget_written(const eq_model *m, uint32_t i, const uint8_t *arena, uint8_t *before) {
  const eq_step_record *s = &m->steps[i];
  memcpy(before + s->scratch_offset, arena + s->scratch_offset, s->scratch_bytes);
  for (uint32_t j = 0; j < s->output_count; j++) {
    const uint32_t tensor = m->operands[s->first_operand + s->input_count + j];
    memcpy(before + m->locations[tensor], arena + m->locations[tensor], m->tensor_bytes[tensor]);
  }
}

/* Run one inference on inputs drawn from the seed in an arena that is `filler` elsewhere; return a CRC of the outputs.
 * Fails when a step writes outside its outputs and scratch. */
static uint32_t run(const eq_model *m, uint32_t seed, uint8_t filler) {
  const uint32_t bytes = eq_arena_bytes(m);
  uint8_t *arena = exact(bytes), *before = exact(bytes);
  memset(arena, filler, bytes);
  eq_runner runner;
  const eq_status status = eq_runner_init(&runner, m, arena, bytes);
  if (status == EQ_ERR_LAYOUT && m->header->layout != EQ_LAYOUT_PORTABLE) { /* this CPU has no kernels for it */
    free(before);
    free(arena);
    return 0;
  }
  if (status != EQ_OK) fail("the arena is refused", (long)bytes);
  if (bytes > 0 && eq_runner_init(&runner, m, arena, bytes - 1) != EQ_ERR_ARENA) fail("a short arena is taken", 0);
  if (bytes > 16 && eq_runner_init(&runner, m, arena + 1, bytes) != EQ_ERR_ARENA) fail("a crooked arena is taken", 0);
  for (uint32_t i = 0; i < eq_input_count(m); i++) {
    uint8_t *input = eq_input(&runner, i);
    for (uint32_t b = 0; b < eq_tensor_bytes(m, eq_input_port(m, i)->tensor); b++) {
      seed = seed * 1664525 + 1013904223;
      input[b] = (uint8_t)(seed >> 24);
    }
  }
  for (uint32_t i = 0; i < eq_step_count(m); i++) {
    memcpy(before, arena, bytes);
    eq_run_step(&runner, i);
    forget_written(m, i, arena, before);
    if (memcmp(before, arena, bytes) != 0) fail("a step wrote outside its outputs and scratch", (long)i);
  }
  uint32_t crc = 0;
  for (uint32_t i = 0; i < eq_output_count(m); i++) {
    crc = eq_crc32(crc, eq_output(&runner, i), eq_tensor_bytes(m, eq_output_port(m, i)->tensor));
  }
  free(before);
  free(arena);
  return crc;
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

/* Let the sanitizer object to reads between sections, where nothing is. */
static void poison_gaps(const uint8_t *file, size_t size) {
  if (!oracle_sections_hold(file, size)) return;
  const eq_header_record *h = (const void *)file;
  const uint32_t *sections = &h->locations_offset; /* ten pairs of offset and size */
  uint32_t end = sizeof *h;
  for (int i = 0; i < 10; i++) {
    ASAN_POISON_MEMORY_REGION(file + end, sections[2 * i] - end);
    end = sections[2 * i] + sections[2 * i + 1];
  }
  ASAN_POISON_MEMORY_REGION(file + end, size - end);
}

static void refuse_crooked(const uint8_t *data, size_t size) {
  uint8_t *memory = exact(size + 4);
  memcpy(memory + 4, data, size);
  eq_model model;
  const eq_status status = eq_model_open(&model, memory + 4, size);
  if (status != EQ_ERR_ALIGNMENT) fail("a crooked file is taken", status);
  free(memory);
}

static eq_status try(const uint8_t *data, size_t size) {
  uint8_t *file = exact(size);
  memcpy(file, data, size);
  eq_model model;
  poison_gaps(file, size);
  const eq_status status = eq_model_open(&model, file, size);
  ASAN_UNPOISON_MEMORY_REGION(file, size);
  const verdict expected = oracle_judges(file, size);
  if (expected == REFUSED && status == EQ_OK) fail("accepted against the oracle", 0);
  if (expected == ACCEPTED && status != EQ_OK) fail("refused against the oracle", status);
  if (status == EQ_OK) {
    const eq_status payload = eq_model_check_payload(&model);
    if ((payload == EQ_OK) != oracle_payload_matches(file, size)) fail("wrong about the payload's CRC", payload);
    if (is_quick(&model)) {
      const uint32_t seed = eq_crc32(0, file, size);
      if (run(&model, seed, 0xA5) != run(&model, seed, 0x5A)) fail("the outputs depend on what was in the arena", 0);
    }
    refuse_crooked(data, size);
    if (memcmp(file, data, size) != 0) fail("the model file was written to", 0);
  }
  free(file);
  return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  (void)try(data, size);
  return 0;
}

#ifdef STANDALONE
int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    FILE *from = fopen(argv[i], "rb");
    if (from == NULL || fseek(from, 0, SEEK_END) != 0) fail("cannot read a file", i);
    const long size = ftell(from);
    rewind(from);
    uint8_t *data = malloc((size_t)size + 1);
    if (size < 0 || data == NULL || fread(data, 1, (size_t)size, from) != (size_t)size) fail("cannot read a file", i);
    fclose(from);
    printf("%s %s\n", eq_status_name(try(data, (size_t)size)), argv[i]);
    fflush(stdout);
    free(data);
  }
  return 0;
}
#endif
