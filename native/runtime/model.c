/* SPDX-License-Identifier: Apache-2.0
 * Open a model: check every offset, id, size and bound once, so that nothing has to be checked while it runs. */
#include "edgeq/edgeq.h"
#include "runtime/steps.h"

_Static_assert((-1 >> 1) == -1, "edgeq needs an arithmetic right shift");

/* Pairs of operands and steps compared while a file is opened; one that needs more is refused, so that opening takes
 * bounded time. Real models need thousands. */
#define MAX_WORK (UINT32_C(1) << 24)

#define SMALLEST_SCALE UINT32_C(0x00800000) /* bits of the smallest normal float32 */
#define INFINITE_SCALE UINT32_C(0x7F800000)

typedef struct section {
  uint32_t offset;
  uint32_t size;
} section;

static eq_status check_header(const eq_header_record *h, size_t n_bytes) {
  if (h->magic != EQ_MAGIC) return EQ_ERR_MAGIC;
  if (h->major != EQ_FORMAT_MAJOR) return EQ_ERR_VERSION;
  if (h->file_bytes != n_bytes) return EQ_ERR_TRUNCATED;
  if (h->header_bytes < sizeof *h || h->header_bytes % 16 != 0) return EQ_ERR_HEADER;
  if (eq_crc32(0, h, offsetof(eq_header_record, header_crc)) != h->header_crc) return EQ_ERR_HEADER;
  if ((h->flags & ~(uint32_t)EQ_KNOWN_FLAGS) != 0 || h->kernel_abi != EQ_KERNEL_ABI) return EQ_ERR_VERSION;
  if (h->layout > EQ_MAX_LAYOUT) return EQ_ERR_LAYOUT;
  if (h->arena_bytes % 16 != 0 || h->arena_bytes >= EQ_LOCATION_CONSTANT) return EQ_ERR_HEADER;
  for (size_t i = 0; i < sizeof h->reserved / sizeof h->reserved[0]; i++) {
    if (h->reserved[i] != 0) return EQ_ERR_HEADER;
  }
  return EQ_OK;
}

/* Sections follow the header in order, aligned, without overlap, inside the file, with the sizes their counts ask for.
 * The first one begins inside the file, so the header ends there too. */
static eq_status check_sections(const eq_header_record *h) {
  const section found[] = {
      {h->locations_offset, h->locations_size}, {h->tensor_bytes_offset, h->tensor_bytes_size},
      {h->steps_offset, h->steps_size},         {h->operands_offset, h->operands_size},
      {h->ports_offset, h->ports_size},         {h->params_offset, h->params_size},
      {h->constants_offset, h->constants_size}, {h->metadata_offset, h->metadata_size},
      {h->golden_offset, h->golden_size},       {h->signature_offset, h->signature_size},
  };
  uint32_t end = h->header_bytes;
  for (size_t i = 0; i < sizeof found / sizeof found[0]; i++) {
    if (found[i].offset % 16 != 0 || found[i].offset < end || found[i].offset > h->file_bytes) return EQ_ERR_SECTION;
    if (found[i].size > h->file_bytes - found[i].offset) return EQ_ERR_SECTION;
    end = found[i].offset + found[i].size;
  }
  const uint64_t tensors = h->tensor_count, steps = h->step_count, operands = h->operand_count;
  const uint64_t ports = (uint64_t)h->input_count + h->output_count;
  if (h->locations_size != tensors * sizeof(eq_location)) return EQ_ERR_SECTION;
  if (h->tensor_bytes_size != tensors * sizeof(uint32_t)) return EQ_ERR_SECTION;
  if (h->steps_size != steps * sizeof(eq_step_record)) return EQ_ERR_SECTION;
  if (h->operands_size != operands * sizeof(uint16_t)) return EQ_ERR_SECTION;
  if (h->ports_size != ports * sizeof(eq_port_record)) return EQ_ERR_SECTION;
  return EQ_OK;
}

/* Take n from what is left of the work; false when there is not as much. */
static bool spend(uint32_t *work, uint64_t n) {
  if (n > *work) return false;
  *work -= (uint32_t)n;
  return true;
}

static bool is_constant(const eq_model *m, uint32_t tensor) {
  return (m->locations[tensor] & EQ_LOCATION_CONSTANT) != 0;
}

