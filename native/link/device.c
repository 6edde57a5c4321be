/* SPDX-License-Identifier: Apache-2.0
 * Inputs, outputs and inferences of the model on a board. */
#include "link/device.h"

#include "edgeq/memory.h"

/* The model's inputs or outputs, taken as one block. */
typedef struct ports {
  const eq_device *device;
  bool outputs;
} ports;

static uint32_t count_of(ports p) {
  const eq_model *model = p.device->runner->model;
  return p.outputs ? eq_output_count(model) : eq_input_count(model);
}

static uint32_t bytes_of(ports p, uint32_t i) {
  const eq_model *model = p.device->runner->model;
  return eq_tensor_bytes(model, (p.outputs ? eq_output_port(model, i) : eq_input_port(model, i))->tensor);
}

static const uint8_t *memory_of(ports p, uint32_t i) {
  return p.outputs ? eq_output(p.device->runner, i) : eq_input(p.device->runner, i);
}

static uint32_t total(ports p) {
  uint32_t bytes = 0;
  for (uint32_t i = 0; i < count_of(p); i++) bytes += bytes_of(p, i);
  return bytes;
}

static uint32_t crc_of(ports p) {
  uint32_t crc = 0;
  for (uint32_t i = 0; i < count_of(p); i++) crc = eq_crc32(crc, memory_of(p, i), bytes_of(p, i));
  return crc;
}

/* The memory of byte `offset` of the block, and how many bytes of its port are left from there; *left is 0 past the end. */
static const uint8_t *at(ports p, uint32_t offset, uint32_t *left) {
  for (uint32_t i = 0; i < count_of(p); i++) {
    const uint32_t bytes = bytes_of(p, i);
    if (offset < bytes) {
      *left = bytes - offset;
      return memory_of(p, i) + offset;
    }
    offset -= bytes;
  }
  *left = 0;
  return NULL;
}

static void read(ports p, uint32_t offset, uint8_t *bytes, uint32_t n) {
  for (uint32_t done = 0; done < n;) {
    uint32_t left;
    const uint8_t *from = at(p, offset + done, &left);
    if (left > n - done) left = n - done;
    if (left == 0) return;
    eq_copy(bytes + done, from, left);
    done += left;
  }
}

uint32_t eq_device_input_bytes(const eq_device *device) { return total((ports){device, false}); }
uint32_t eq_device_output_bytes(const eq_device *device) { return total((ports){device, true}); }
uint32_t eq_device_input_crc(const eq_device *device) { return crc_of((ports){device, false}); }

void eq_device_read_input(const eq_device *device, uint32_t offset, uint8_t *bytes, uint32_t n) {
  read((ports){device, false}, offset, bytes, n);
}

void eq_device_read_output(const eq_device *device, uint32_t offset, uint8_t *bytes, uint32_t n) {
  read((ports){device, true}, offset, bytes, n);
}

static void write(ports p, uint32_t offset, const uint8_t *bytes, uint32_t n) {
  const uint8_t *constants = p.device->runner->model->constants;
  const uint32_t constants_bytes = p.device->runner->model->header->constants_size;
  uint8_t *arena = p.device->runner->arena;
  for (uint32_t done = 0; done < n;) {
    uint32_t left;
    const uint8_t *to = at(p, offset + done, &left);
    if (left > n - done) left = n - done;
    if (left == 0) return;
    const bool constant = (uintptr_t)to - (uintptr_t)constants < constants_bytes; /* an output may be one */
    if (!constant) eq_copy(arena + ((uintptr_t)to - (uintptr_t)arena), bytes + done, left);
    done += left;
  }
}

void eq_device_write_input(const eq_device *device, uint32_t offset, const uint8_t *bytes, uint32_t n) {
  write((ports){device, false}, offset, bytes, n);
}

void eq_device_write_output(const eq_device *device, uint32_t offset, const uint8_t *bytes, uint32_t n) {
  write((ports){device, true}, offset, bytes, n);
}

void eq_device_run(eq_device *device, uint32_t flags, uint32_t first_step) {
  const eq_runner *runner = device->runner;
  const uint32_t steps = eq_step_count(runner->model);
  eq_run_result *result = &device->result;
  result->first_step = first_step < steps ? first_step : steps;
  result->steps = 0;
  result->count = 0;
  uint64_t start = device->count(device);
  for (uint32_t i = 0; i < steps; i++) {
    if (device->alive != NULL) device->alive(device);
    device->step = i;
    eq_run_step(runner, i);
    if ((flags & (EQ_RUN_CRCS | EQ_RUN_COUNTS)) == 0) continue;
    const uint64_t taken = device->count(device) - start;
    result->count += taken;
    if (i >= result->first_step && result->steps < device->step_capacity) {
      const uint32_t crc = (flags & EQ_RUN_CRCS) != 0 ? eq_step_crc(runner, i) : 0;
      device->steps[result->steps++] = (eq_step_result){(uint32_t)taken, (uint32_t)(taken >> 32), crc};
    }
    start = device->count(device);
  }
  device->step = EQ_NO_STEP;
  if ((flags & (EQ_RUN_CRCS | EQ_RUN_COUNTS)) == 0) result->count = device->count(device) - start;
  result->output_crc = crc_of((ports){device, true});
  result->output_bytes = eq_device_output_bytes(device);
  result->valid = true;
}
