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

/* Copy 16 bytes by loads and stores in place, in a freestanding build, too. Compilers do not think of vector registers by
 * themselves where those are for integers. */
#if defined(__ARM_FEATURE_MVE)
typedef uint8_t __attribute__((vector_size(16), aligned(1), may_alias)) eq_bytes16;
static inline void eq_copy16(void *to, const void *from) { *(eq_bytes16 *)to = *(const eq_bytes16 *)from; }
#elif defined(__GNUC__)
static inline void eq_copy16(void *to, const void *from) { __builtin_memcpy(to, from, 16); }
#else
static inline void eq_copy16(void *to, const void *from) { memcpy(to, from, 16); }
#endif

/* Set every byte. */
static inline void eq_fill(void *to, uint8_t value, size_t bytes) { memset(to, value, bytes); }

#endif
