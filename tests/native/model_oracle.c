/* SPDX-License-Identifier: Apache-2.0
 * The slow second opinion: offsets as FORMAT.md lists them, ownership of bytes in maps, no code of the runtime. */
#include "model_oracle.h"

#include <stdlib.h>
#include <string.h>

#include "edgeq/ops.h"

enum { HEADER_BYTES = 176, STEP_BYTES = 24, PORT_BYTES = 72, MAX_MAP = 1 << 16, MAX_PAIRS = 1 << 22 };
enum { LOCATIONS, SIZES, STEPS, OPERANDS, PORTS, PARAMS, CONSTANTS, SECTIONS = 10 };

typedef struct view {
  const uint8_t *file;
  uint64_t n_bytes;
  uint64_t start[SECTIONS];
  uint64_t bytes[SECTIONS];
  uint64_t tensors, steps, operands, inputs, outputs, arena;
} view;

static uint32_t u8_at(const view *v, uint64_t at) { return v->file[at]; }
static uint32_t u16_at(const view *v, uint64_t at) { return u8_at(v, at) | u8_at(v, at + 1) << 8; }
static uint32_t u32_at(const view *v, uint64_t at) { return u16_at(v, at) | u16_at(v, at + 2) << 16; }

/* CRC-32 of zlib, bit by bit. */
static uint32_t crc32_of(const uint8_t *bytes, size_t n) {
  uint32_t crc = 0xFFFFFFFFu;
  for (size_t i = 0; i < n; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = (crc & 1) != 0 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
  }
  return ~crc;
}

static bool header_holds(view *v) {
  if (v->n_bytes < HEADER_BYTES || memcmp(v->file, "EQM1", 4) != 0 || u16_at(v, 4) != 1) return false;
  const uint64_t header_bytes = u32_at(v, 8);
  if (header_bytes < HEADER_BYTES || header_bytes % 16 != 0 || header_bytes > v->n_bytes) return false;
  if (u32_at(v, 12) != v->n_bytes || u32_at(v, 16) > 1 || u32_at(v, 20) != 1 || u32_at(v, 24) != 0) return false;
  v->arena = u32_at(v, 32);
  if (v->arena % 16 != 0 || v->arena > 0x7FFFFFFF) return false;
  for (uint64_t at = 144; at < 168; at++) {
    if (u8_at(v, at) != 0) return false;
  }
  return crc32_of(v->file, 172) == u32_at(v, 172);
}

static bool sections_hold(view *v) {
  v->tensors = u32_at(v, 48);
  v->steps = u32_at(v, 52);
  v->operands = u32_at(v, 56);
  v->inputs = u16_at(v, 60);
  v->outputs = u16_at(v, 62);
  uint8_t *owned = calloc(v->n_bytes, 1);
  bool fine = true;
  uint64_t previous = u32_at(v, 8);
  memset(owned, 1, previous);
  for (uint64_t i = 0; i < SECTIONS && fine; i++) {
    v->start[i] = u32_at(v, 64 + 8 * i);
    v->bytes[i] = u32_at(v, 68 + 8 * i);
    fine = v->start[i] % 16 == 0 && v->start[i] >= previous && v->start[i] + v->bytes[i] <= v->n_bytes;
    for (uint64_t at = v->start[i]; fine && at < v->start[i] + v->bytes[i]; at++) {
      fine = owned[at] == 0;
      owned[at] = 1;
    }
    previous = v->start[i] + v->bytes[i];
  }
  free(owned);
  return fine && v->bytes[LOCATIONS] == 4 * v->tensors &&
         v->bytes[SIZES] == 4 * v->tensors && v->bytes[STEPS] == STEP_BYTES * v->steps &&
         v->bytes[OPERANDS] == 2 * v->operands && v->bytes[PORTS] == PORT_BYTES * (v->inputs + v->outputs);
}

static uint64_t location(const view *v, uint64_t tensor) { return u32_at(v, v->start[LOCATIONS] + 4 * tensor); }
static uint64_t size_of(const view *v, uint64_t tensor) { return u32_at(v, v->start[SIZES] + 4 * tensor); }
static bool in_arena(const view *v, uint64_t tensor) { return location(v, tensor) < 0x80000000u; }
static uint64_t operand(const view *v, uint64_t i) { return u16_at(v, v->start[OPERANDS] + 2 * i); }
static uint64_t port_tensor(const view *v, uint64_t i) { return u16_at(v, v->start[PORTS] + PORT_BYTES * i); }

static bool tensors_hold(const view *v) {
  for (uint64_t i = 0; i < v->tensors; i++) {
    const uint64_t offset = location(v, i) & 0x7FFFFFFF;
    const uint64_t room = in_arena(v, i) ? v->arena : v->bytes[CONSTANTS];
    if (offset % 16 != 0 || size_of(v, i) == 0 || offset + size_of(v, i) > room) return false;
  }
  return true;
}

