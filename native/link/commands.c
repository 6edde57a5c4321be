/* SPDX-License-Identifier: Apache-2.0
 * The commands every firmware answers: who it is, running, and what was measured. */
#include "link/commands.h"

#include "edgeq/memory.h"
#include "link/bytes.h"

enum { VERSION = 1, HELLO_BYTES = 92, BOARD_BYTES = 24, ISA_BYTES = 8, STEP_BYTES = 12 };
_Static_assert(HELLO_BYTES <= EQ_LINK_PAYLOAD, "a reply holds no HELLO");

static void append_u8(eq_frame *frame, uint32_t value) { frame->reply[frame->reply_bytes++] = (uint8_t)value; }

static void append_u16(eq_frame *frame, uint32_t value) {
  eq_put_u16(frame->reply + frame->reply_bytes, value);
  frame->reply_bytes += 2;
}

static void append_u32(eq_frame *frame, uint32_t value) {
  eq_put_u32(frame->reply + frame->reply_bytes, value);
  frame->reply_bytes += 4;
}

static void append_name(eq_frame *frame, const char *name, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; i++) {
    append_u8(frame, (uint8_t)*name);
    if (*name != 0) name++;
  }
}

/* How many items of `bytes` each go into the rest of the reply, of those asked for. */
static uint32_t fitting(const eq_frame *frame, uint32_t asked, uint32_t bytes) {
  const uint32_t room = (EQ_LINK_PAYLOAD - frame->reply_bytes) / bytes;
  return asked < room ? asked : room;
}

static uint8_t hello(const eq_device *device, eq_frame *frame) {
  const bool ready = device->runner != NULL;
  append_u8(frame, VERSION);
  append_u8(frame, VERSION);
  append_u16(frame, EQ_LINK_PAYLOAD);
  append_u8(frame, EQ_LINK_WINDOW);
  append_u8(frame, device->active_slot);
  append_u16(frame, device->flags | (ready ? EQ_DEVICE_MODEL_READY : 0u) |
                        (device->fault != NULL ? EQ_DEVICE_FAULT_STORED : 0u));
  append_u32(frame, device->features);
  append_u32(frame, device->cpuid);
  append_u32(frame, EQ_KERNEL_ABI);
  append_u32(frame, EQ_FORMAT_HASH);
  append_u32(frame, device->board_class);
  append_u32(frame, device->slot_bytes);
  append_u32(frame, device->page_bytes);
  append_u32(frame, device->arena_bytes);
  append_u32(frame, device->model_bytes);
  append_u32(frame, device->model_crc);
  append_u32(frame, device->model_version);
  append_u32(frame, device->counter_hz);
  append_u8(frame, device->counter_unit);
  for (uint32_t i = 0; i < 3; i++) append_u8(frame, device->firmware_version[i]);
  append_name(frame, device->board, BOARD_BYTES);
  append_name(frame, ready ? eq_runner_isa(device->runner) : "", ISA_BYTES);
  return EQ_LINK_OK;
}

static uint8_t write_input(const eq_device *device, eq_frame *frame) {
  if (frame->request_bytes < 4) return EQ_LINK_MALFORMED;
  const uint32_t offset = eq_get_u32(frame->request), n = frame->request_bytes - 4;
  const uint32_t bytes = eq_device_input_bytes(device);
  if (offset > bytes || n > bytes - offset) return EQ_LINK_RANGE;
  eq_device_write_input(device, offset, frame->request + 4, n);
  append_u32(frame, offset);
  return EQ_LINK_OK;
}

static uint8_t run(eq_device *device, eq_frame *frame) {
  if (frame->request_bytes < 16) return EQ_LINK_MALFORMED;
  eq_run_result *result = &device->result;
  const uint32_t id = eq_get_u32(frame->request);
  if (!result->valid || result->run_id != id) {
    const uint32_t flags = eq_get_u32(frame->request + 4), expected = eq_get_u32(frame->request + 8);
    const uint32_t first_step = eq_get_u32(frame->request + 12), crc = eq_device_input_crc(device);
    if (crc != expected) {
      append_u32(frame, crc);
      return EQ_LINK_INPUT;
    }
    eq_device_run(device, flags, first_step);
    result->run_id = id;
  }
  append_u32(frame, id);
  append_u32(frame, (uint32_t)result->count);
  append_u32(frame, (uint32_t)(result->count >> 32));
  append_u32(frame, result->output_crc);
  append_u32(frame, result->output_bytes);
  return EQ_LINK_OK;
}

static uint8_t read_output(const eq_device *device, eq_frame *frame) {
  if (frame->request_bytes < 6) return EQ_LINK_MALFORMED;
  const uint32_t offset = eq_get_u32(frame->request), asked = eq_get_u16(frame->request + 4);
  const uint32_t bytes = eq_device_output_bytes(device);
  if (offset > bytes) return EQ_LINK_RANGE;
  append_u32(frame, offset);
  const uint32_t n = fitting(frame, asked < bytes - offset ? asked : bytes - offset, 1);
  eq_device_read_output(device, offset, frame->reply + frame->reply_bytes, n);
  frame->reply_bytes += n;
  return EQ_LINK_OK;
}

