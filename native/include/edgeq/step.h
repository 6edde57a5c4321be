/* SPDX-License-Identifier: Apache-2.0
 * What an operator sees of a step at run time, and what it may ask while a model is checked. */
#ifndef EDGEQ_STEP_H
#define EDGEQ_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edgeq/fixed_point.h"
#include "edgeq/status.h"

struct eq_kernels;

/* Bytes in the constants section, which starts 16-byte aligned. */
typedef struct eq_span {
  uint32_t offset;
  uint32_t bytes;
} eq_span;

/* Where a tensor lives: the top bit chooses the constants section, the rest is a byte offset in it or in the arena. */
typedef uint32_t eq_location;
#define EQ_LOCATION_CONSTANT UINT32_C(0x80000000)

/* Everything a step may touch. Operands are tensor ids: first the inputs, then the outputs. */
typedef struct eq_step_io {
  const uint8_t *constants;
  uint8_t *arena;
  const eq_location *locations; /* one per tensor */
  const uint16_t *operands;
  uint32_t n_inputs;
  uint32_t n_outputs;
  void *scratch; /* 16-byte aligned; at least as many bytes as the step's Python class asks for */
  uint32_t scratch_bytes;
  const struct eq_kernels *kernels;
  uint32_t layout; /* the order of weights, EQ_LAYOUT_... */
  uint32_t part;   /* which of `parts` equal shares of the step to run; parts is 0 or 1 for the whole step, and more only for */
  uint32_t parts;  /* kinds that divide, whose shares may run at the same time, each with scratch of its own */
} eq_step_io;

static inline const void *eq_in(const eq_step_io *io, uint32_t i) {
  const eq_location where = io->locations[io->operands[i]];
  return (where & EQ_LOCATION_CONSTANT) != 0 ? (const void *)(io->constants + (where & ~EQ_LOCATION_CONSTANT))
                                             : (const void *)(io->arena + where);
}

static inline void *eq_out(const eq_step_io *io, uint32_t i) {
  return io->arena + io->locations[io->operands[io->n_inputs + i]];
}

static inline const void *eq_constant(const eq_step_io *io, eq_span span) { return io->constants + span.offset; }

/* What an output may do with the memory of an input. */
typedef enum eq_sharing {
  EQ_APART, /* not share a byte of it */
  EQ_OVER,  /* lie over it there; what it covers of the input is gone when the step ends */
  EQ_SAME,  /* lie there as the part of input 0 that it is: the step changes no byte */
} eq_sharing;

/* Firmware made for one model has no threads. */
#if defined(EQ_FIXED_MODEL)
enum { EQ_DIVIDES = 0 };
#else
enum { EQ_DIVIDES = 1 };
#endif

/* The share of this part: items *from .. *to of `count`, in multiples of `granule` but for the last part's end. */
static inline void eq_share(const eq_step_io *io, int32_t count, int32_t granule, int32_t *from, int32_t *to) {
  if (!EQ_DIVIDES || io->parts <= 1) { /* three divisions less, which small steps feel */
    *from = 0;
    *to = count;
    return;
  }
  const int64_t granules = ((int64_t)count + granule - 1) / granule, parts = io->parts;
  const int64_t first = granules * io->part / parts * granule, end = granules * (io->part + 1) / parts * granule;
  *from = (int32_t)(first < count ? first : count);
  *to = (int32_t)(end < count ? end : count);
}

/* What eq_check_<name>() knows: the sizes of operands, scratch and constants. */
typedef struct eq_step_check {
  const uint8_t *constants;
  uint32_t constants_bytes;
  const uint32_t *tensor_bytes; /* one per tensor */
  const uint16_t *operands;
  uint32_t n_inputs;
  uint32_t n_outputs;
  uint32_t scratch_bytes;
  uint32_t layout; /* the order of weights, EQ_LAYOUT_... */
} eq_step_check;

/* Product of sizes, or UINT64_MAX when one is < 1 or the product passes 2^31. */
static inline uint64_t eq_volume(const int32_t *sizes, uint32_t n) {
  uint64_t product = 1;
  for (uint32_t i = 0; i < n; i++) {
    if (sizes[i] < 1) return UINT64_MAX;
    product *= (uint64_t)(uint32_t)sizes[i];
    if (product > UINT32_C(0x80000000)) return UINT64_MAX;
  }
  return product;
}

static inline uint64_t eq_volume2(int32_t a, int32_t b) {
  const int32_t sizes[2] = {a, b};
  return eq_volume(sizes, 2);
}

static inline uint64_t eq_volume4(int32_t a, int32_t b, int32_t c, int32_t d) {
  const int32_t sizes[4] = {a, b, c, d};
  return eq_volume(sizes, 4);
}

/* volume * bytes, keeping UINT64_MAX. */
static inline uint64_t eq_scaled(uint64_t volume, uint32_t bytes) {
  return volume == UINT64_MAX ? UINT64_MAX : volume * bytes;
}

static inline bool eq_within(int32_t x, int32_t lo, int32_t hi) { return x >= lo && x <= hi; }

/* True when the step has exactly these numbers of operands. */
static inline bool eq_has_operands(const eq_step_check *s, uint32_t inputs, uint32_t outputs) {
  return s->n_inputs == inputs && s->n_outputs == outputs;
}

static inline bool eq_input_is(const eq_step_check *s, uint32_t i, uint64_t bytes) {
  return s->tensor_bytes[s->operands[i]] == bytes;
}

static inline bool eq_output_is(const eq_step_check *s, uint32_t i, uint64_t bytes) {
  return s->tensor_bytes[s->operands[s->n_inputs + i]] == bytes;
}

/* True when the span has this size, lies in the constants section and is 16-byte aligned. */
static inline bool eq_span_is(const eq_step_check *s, eq_span span, uint64_t bytes) {
  return span.bytes == bytes && span.offset % 16 == 0 && span.offset <= s->constants_bytes &&
         span.bytes <= s->constants_bytes - span.offset;
}

/* True when every multiplier of the span is >= 0 and every shift within [-31, max_shift]; max_shift <= 30.
 * The spans must already be known to lie in the file. */
bool eq_multipliers_legal(const eq_step_check *s, eq_span multipliers, eq_span shifts, int32_t max_shift);

/* The same for one (m, shift) pair. */
static inline bool eq_multiplier_legal(int32_t m, int32_t shift, int32_t max_shift) {
  return m >= 0 && eq_within(shift, -31, max_shift);
}

/* True when every multiplier of the span is EQ_HALF; the span must already be known to lie in the file. */
bool eq_all_half(const eq_step_check *s, eq_span multipliers);

/* True for a mode that an int32 accumulator may have; that of shifts needs multipliers that are `all_half`. */
static inline bool eq_mode_legal(int32_t mode, bool all_half) {
  return eq_within(mode, EQ_MODE_DOUBLE, EQ_MODE_EXACT) || (mode == EQ_MODE_SHIFT && all_half);
}

#endif