static eq_status check_tensors(const eq_model *m) {
  for (uint32_t i = 0; i < m->header->tensor_count; i++) {
    const uint32_t limit = is_constant(m, i) ? m->header->constants_size : m->header->arena_bytes;
    const uint32_t offset = m->locations[i] & ~EQ_LOCATION_CONSTANT;
    if (offset % 16 != 0 || offset > limit) return EQ_ERR_TENSOR;
    if (m->tensor_bytes[i] == 0 || m->tensor_bytes[i] > limit - offset) return EQ_ERR_TENSOR;
  }
  return EQ_OK;
}

static uint32_t dtype_bytes(uint32_t dtype) {
  switch (dtype) {
    case EQ_DTYPE_S8:
    case EQ_DTYPE_U8:
    case EQ_DTYPE_BOOL:
      return 1;
    case EQ_DTYPE_S16:
      return 2;
    case EQ_DTYPE_S32:
    case EQ_DTYPE_F32:
      return 4;
    case EQ_DTYPE_S64:
      return 8;
    default:
      return 0;
  }
}

static eq_status check_port(const eq_model *m, const eq_port_record *port) {
  if (port->tensor >= m->header->tensor_count || port->rank > EQ_MAX_RANK) return EQ_ERR_PORT;
  if (dtype_bytes(port->declared_dtype) == 0) return EQ_ERR_PORT;
  const uint64_t elements = eq_volume(port->dims, EQ_MAX_RANK); /* no tensor has 0 bytes, as an unknown dtype would */
  if (eq_scaled(elements, dtype_bytes(port->dtype)) != m->tensor_bytes[port->tensor]) return EQ_ERR_PORT;
  for (uint32_t d = port->rank; d < EQ_MAX_RANK; d++) {
    if (port->dims[d] != 1) return EQ_ERR_PORT;
  }
  if (port->scale_bits < SMALLEST_SCALE || port->scale_bits >= INFINITE_SCALE) return EQ_ERR_PORT;
  for (uint32_t i = 1; i < EQ_NAME_BYTES; i++) {
    if (port->name[i - 1] == 0 && port->name[i] != 0) return EQ_ERR_PORT;
  }
  if ((port->reserved[0] | port->reserved[1] | port->reserved[2]) != 0) return EQ_ERR_PORT;
  return EQ_OK;
}

static eq_status check_ports(const eq_model *m) {
  const uint32_t count = (uint32_t)m->header->input_count + m->header->output_count;
  for (uint32_t i = 0; i < count; i++) {
    const eq_status status = check_port(m, &m->ports[i]);
    if (status != EQ_OK) return status;
    if (i < m->header->input_count && is_constant(m, m->ports[i].tensor)) return EQ_ERR_PORT;
  }
  return EQ_OK;
}

/* True when two ranges share a byte; b, which may be scratch, ends below 2^31 and may be empty. */
static bool overlap(uint32_t a, uint32_t a_bytes, uint32_t b, uint32_t b_bytes) {
  return b_bytes != 0 && a < b + b_bytes && b < a + a_bytes;
}

/* True when tensor `t` shares a byte with `offset .. offset + bytes` of the arena. A constant's location, its top bit
 * set, lies above every arena. */
static bool tensor_overlaps(const eq_model *m, uint32_t t, uint32_t offset, uint32_t bytes) {
  return overlap(m->locations[t], m->tensor_bytes[t], offset, bytes);
}

/* True when output i of a step takes over the memory of input j, element for element. */
static bool works_in_place(const eq_model *m, const eq_step_record *s, uint32_t j, uint32_t i) {
  const uint16_t *operands = m->operands + s->first_operand;
  const uint32_t in = operands[j], out = operands[s->input_count + i];
  const bool may = i == 0 && j < 32 && (eq_step_kind_of(s->code)->in_place >> j & 1) != 0;
  return may && m->locations[in] == m->locations[out] && m->tensor_bytes[in] == m->tensor_bytes[out];
}

/* What output i of a checked step may do with the memory of input j, given where they lie. */
static eq_sharing sharing(const eq_model *m, const eq_step_record *s, uint32_t j, uint32_t i) {
  if (works_in_place(m, s, j, i)) return EQ_OVER;
  const uint16_t *operands = m->operands + s->first_operand;
  const int64_t ahead = (int64_t)m->locations[operands[j]] - m->locations[operands[s->input_count + i]];
  return eq_step_sharing(s->code, m->params + s->params_offset, m->constants, j, i, ahead);
}

