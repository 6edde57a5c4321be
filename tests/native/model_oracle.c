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
  if (u32_at(v, 12) != v->n_bytes || u32_at(v, 16) > 1 || u32_at(v, 20) != 1 || u32_at(v, 24) > 5) return false;
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
                        uint32_t *in_place, bool *divides) {
  switch (code) {
#define EQ_STEP(number, name, mask, may_divide) \
  case number:                                  \
    *in_place = mask;                           \
    *divides = may_divide;                      \
    return room >= sizeof(eq_##name##_params) && eq_check_##name(s, (const void *)params) == EQ_OK;
    EQ_STEPS(EQ_STEP)
#undef EQ_STEP
    default:
      return false;
  }
}

/* A step that was found legal by itself. */
typedef struct program_step {
  uint32_t code;
  uint32_t in_place;
  uint64_t parts;
  const void *params;
  uint64_t first, inputs, outputs;
  uint64_t scratch, scratch_bytes;
} program_step;

enum { NOTHING, WRITES_OVER, IS_THE_SAME };

/* Row by row: with the output at 0 and the input `ahead` bytes above, no output row reaches what it or a later one reads.
 * Sizes are those of one image: (rows, bytes of a row). */
static bool rows_follow(int64_t images, const int64_t in[2], const int64_t out[2], int64_t stride, int64_t before,
                        int64_t ahead) {
  for (int64_t image = 0; image < images; image++) {
    for (int64_t y = 0; y < out[0]; y++) {
      int64_t top = y * stride - before;
      if (top < 0) top = 0;
      if (top > in[0]) top = in[0];
      if ((image * out[0] + y + 1) * out[1] > ahead + (image * in[0] + top) * in[1]) return false;
    }
  }
  return true;
}

static bool convolution_follows(const int32_t *in, const int32_t *out, int32_t stride, int32_t before, int64_t ahead) {
  const int64_t source[2] = {in[1], (int64_t)in[2] * in[3]}, target[2] = {out[1], (int64_t)out[2] * out[3]};
  return rows_follow(in[0], source, target, stride, before, ahead);
}

/* The sizes of a convolution, int8 or coded, whose outputs may follow its input. */
typedef struct layer {
  const int32_t *input, *output, *kernel, *stride, *padding;
  int32_t groups;
} layer;

#define LAYER(p) &(layer){(p)->input, (p)->output, (p)->kernel, (p)->stride, (p)->padding, (p)->groups}

/* Pixel by pixel: the 16 output pixels from each one on stay below what it reads. */
static bool pixels_follow(const layer *p, int64_t ahead) {
  const int64_t pixels = (int64_t)p->output[0] * p->output[1] * p->output[2];
  int64_t i = 0;
  for (int64_t n = 0; n < p->output[0]; n++) {
    for (int64_t y = 0; y < p->output[1]; y++) {
      for (int64_t x = 0; x < p->output[2]; x++, i++) {
        const int64_t written = (i + 16 < pixels ? i + 16 : pixels) * p->output[3];
        const int64_t line = n * p->input[1] + y * p->stride[0];
        if (written > ahead + (line * p->input[2] + x * p->stride[1]) * p->input[3]) return false;
      }
    }
  }
  return true;
}

static bool layer_follows(const layer *p, int64_t ahead) {
  if (p->groups != 1) return false;
  bool pointwise = true;
  for (int axis = 0; axis < 2; axis++) {
    const int64_t last = (int64_t)(p->output[1 + axis] - 1) * p->stride[axis];
    pointwise = pointwise && p->kernel[axis] == 1 && p->padding[axis] == 0 && last < p->input[1 + axis];
  }
  if (pointwise) return pixels_follow(p, ahead);
  return convolution_follows(p->input, p->output, p->stride[0], p->padding[0], ahead);
}

/* Where piece number `i` begins in what `inner_bytes` joins. */
static int64_t place_of(const view *v, eq_span inner_bytes, uint64_t i) {
  int64_t place = 0;
  for (uint64_t j = 0; j < i; j++) place += (int32_t)u32_at(v, v->start[CONSTANTS] + inner_bytes.offset + 4 * j);
  return place;
}

/* True when output i has the memory of input j for its own, byte for byte. */
static bool takes_over(const view *v, const program_step *s, uint64_t j, uint64_t i) {
  const uint64_t in = operand(v, s->first + j), out = operand(v, s->first + s->inputs + i);
  return j < 32 && (s->in_place >> j & 1) != 0 && i == 0 && location(v, in) == location(v, out) &&
         size_of(v, in) == size_of(v, out);
}

/* What output i may do with the memory of input j, which lies `ahead` bytes above it. */
static int verdict_on_sharing(const view *v, const program_step *s, uint64_t j, uint64_t i) {
  const uint64_t in = operand(v, s->first + j), out = operand(v, s->first + s->inputs + i);
  const int64_t ahead = (int64_t)location(v, in) - (int64_t)location(v, out);
  if (takes_over(v, s, j, i)) return WRITES_OVER;
  if (s->parts > 1) return NOTHING; /* its parts run in any order */
  const eq_conv2d_params *conv = s->params;
  const eq_coded_conv2d_params *coded = s->params;
  if (s->code == 2) return layer_follows(LAYER(conv), ahead) ? WRITES_OVER : NOTHING;
  if (s->code == 50) return layer_follows(LAYER(coded), ahead) ? WRITES_OVER : NOTHING;
  if (s->code == 3) {
    const eq_depthwise_conv2d_params *p = s->params;
    return convolution_follows(p->input, p->output, p->stride[0], p->padding[0], ahead) ? WRITES_OVER : NOTHING;
  }
  if (s->code == 15) {
    const eq_pool_params *p = s->params;
    const int64_t pixel = (int64_t)p->channels * p->element_bytes;
    const int64_t source[2] = {p->size[0], p->size[1] * pixel}, target[2] = {p->output[0], p->output[1] * pixel};
    return rows_follow(p->batch, source, target, p->stride[0], p->before[0], ahead) ? WRITES_OVER : NOTHING;
  }
  if (s->code == 30) {
    const eq_copy_params *p = s->params;
    for (int d = 0; d < 6; d++) {
      if (p->sizes[d] != 1) return NOTHING;
    }
    return ahead + p->start == 0 ? IS_THE_SAME : WRITES_OVER;
  }
  if (s->code == 31) {
    const eq_concat_params *p = s->params;
    return p->outer == 1 && place_of(v, p->inner_bytes, j) == ahead ? WRITES_OVER : NOTHING;
  }
  if (s->code == 32) {
    const eq_split_params *p = s->params;
    return p->outer == 1 && place_of(v, p->inner_bytes, i) + ahead == 0 ? IS_THE_SAME : NOTHING;
  }
  return NOTHING;
}

/* What the arena holds while the program runs. */
typedef struct arena_map {
  uint8_t *written; /* by the step at hand: 1 scratch, 2 an output */
  uint8_t *intact;  /* of each tensor: it was written, or is an input, and no byte of it has changed since */
  uint64_t bytes;   /* where the highest buffer ends */
} arena_map;

static bool readable(const view *v, const arena_map *map, uint64_t tensor) {
  return !in_arena(v, tensor) || map->intact[tensor] != 0;
}

static bool touches(const view *v, uint64_t tensor, uint64_t offset, uint64_t bytes) {
  return bytes != 0 && in_arena(v, tensor) && location(v, tensor) < offset + bytes &&
         offset < location(v, tensor) + size_of(v, tensor);
}

/* Every tensor that the bytes are part of is lost. */
static void spoil(const view *v, arena_map *map, uint64_t offset, uint64_t bytes) {
  for (uint64_t t = 0; t < v->tensors; t++) {
    if (touches(v, t, offset, bytes)) map->intact[t] = 0;
  }
}

/* True when the step reads what is there and writes without touching what it must not. */
static bool memory_holds(const view *v, arena_map *map, const program_step *s) {
  for (uint64_t j = 0; j < s->inputs; j++) {
    if (!readable(v, map, operand(v, s->first + j))) return false;
  }
  memset(map->written, 0, map->bytes);
  memset(map->written + s->scratch, 1, s->scratch_bytes);
  for (uint64_t i = 0; i < s->outputs; i++) {
    const uint64_t tensor = operand(v, s->first + s->inputs + i);
    for (uint64_t b = location(v, tensor); b < location(v, tensor) + size_of(v, tensor); b++) {
      if (map->written[b] != 0) return false;
      map->written[b] = 2;
    }
  }
  for (uint64_t j = 0; j < s->inputs; j++) {
    const uint64_t tensor = operand(v, s->first + j);
    if (!in_arena(v, tensor)) continue;
    for (uint64_t b = location(v, tensor); b < location(v, tensor) + size_of(v, tensor); b++) {
      if (map->written[b] == 1) return false;
    }
    for (uint64_t i = 0; i < s->outputs; i++) {
      const uint64_t target = operand(v, s->first + s->inputs + i);
      if (!touches(v, tensor, location(v, target), size_of(v, target))) continue;
      if (verdict_on_sharing(v, s, j, i) == NOTHING) return false;
    }
  }
  spoil(v, map, s->scratch, s->scratch_bytes);
  for (uint64_t i = 0; i < s->outputs; i++) {
    const uint64_t tensor = operand(v, s->first + s->inputs + i);
    if (verdict_on_sharing(v, s, 0, i) != IS_THE_SAME) spoil(v, map, location(v, tensor), size_of(v, tensor));
  }
  for (uint64_t i = 0; i < s->outputs; i++) map->intact[operand(v, s->first + s->inputs + i)] = 1;
  return true;
}

static bool step_holds(const view *v, arena_map *map, uint64_t i, uint64_t *next_operand) {
  const uint64_t at = v->start[STEPS] + STEP_BYTES * i;
  const uint64_t inputs = u16_at(v, at + 2), outputs = u16_at(v, at + 4), first = u32_at(v, at + 8);
  const uint64_t params = u32_at(v, at + 12), scratch = u32_at(v, at + 16), scratch_bytes = u32_at(v, at + 20);
  const uint64_t parts = u16_at(v, at + 6);
  if (parts > 4 || first != *next_operand || first + inputs + outputs > v->operands) return false;
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
      .scratch_bytes = (uint32_t)(parts > 1 ? scratch_bytes / parts / 16 * 16 : scratch_bytes),
      .layout = u32_at(v, 24),
  };
  program_step step = {
      .code = u16_at(v, at), .params = v->file + v->start[PARAMS] + params, .first = first, .inputs = inputs,
      .outputs = outputs, .parts = parts, .scratch = scratch_bytes > 0 ? scratch : 0, .scratch_bytes = scratch_bytes,
  };
  bool divides = false;
  if (!kind_agrees(&s, step.code, step.params, v->bytes[PARAMS] - params, &step.in_place, &divides)) return false;
  if (parts > 0 && !divides) return false;
  return memory_holds(v, map, &step);
}

static bool program_holds(const view *v, arena_map *map) {
  for (uint64_t i = 0; i < v->inputs; i++) {
    const uint64_t tensor = port_tensor(v, i);
    for (uint64_t j = 0; j < i; j++) {
      if (touches(v, port_tensor(v, j), location(v, tensor), size_of(v, tensor))) return false;
    }
    map->intact[tensor] = 1;
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
  const uint64_t pairs = (v.operands + v.outputs + v.inputs + v.steps) * (v.steps + v.operands + v.inputs + v.tensors);
  if (map.bytes > MAX_MAP || pairs > MAX_PAIRS || v.tensors > 65536) return TOO_LARGE;
  if (map.written == NULL) {
    map.written = malloc(MAX_MAP);
    map.intact = malloc(65536);
  }
  memset(map.intact, 0, v.tensors);
  return program_holds(&v, &map) ? ACCEPTED : REFUSED;
}