static uint8_t read_steps(const eq_device *device, eq_frame *frame) {
  if (frame->request_bytes < 6) return EQ_LINK_MALFORMED;
  const uint32_t first = eq_get_u32(frame->request), asked = eq_get_u16(frame->request + 4);
  const eq_run_result *result = &device->result;
  append_u32(frame, first);
  /* wraps for a step before the first that is kept, and is then past the end as well */
  const uint32_t index = first - result->first_step;
  if (index >= result->steps) return EQ_LINK_OK;
  const uint32_t held = result->steps - index, n = fitting(frame, asked < held ? asked : held, STEP_BYTES);
  for (uint32_t i = 0; i < n; i++) {
    const eq_step_result *step = &device->steps[index + i];
    append_u32(frame, step->count_low);
    append_u32(frame, step->count_high);
    append_u32(frame, step->crc);
  }
  return EQ_LINK_OK;
}

static uint8_t read_ports(const eq_device *device, eq_frame *frame) {
  if (frame->request_bytes < 2) return EQ_LINK_MALFORMED;
  const eq_model *model = device->runner->model;
  const uint32_t inputs = eq_input_count(model), outputs = eq_output_count(model);
  const uint32_t first = eq_get_u16(frame->request);
  append_u16(frame, inputs);
  append_u16(frame, outputs);
  append_u16(frame, first);
  const uint32_t n = first < inputs + outputs ? fitting(frame, inputs + outputs - first, 4) : 0;
  for (uint32_t i = first; i < first + n; i++) append_u32(frame, eq_tensor_bytes(model, model->ports[i].tensor));
  return EQ_LINK_OK;
}

static uint8_t memory(const eq_device *device, eq_frame *frame) {
  eq_memory_use use = {0};
  device->memory(device, &use);
  append_u32(frame, use.arena_bytes);
  append_u32(frame, use.arena_used);
  append_u32(frame, use.stack_bytes);
  append_u32(frame, use.stack_used);
  append_u32(frame, use.runtime_bytes);
  return EQ_LINK_OK;
}

static uint8_t read_log(const eq_device *device, eq_frame *frame) {
  if (frame->request_bytes < 4) return EQ_LINK_MALFORMED;
  uint32_t from = eq_get_u32(frame->request);
  const uint32_t n = eq_log_read(device->log, &from, frame->reply + 4, EQ_LINK_PAYLOAD - 4);
  append_u32(frame, from);
  frame->reply_bytes += n;
  return EQ_LINK_OK;
}

static uint8_t fault(eq_device *device, eq_frame *frame) {
  if (frame->request_bytes < 1) return EQ_LINK_MALFORMED;
  if (frame->request[0] == 1) {
    if (device->clear_fault != NULL) device->clear_fault(device);
    device->fault = NULL;
  } else if (device->fault != NULL) {
    eq_copy(frame->reply, device->fault, sizeof *device->fault);
    frame->reply_bytes = sizeof *device->fault;
  }
  return EQ_LINK_OK;
}

/* Commands about the model and what it left. */
static uint8_t model_command(eq_device *device, eq_frame *frame) {
  if (device->runner == NULL) return EQ_LINK_NO_MODEL;
  switch (frame->command) {
    case EQ_COMMAND_INPUT:
      return write_input(device, frame);
    case EQ_COMMAND_RUN:
      return run(device, frame);
    case EQ_COMMAND_PORTS:
      return read_ports(device, frame);
    default:
      break;
  }
  if (!device->result.valid) return EQ_LINK_NO_RESULT;
  return frame->command == EQ_COMMAND_OUTPUT ? read_output(device, frame) : read_steps(device, frame);
}

uint8_t eq_command_answer(eq_device *device, eq_frame *frame) {
  switch (frame->command) {
    case EQ_COMMAND_HELLO:
      return hello(device, frame);
    case EQ_COMMAND_INPUT:
    case EQ_COMMAND_RUN:
    case EQ_COMMAND_OUTPUT:
    case EQ_COMMAND_STEPS:
    case EQ_COMMAND_PORTS:
      return model_command(device, frame);
    case EQ_COMMAND_MEMORY:
      return memory(device, frame);
    case EQ_COMMAND_LOG:
      return read_log(device, frame);
    case EQ_COMMAND_FAULT:
      return fault(device, frame);
    case EQ_COMMAND_REBOOT:
      return EQ_LINK_OK;
    default:
      break;
  }
  const bool slots = frame->command >= EQ_COMMAND_STATUS && frame->command <= EQ_COMMAND_REVERT;
  return slots && device->slot_commands != NULL ? device->slot_commands(device, frame) : EQ_LINK_UNKNOWN;
}
