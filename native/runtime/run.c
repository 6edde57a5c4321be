/* SPDX-License-Identifier: Apache-2.0
 * Bind a checked model to memory and run its steps. */
#include "edgeq/edgeq.h"
#include "kernels/kernels.h"
#include "runtime/steps.h"

uint32_t eq_arena_bytes(const eq_model *model) { return model->header->arena_bytes; }

eq_status eq_runner_init(eq_runner *runner, const eq_model *model, void *arena, size_t arena_bytes) {
  if (arena_bytes < model->header->arena_bytes || (uintptr_t)arena % 16 != 0) return EQ_ERR_ARENA;
  runner->model = model;
  runner->arena = arena;
  runner->threads = NULL;
  return eq_runner_use(runner, NULL);
}

/* A table runs portable models and those packed for its own products. */
static bool can_run(const eq_kernels *kernels, uint32_t layout) {
  return layout == EQ_LAYOUT_PORTABLE || (kernels->layout == layout && kernels->packed_gemm_s8 != NULL);
}

eq_status eq_runner_use(eq_runner *runner, const char *isa) {
  const uint32_t layout = runner->model->header->layout;
  const eq_kernels *kernels = eq_kernels_select(isa);
  if (kernels == NULL) return EQ_ERR_ISA;
  if (isa == NULL && !can_run(kernels, layout)) kernels = eq_kernels_for_layout(layout);
  if (kernels == NULL || !can_run(kernels, layout)) return EQ_ERR_LAYOUT;
  runner->kernels = kernels;
  return EQ_OK;
}

uint32_t eq_input_count(const eq_model *model) { return model->header->input_count; }
uint32_t eq_output_count(const eq_model *model) { return model->header->output_count; }

const eq_port_record *eq_input_port(const eq_model *model, uint32_t i) { return &model->ports[i]; }

const eq_port_record *eq_output_port(const eq_model *model, uint32_t i) {
  return &model->ports[model->header->input_count + i];
}

const void *eq_tensor(const eq_runner *runner, uint32_t id) {
  const eq_location where = runner->model->locations[id];
  return (where & EQ_LOCATION_CONSTANT) != 0 ? runner->model->constants + (where & ~EQ_LOCATION_CONSTANT)
                                             : runner->arena + where;
}

uint32_t eq_tensor_bytes(const eq_model *model, uint32_t id) { return model->tensor_bytes[id]; }

void *eq_input(const eq_runner *runner, uint32_t i) {
  return runner->arena + runner->model->locations[eq_input_port(runner->model, i)->tensor];
}

const void *eq_output(const eq_runner *runner, uint32_t i) {
  return eq_tensor(runner, eq_output_port(runner->model, i)->tensor);
}

uint32_t eq_step_count(const eq_model *model) { return model->header->step_count; }

/* Run one part of step i; part 0 of 1 is the whole. */
static void run_part(const eq_runner *runner, uint32_t i, uint32_t part, uint32_t parts) {
  const eq_model *m = runner->model;
  const eq_step_record *s = &m->steps[i];
  const eq_step_io io = {
      .constants = m->constants,
      .arena = runner->arena,
      .locations = m->locations,
      .operands = m->operands + s->first_operand,
      .n_inputs = s->input_count,
      .n_outputs = s->output_count,
      .scratch = runner->arena + s->scratch_offset + part * eq_part_scratch(s),
      .scratch_bytes = eq_part_scratch(s),
      .kernels = runner->kernels,
      .layout = m->header->layout,
      .part = part,
      .parts = parts,
  };
  eq_step_runs[s->code](&io, m->params + s->params_offset);
}

typedef struct divided_step {
  const eq_runner *runner;
  uint32_t step;
  uint32_t parts;
} divided_step;

static void run_divided(const void *context, uint32_t part) {
  const divided_step *d = context;
  run_part(d->runner, d->step, part, d->parts);
}

void eq_run_step(const eq_runner *runner, uint32_t i) {
  if (!EQ_DIVIDES) {
    run_part(runner, i, 0, 1);
    return;
  }
  const eq_threads *threads = runner->threads;
  const uint32_t most = runner->model->steps[i].parts;
  const uint32_t parts = threads == NULL || threads->count < most ? (threads == NULL ? 1 : threads->count) : most;
  if (parts <= 1) {
    run_part(runner, i, 0, 1);
    return;
  }
  const divided_step divided = {runner, i, parts};
  threads->run(threads, run_divided, &divided, parts);
}

void eq_run(const eq_runner *runner) {
  for (uint32_t i = 0; i < runner->model->header->step_count; i++) eq_run_step(runner, i);
}

uint32_t eq_step_crc(const eq_runner *runner, uint32_t i) {
  const eq_step_record *s = &runner->model->steps[i];
  const uint16_t *outputs = runner->model->operands + s->first_operand + s->input_count;
  uint32_t crc = 0;
  for (uint32_t j = 0; j < s->output_count; j++) {
    crc = eq_crc32(crc, eq_tensor(runner, outputs[j]), runner->model->tensor_bytes[outputs[j]]);
  }
  return crc;
}

const char *eq_runner_isa(const eq_runner *runner) { return runner->kernels->isa; }

const char *eq_status_name(eq_status status) {
  switch (status) {
#define EQ_NAME(name) \
  case name:          \
    return #name;
    EQ_NAME(EQ_OK)
    EQ_NAME(EQ_ERR_MAGIC)
    EQ_NAME(EQ_ERR_VERSION)
    EQ_NAME(EQ_ERR_TRUNCATED)
    EQ_NAME(EQ_ERR_HEADER)
    EQ_NAME(EQ_ERR_SECTION)
    EQ_NAME(EQ_ERR_TENSOR)
    EQ_NAME(EQ_ERR_STEP)
    EQ_NAME(EQ_ERR_ORDER)
    EQ_NAME(EQ_ERR_OP)
    EQ_NAME(EQ_ERR_LAYOUT)
    EQ_NAME(EQ_ERR_PORT)
    EQ_NAME(EQ_ERR_PAYLOAD)
    EQ_NAME(EQ_ERR_ARENA)
    EQ_NAME(EQ_ERR_ALIGNMENT)
    EQ_NAME(EQ_ERR_ISA)
    EQ_NAME(EQ_ERR_FLASH)
    EQ_NAME(EQ_ERR_SLOT)
    EQ_NAME(EQ_ERR_BOARD)
    EQ_NAME(EQ_ERR_WORK)
    EQ_NAME(EQ_ERR_SIGNATURE)
    EQ_NAME(EQ_ERR_DOWNGRADE)
    EQ_NAME(EQ_ERR_TRIAL)
    EQ_NAME(EQ_ERR_NO_UPDATE)
    EQ_NAME(EQ_ERR_INCOMPLETE)
    EQ_NAME(EQ_ERR_SELF_TEST)
#undef EQ_NAME
  }
  return "unknown status";
}
