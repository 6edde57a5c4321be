/* SPDX-License-Identifier: Apache-2.0
 * Copy and fill, without a libc header. */
#ifndef EDGEQ_MEMORY_H
#define EDGEQ_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Supplied by libc, or by the port where there is none; the compiler may call them by itself. */
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memset(void *to, int value, size_t bytes);

/* Copy between buffers that do not overlap. */
static inline void eq_copy(void *restrict to, const void *restrict from, size_t bytes) { memcpy(to, from, bytes); }

/* Set every byte. */
static inline void eq_fill(void *to, uint8_t value, size_t bytes) { memset(to, value, bytes); }

#endif
