/* SPDX-License-Identifier: Apache-2.0
 * What a check_<kernel>.c is made of: random cases against the scalar kernel, and fixed shapes to bench.
 *
 * A check draws a case from the harness's generator, lays its operands in guarded memory, runs the table's kernel and the
 * scalar one, and compares. It may hold at most HARNESS_BUFFERS buffers. Nothing outlives the case. */
#ifndef EDGEQ_HARNESS_H
#define EDGEQ_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

enum {
  HARNESS_BUFFERS = 16,
  HARNESS_BYTES = 1 << 20, /* the most that one buffer holds */
};

/* One kernel's case, or its bench; the fields are the harness's own but for the tables. */
typedef struct harness {
  const eq_kernels *table;  /* under test */
  const eq_kernels *scalar; /* the definition */
  const char *kernel;
  uint64_t state;
  uint64_t seed;
  int32_t buffers;
  bool is_bench;
  bool is_full;
  bool has_tail;
} harness;

/* What check_<kernel>.c defines under the name check_<kernel>. */
typedef struct kernel_check {
  void (*run)(harness *h);
  void (*bench)(harness *h);
  bool defines; /* run compares with a definition of its own, so that the scalar kernel is checked, too */
} kernel_check;

/* A number from low to high, each as likely. */
int32_t draw(harness *h, int32_t low, int32_t high);

/* True in `percent` of cases. */
bool chance(harness *h, int32_t percent);

/* A size from low to high, more often a small one. */
int32_t draw_size(harness *h, int32_t low, int32_t high);

/* A guarded buffer. Half of the buffers (on a bare core half of one a case) end where memory ends, so that reading beyond
 * them is a fault, the others begin at any address; `alignment`, a power of two up to 64, holds for both, and then bytes is a multiple of it. In a bench all are
 * aligned to 64 bytes. */
void *buffer(harness *h, size_t bytes, size_t alignment);

/* Fill with random bytes: mostly all values alike, at times only the smallest and largest int8, small ones or one value. */
void fill(harness *h, void *to, size_t bytes);

/* The bias, multipliers and shifts of n channels whose sums are about `reach`, with a zero point, bounds and a mode: mostly
 * such that all codes appear, at times with shifts to the left, exact ties, or any legal number. */
eq_linear_s8 draw_linear(harness *h, int32_t n, int32_t reach);

/* One multiplier and shift in the same spirit, the shift within low .. high. */
void draw_multiplier(harness *h, int32_t reach, int32_t low, int32_t high, int32_t *multiplier, int32_t *shift);

/* One of the rounding modes of int8 kernels. */
int32_t draw_mode(harness *h);

/* Say that the case reaches a whole vector tile, or has a tail; what that means stands in each check. */
void covers(harness *h, bool full, bool tail);

/* Fail the case unless both are equal; names the first difference. `what` describes the case's sizes, as printf does. */
__attribute__((format(printf, 5, 6))) void same(harness *h, const void *found, const void *expected, size_t bytes,
                                                const char *what, ...);

/* Loop head around one call of a kernel: counts it once between markers, or times it often. `work` is the operations
 * (multiply-accumulates where the kernel has them) of a call. */
#define BENCH(h, shape, work) for (bool more = bench_begin(h, shape, work); more; more = bench_again(h))
bool bench_begin(harness *h, const char *shape, int64_t work);
bool bench_again(harness *h);

#endif
