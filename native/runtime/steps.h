/* SPDX-License-Identifier: Apache-2.0
 * The table of all kinds of steps, by code. */
#ifndef EDGEQ_RUNTIME_STEPS_H
#define EDGEQ_RUNTIME_STEPS_H

#include "edgeq/format.h"
#include "edgeq/ops.h"

typedef void eq_step_run(const eq_step_io *io, const void *params);

typedef struct eq_step_kind {
  eq_status (*check)(const eq_step_check *s, const void *params); /* NULL where there is no such kind */
  uint32_t params_bytes;
  uint32_t in_place; /* bit i: the first output may take over the memory of input i */
  bool divides;      /* it can run in parts */
} eq_step_kind;

/* Scratch bytes of one of a step's parts; each part's begins as many bytes after the one before. */
static inline uint32_t eq_part_scratch(const eq_step_record *s) {
  return s->parts > 1 ? s->scratch_bytes / s->parts / 16 * 16 : s->scratch_bytes;
}

/* What runs a step of each kind, by code. steps.c has all; firmware made for one model has a table of its own instead,
 * with NULL where the model has no such step, which ends with the last that it has. */
extern eq_step_run *const eq_step_runs[];

/* Runs a step of one kind. */
#define EQ_STEP(code, name, mask, divides) eq_step_run eq_run_##name;
EQ_STEPS(EQ_STEP)
#undef EQ_STEP

/* The kind with this code, or NULL. */
const eq_step_kind *eq_step_kind_of(uint32_t code);

/* What output `output` of a checked step may do with the memory of input `input`, which begins `ahead` bytes above it;
 * working in place apart. */
eq_sharing eq_step_sharing(uint32_t code, const void *params, const uint8_t *constants, uint32_t input, uint32_t output,
                           int64_t ahead);

#endif