static bool port_holds(const view *v, uint64_t i) {
  static const uint8_t element_bytes[8] = {0, 1, 1, 2, 4, 8, 4, 1};
  const uint64_t at = v->start[PORTS] + PORT_BYTES * i;
  const uint64_t tensor = u16_at(v, at);
  const uint32_t dtype = u8_at(v, at + 2), declared = u8_at(v, at + 3), rank = u8_at(v, at + 4);
  if (tensor >= v->tensors || (i < v->inputs && !in_arena(v, tensor))) return false;
  if (dtype < 1 || dtype > 7 || declared < 1 || declared > 7 || rank > 6) return false;
  if (u8_at(v, at + 5) != 0 || u8_at(v, at + 6) != 0 || u8_at(v, at + 7) != 0) return false;
  uint64_t expected = element_bytes[dtype];
  for (uint32_t d = 0; d < 6; d++) {
    const uint64_t size = u32_at(v, at + 8 + 4 * d);
    if (size < 1 || size > 0x7FFFFFFF || (d >= rank && size != 1)) return false;
    expected = expected * size > UINT64_C(1) << 40 ? UINT64_C(1) << 40 : expected * size;
  }
  const uint32_t exponent = u32_at(v, at + 32) >> 23; /* with the sign on top */
  if (exponent < 1 || exponent > 254) return false;
  bool ended = false;
  for (uint64_t c = at + 40; c < at + 72; c++) {
    if (ended && v->file[c] != 0) return false;
    ended = ended || v->file[c] == 0;
  }
  return expected == size_of(v, tensor);
}