/* A step's writes must miss each other, its scratch and its inputs, save where the kind of step lets an output and an
 * input share memory. */
static eq_status check_overlaps(const eq_model *m, const eq_step_record *s, uint32_t *work) {
  const uint16_t *inputs = m->operands + s->first_operand;
  const uint16_t *outputs = inputs + s->input_count;
  for (uint32_t i = 0; i < s->output_count; i++) {
    const uint32_t offset = m->locations[outputs[i]], bytes = m->tensor_bytes[outputs[i]];
    if (overlap(offset, bytes, s->scratch_offset, s->scratch_bytes)) return EQ_ERR_STEP;
    for (uint32_t j = 0; j < i; j++) {
      if (tensor_overlaps(m, outputs[j], offset, bytes)) return EQ_ERR_STEP;
    }
    for (uint32_t j = 0; j < s->input_count; j++) {
      if (!tensor_overlaps(m, inputs[j], offset, bytes)) continue;
      if (!spend(work, (uint64_t)i + j)) return EQ_ERR_STEP; /* which a rule may add up */
      if (sharing(m, s, j, i) == EQ_APART) return EQ_ERR_STEP;
      /* parts run in no order */
      if (s->parts > 1 && !works_in_place(m, s, j, i)) return EQ_ERR_STEP;
    }
  }
  for (uint32_t j = 0; j < s->input_count; j++) {
    if (tensor_overlaps(m, inputs[j], s->scratch_offset, s->scratch_bytes)) return EQ_ERR_STEP;
  }
  return EQ_OK;
}

/* Check one step by itself; its operands follow those of the step before, which end at `*operands`. */
static eq_status check_step(const eq_model *m, const eq_step_record *s, uint32_t *operands, uint32_t *work) {
  const eq_header_record *h = m->header;
  const eq_step_kind *kind = eq_step_kind_of(s->code);
  if (kind == NULL) return EQ_ERR_OP;
  const uint32_t count = (uint32_t)s->input_count + s->output_count;
  if (s->parts > (kind->divides ? EQ_MAX_PARTS : 0) || s->first_operand != *operands) return EQ_ERR_STEP;
  if (count > h->operand_count - s->first_operand) return EQ_ERR_STEP;
  *operands += count;
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t tensor = m->operands[s->first_operand + i];
    if (tensor >= h->tensor_count) return EQ_ERR_STEP;
    if (i >= s->input_count && is_constant(m, tensor)) return EQ_ERR_STEP;
  }
  if (s->params_offset % 4 != 0 || s->params_offset > h->params_size) return EQ_ERR_STEP;
  if (kind->params_bytes > h->params_size - s->params_offset) return EQ_ERR_STEP;
  if (s->scratch_offset % 16 != 0 || s->scratch_offset > h->arena_bytes) return EQ_ERR_STEP;
  if (s->scratch_bytes > h->arena_bytes - s->scratch_offset) return EQ_ERR_STEP;
  const eq_step_check seen = {
      .constants = m->constants,
      .constants_bytes = h->constants_size,
      .tensor_bytes = m->tensor_bytes,
      .operands = m->operands + s->first_operand,
      .n_inputs = s->input_count,
      .n_outputs = s->output_count,
      .scratch_bytes = eq_part_scratch(s),
      .layout = h->layout,
  };
  const eq_status status = kind->check(&seen, m->params + s->params_offset);
  if (status != EQ_OK) return status;
  if (!spend(work, (uint64_t)count * s->output_count)) return EQ_ERR_STEP;
  return check_overlaps(m, s, work);
}

static eq_status check_steps(const eq_model *m, uint32_t *work) {
  uint32_t operands = 0;
  for (uint32_t i = 0; i < m->header->step_count; i++) {
    const eq_status status = check_step(m, &m->steps[i], &operands, work);
    if (status != EQ_OK) return status;
  }
  return operands == m->header->operand_count ? EQ_OK : EQ_ERR_STEP;
}

