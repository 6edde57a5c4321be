/* SPDX-License-Identifier: Apache-2.0
 * What the harness needs of where it runs beyond the C library: environment_linux.c, or environment_bare.c for a core
 * without an operating system. */
#ifndef EDGEQ_ENVIRONMENT_H
#define EDGEQ_ENVIRONMENT_H

#include <stddef.h>
#include <stdint.h>

/* Memory for one buffer. Reading or writing at its end is a fault when it is guarded. */
typedef struct region {
  uint8_t *start;
  size_t bytes;
} region;

/* Make the regions and have faults call a function, with a number that says which. Returns 0, or -1 without memory. */
int environment_open(void (*on_fault)(int number));

/* The region of buffer i < HARNESS_BUFFERS in a case; where not all can be guarded, each is in some cases. */
region environment_region(int32_t i, uint64_t seed);

/* Nanoseconds of this process. */
uint64_t environment_now_ns(void);

/* Tell the instruction counter, native/port/qemu/count.c, that a number of steps is done. */
void environment_mark(uint32_t what);

/* End at once, without what exit() would do. */
_Noreturn void environment_end(int code);

#endif
