/* SPDX-License-Identifier: Apache-2.0
 * The API of the edgeq runtime: open a model in place, bind it to memory, run it.
 *
 * No allocation, no global state, integers only. A model file is checked once by
 * eq_model_open and trusted after. All functions are reentrant per runner. */
#ifndef EDGEQ_EDGEQ_H
#define EDGEQ_EDGEQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edgeq/format.h"
#include "edgeq/status.h"
#include "edgeq/step.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A checked model: pointers into the caller's bytes, which must outlive it unchanged. */
typedef struct eq_model {
  const uint8_t *bytes;
  const eq_header_record *header;
  const eq_location *locations;    /* one per tensor */
  const uint32_t *tensor_bytes;    /* one per tensor */
  const eq_step_record *steps;
  const uint16_t *operands;
  const eq_port_record *ports;     /* inputs, then outputs */
  const uint8_t *params;
  const uint8_t *constants;
} eq_model;

/* Check the structure of a model file (every offset, id, shape and bound) and fill `model`.
 * bytes: 16-byte aligned, n_bytes long. Any contents give EQ_OK or an error, never a wild access. Does not read
 * the whole file: eq_model_check_payload does. */
eq_status eq_model_open(eq_model *model, const void *bytes, size_t n_bytes);

/* Compare the CRC of everything after the header with the header's. */
eq_status eq_model_check_payload(const eq_model *model);

/* Threads that a port supplies. run calls work(context, part) for each part below `parts` <= count, at the same time, and
 * returns when all are done. */
typedef struct eq_threads {
  uint32_t count;
  void (*run)(const struct eq_threads *threads, void (*work)(const void *context, uint32_t part), const void *context,
              uint32_t parts);
} eq_threads;

/* A model bound to memory. */
typedef struct eq_runner {
  const eq_model *model;
  uint8_t *arena;
  const struct eq_kernels *kernels;
  const eq_threads *threads; /* NULL after eq_runner_init; may be set to threads that outlive the runner */
} eq_runner;

/* Bytes of arena that a model needs, inputs, outputs and scratch included. */
uint32_t eq_arena_bytes(const eq_model *model);

/* Bind a model to an arena: 16-byte aligned, at least eq_arena_bytes long. The fastest kernels of this CPU are used that
 * read the model's weights; EQ_ERR_LAYOUT when it has none. Models may share an arena when they run one after another. */
eq_status eq_runner_init(eq_runner *runner, const eq_model *model, void *arena, size_t arena_bytes);

/* Use the kernels called isa (NULL: the fastest again). EQ_ERR_ISA when this build or CPU has none of that name,
 * EQ_ERR_LAYOUT when they do not read the model's weights; the runner then keeps those it has. */
eq_status eq_runner_use(eq_runner *runner, const char *isa);

/* A portable model runs faster once its weights lie in the order of the kernels that will run it. eq_repacked_bytes is the
 * size of such an image for the kernels called isa (NULL: the fastest), 0 when the model is not portable or they read
 * portable weights. eq_model_repack writes it to `to` (16-byte aligned), for eq_model_open; the image has no metadata, no
 * signature and no payload CRC. Both need time in proportion to the model's size. */
size_t eq_repacked_bytes(const eq_model *model, const char *isa);
void eq_model_repack(void *to, const eq_model *model, const char *isa);

uint32_t eq_input_count(const eq_model *model);
uint32_t eq_output_count(const eq_model *model);

/* What an input or output looks like; i below the count. */
const eq_port_record *eq_input_port(const eq_model *model, uint32_t i);
const eq_port_record *eq_output_port(const eq_model *model, uint32_t i);

/* Memory of an input (to be filled before each run, since a run may overwrite it) or output (valid after a run until
 * the next). */
void *eq_input(const eq_runner *runner, uint32_t i);
const void *eq_output(const eq_runner *runner, uint32_t i);

/* Memory and size of any tensor; in a model converted with --keep-tensors every one is valid after a run. */
const void *eq_tensor(const eq_runner *runner, uint32_t id);
uint32_t eq_tensor_bytes(const eq_model *model, uint32_t id);

uint32_t eq_step_count(const eq_model *model);

/* Run step i; a whole inference is every step in order. */
void eq_run_step(const eq_runner *runner, uint32_t i);
void eq_run(const eq_runner *runner);

/* CRC-32 (the polynomial of zlib) of a step's outputs, in order, as they are now. */
uint32_t eq_step_crc(const eq_runner *runner, uint32_t i);
uint32_t eq_crc32(uint32_t crc, const void *bytes, size_t n_bytes);

/* The name of the kernel table in use, e.g. "scalar"; and of a status, e.g. "EQ_ERR_MAGIC". */
const char *eq_runner_isa(const eq_runner *runner);
const char *eq_status_name(eq_status status);

/* A hash of the format's definition; a binding compares it with its own before it trusts this library. */
uint32_t eq_format_hash(void);

#ifdef __cplusplus
}
#endif

#endif