/* True when the step changes memory that holds tensor `t`, or when there is no work left to find out. */
static bool clobbers(const eq_model *m, const eq_step_record *s, uint32_t t, uint32_t *work) {
  const uint16_t *outputs = m->operands + s->first_operand + s->input_count;
  if (tensor_overlaps(m, t, s->scratch_offset, s->scratch_bytes)) return true;
  for (uint32_t i = 0; i < s->output_count; i++) {
    if (!tensor_overlaps(m, t, m->locations[outputs[i]], m->tensor_bytes[outputs[i]])) continue;
    if (!spend(work, i)) return true;
    if (sharing(m, s, 0, i) != EQ_SAME) return true; /* every kind of step has an input */
  }
  return false;
}

/* Tensor `t`, needed by step `before` (or by the caller when that is the step count), must have been written by an
 * earlier step or be a model input, and nothing may have touched its memory since. */
static eq_status check_source(const eq_model *m, uint32_t t, uint32_t before, uint32_t *work) {
  if (is_constant(m, t)) return EQ_OK;
  for (uint32_t i = before; i-- > 0;) {
    const eq_step_record *s = &m->steps[i];
    if (!spend(work, 1 + (uint64_t)s->output_count)) return EQ_ERR_ORDER;
    const uint16_t *outputs = m->operands + s->first_operand + s->input_count;
    for (uint32_t j = 0; j < s->output_count; j++) {
      if (outputs[j] == t) return EQ_OK;
    }
    if (clobbers(m, s, t, work)) return EQ_ERR_ORDER;
  }
  if (!spend(work, m->header->input_count)) return EQ_ERR_ORDER;
  for (uint32_t i = 0; i < m->header->input_count; i++) {
    if (m->ports[i].tensor == t) return EQ_OK;
  }
  return EQ_ERR_ORDER;
}

static eq_status check_order(const eq_model *m, uint32_t *work) {
  for (uint32_t i = 0; i < m->header->input_count; i++) {
    if (!spend(work, i)) return EQ_ERR_ORDER;
    for (uint32_t j = 0; j < i; j++) {
      const uint32_t other = m->ports[j].tensor;
      if (tensor_overlaps(m, m->ports[i].tensor, m->locations[other], m->tensor_bytes[other])) return EQ_ERR_PORT;
    }
  }
  for (uint32_t i = 0; i < m->header->step_count; i++) {
    const eq_step_record *s = &m->steps[i];
    for (uint32_t j = 0; j < s->input_count; j++) {
      const eq_status status = check_source(m, m->operands[s->first_operand + j], i, work);
      if (status != EQ_OK) return status;
    }
  }
  for (uint32_t i = 0; i < m->header->output_count; i++) {
    const uint32_t tensor = m->ports[m->header->input_count + i].tensor;
    const eq_status status = check_source(m, tensor, m->header->step_count, work);
    if (status != EQ_OK) return status;
  }
  return EQ_OK;
}

eq_status eq_model_open(eq_model *model, const void *bytes, size_t n_bytes) {
  const uint8_t *file = bytes;
  if ((uintptr_t)file % 16 != 0) return EQ_ERR_ALIGNMENT;
  if (n_bytes < sizeof(eq_header_record)) return EQ_ERR_TRUNCATED;
  const eq_header_record *h = (const eq_header_record *)bytes;
  eq_status status = check_header(h, n_bytes);
  if (status == EQ_OK) status = check_sections(h);
  if (status != EQ_OK) return status;
  *model = (eq_model){
      .bytes = file,
      .header = h,
      .locations = (const eq_location *)(const void *)(file + h->locations_offset),
      .tensor_bytes = (const uint32_t *)(const void *)(file + h->tensor_bytes_offset),
      .steps = (const eq_step_record *)(const void *)(file + h->steps_offset),
      .operands = (const uint16_t *)(const void *)(file + h->operands_offset),
      .ports = (const eq_port_record *)(const void *)(file + h->ports_offset),
      .params = file + h->params_offset,
      .constants = file + h->constants_offset,
  };
  uint32_t work = MAX_WORK;
  status = check_tensors(model);
  if (status == EQ_OK) status = check_ports(model);
  if (status == EQ_OK) status = check_steps(model, &work);
  if (status == EQ_OK) status = check_order(model, &work);
  return status;
}

eq_status eq_model_check_payload(const eq_model *model) {
  const eq_header_record *h = model->header;
  const uint32_t crc = eq_crc32(0, model->bytes + h->header_bytes, h->file_bytes - h->header_bytes);
  return crc == h->payload_crc ? EQ_OK : EQ_ERR_PAYLOAD;
}

uint32_t eq_format_hash(void) { return EQ_FORMAT_HASH; }