static bool kind_agrees(const eq_step_check *s, uint32_t code, const uint8_t *params, uint64_t room,
                        uint32_t *in_place) {
  switch (code) {
#define EQ_STEP(number, name, mask) \
  case number:                      \
    *in_place = mask;               \
    return room >= sizeof(eq_##name##_params) && eq_check_##name(s, (const void *)params) == EQ_OK;
    EQ_STEPS(EQ_STEP)
#undef EQ_STEP
    default:
      return false;
  }
}

/* Who holds each byte of the arena while the program runs: a tensor's number, or nobody. */
typedef struct arena_map {
  int32_t *owner;
  uint8_t *written; /* by the step at hand: 1 scratch, 2 + i output i */
  uint8_t *arrived; /* of each tensor: an input, or written by a step */
  uint64_t bytes;   /* where the highest buffer ends */
} arena_map;

static bool readable(const view *v, const arena_map *map, uint64_t tensor) {
  if (!in_arena(v, tensor)) return true;
  for (uint64_t b = location(v, tensor); b < location(v, tensor) + size_of(v, tensor); b++) {
    if (map->owner[b] != (int32_t)tensor) return false;
  }
  return map->arrived[tensor] != 0;
}

static void give(const view *v, arena_map *map, uint64_t tensor) {
  for (uint64_t b = location(v, tensor); b < location(v, tensor) + size_of(v, tensor); b++) {
    map->owner[b] = (int32_t)tensor;
  }
  map->arrived[tensor] = 1;
}

/* True when the step reads what is there and writes without touching what it must not. */
static bool memory_holds(const view *v, arena_map *map, uint64_t first, uint64_t inputs, uint64_t outputs,
                         uint64_t scratch, uint64_t scratch_bytes, uint32_t in_place) {
  for (uint64_t j = 0; j < inputs; j++) {
    if (!readable(v, map, operand(v, first + j))) return false;
  }
  memset(map->written, 0, map->bytes);
  memset(map->written + scratch, 1, scratch_bytes);
  for (uint64_t i = 0; i < outputs; i++) {
    const uint64_t tensor = operand(v, first + inputs + i);
    for (uint64_t b = location(v, tensor); b < location(v, tensor) + size_of(v, tensor); b++) {
      if (map->written[b] != 0) return false;
      map->written[b] = i == 0 ? 2 : 3;
    }
  }
  for (uint64_t j = 0; j < inputs; j++) {
    const uint64_t tensor = operand(v, first + j);
    const uint64_t target = outputs > 0 ? operand(v, first + inputs) : 0;
    if (!in_arena(v, tensor)) continue;
    const bool may_share = j < 32 && (in_place >> j & 1) != 0 && outputs > 0 &&
                           location(v, tensor) == location(v, target) && size_of(v, tensor) == size_of(v, target);
    for (uint64_t b = location(v, tensor); b < location(v, tensor) + size_of(v, tensor); b++) {
      if (map->written[b] == 1 || map->written[b] == 3 || (map->written[b] == 2 && !may_share)) return false;
    }
  }
  for (uint64_t b = scratch; b < scratch + scratch_bytes; b++) map->owner[b] = -1;
  for (uint64_t i = 0; i < outputs; i++) give(v, map, operand(v, first + inputs + i));
  return true;
}

static bool step_holds(const view *v, arena_map *map, uint64_t i, uint64_t *next_operand) {
  const uint64_t at = v->start[STEPS] + STEP_BYTES * i;
  const uint64_t inputs = u16_at(v, at + 2), outputs = u16_at(v, at + 4), first = u32_at(v, at + 8);
  const uint64_t params = u32_at(v, at + 12), scratch = u32_at(v, at + 16), scratch_bytes = u32_at(v, at + 20);
  if (u16_at(v, at + 6) != 0 || first != *next_operand || first + inputs + outputs > v->operands) return false;
  *next_operand += inputs + outputs;
  for (uint64_t j = 0; j < inputs + outputs; j++) {
    const uint64_t tensor = operand(v, first + j);
    if (tensor >= v->tensors || (j >= inputs && !in_arena(v, tensor))) return false;
  }
  if (params % 4 != 0 || params > v->bytes[PARAMS]) return false;
  if (scratch % 16 != 0 || scratch + scratch_bytes > v->arena) return false;
  const eq_step_check s = {
      .constants = v->file + v->start[CONSTANTS],
      .constants_bytes = (uint32_t)v->bytes[CONSTANTS],
      .tensor_bytes = (const uint32_t *)(const void *)(v->file + v->start[SIZES]),
      .operands = (const uint16_t *)(const void *)(v->file + v->start[OPERANDS]) + first,
      .n_inputs = (uint32_t)inputs,
      .n_outputs = (uint32_t)outputs,
      .scratch_bytes = (uint32_t)scratch_bytes,
  };
  uint32_t in_place = 0;
  if (!kind_agrees(&s, u16_at(v, at), v->file + v->start[PARAMS] + params, v->bytes[PARAMS] - params, &in_place))
    return false;
  return memory_holds(v, map, first, inputs, outputs, scratch_bytes > 0 ? scratch : 0, scratch_bytes, in_place);
}

static bool program_holds(const view *v, arena_map *map) {
  for (uint64_t b = 0; b < map->bytes; b++) map->owner[b] = -1;
  for (uint64_t i = 0; i < v->inputs; i++) {
    const uint64_t tensor = port_tensor(v, i);
    for (uint64_t b = location(v, tensor); b < location(v, tensor) + size_of(v, tensor); b++) {
      if (map->owner[b] != -1) return false;
    }
    give(v, map, tensor);
  }
  uint64_t next_operand = 0;
  for (uint64_t i = 0; i < v->steps; i++) {
    if (!step_holds(v, map, i, &next_operand)) return false;
  }
  for (uint64_t i = 0; i < v->outputs; i++) {
    if (!readable(v, map, port_tensor(v, v->inputs + i))) return false;
  }
  return next_operand == v->operands;
}

/* Where the highest buffer of the arena ends; scratch outside the arena, which is refused later, does not count. */
static uint64_t highest_end(const view *v) {
  uint64_t highest = 0;
  for (uint64_t i = 0; i < v->tensors; i++) {
    const uint64_t end = location(v, i) + size_of(v, i);
    if (in_arena(v, i) && end > highest) highest = end;
  }
  for (uint64_t i = 0; i < v->steps; i++) {
    const uint64_t at = v->start[STEPS] + STEP_BYTES * i;
    const uint64_t end = (uint64_t)u32_at(v, at + 16) + u32_at(v, at + 20);
    if (end <= v->arena && end > highest) highest = end;
  }
  return highest;
}

bool oracle_sections_hold(const uint8_t *file, size_t n_bytes) {
  view v = {.file = file, .n_bytes = n_bytes};
  return header_holds(&v) && sections_hold(&v);
}

bool oracle_payload_matches(const uint8_t *file, size_t n_bytes) {
  const view v = {.file = file, .n_bytes = n_bytes};
  return crc32_of(file + u32_at(&v, 8), n_bytes - u32_at(&v, 8)) == u32_at(&v, 168);
}

verdict oracle_judges(const uint8_t *file, size_t n_bytes) {
  view v = {.file = file, .n_bytes = n_bytes};
  if (!header_holds(&v) || !sections_hold(&v) || !tensors_hold(&v)) return REFUSED;
  for (uint64_t i = 0; i < v.inputs + v.outputs; i++) {
    if (!port_holds(&v, i)) return REFUSED;
  }
  static arena_map map;
  map.bytes = highest_end(&v);
  const uint64_t pairs = (v.operands + v.outputs + v.inputs) * (v.steps + v.operands + v.inputs);
  if (map.bytes > MAX_MAP || pairs > MAX_PAIRS || v.tensors > 65536) return TOO_LARGE;
  if (map.owner == NULL) {
    map.owner = malloc(MAX_MAP * sizeof *map.owner);
    map.written = malloc(MAX_MAP);
    map.arrived = malloc(65536);
  }
  memset(map.arrived, 0, v.tensors);
  return program_holds(&v, &map) ? ACCEPTED : REFUSED;
}
