/* SPDX-License-Identifier: Apache-2.0
 * What the linear kernels of Thumb-1 share: codes of a tile's sums, and how their assembly begins and ends. */
#ifndef EDGEQ_REQUANT_THUMB_H
#define EDGEQ_REQUANT_THUMB_H

#include "kernels/kernels.h"

enum { EQ_TILE = 16 /* channels whose sums wait on the stack */ };

/* eq_requant_s8. */
void eq_requant_s8_thumb(int8_t *restrict out, const int32_t *restrict sums, int32_t first, int32_t n,
                         const eq_linear_s8 *linear);

/* A function whose body is assembly over all registers, with its one argument in r0 and at [sp]. */
#define EQ_THUMB_FUNCTION __attribute__((naked, noinline))
#define EQ_THUMB_BEGIN        \
  ".syntax unified\n\t"       \
  "push {r4-r7, lr}\n\t"      \
  "mov r4, r8\n\t"            \
  "mov r5, r9\n\t"            \
  "mov r6, r10\n\t"           \
  "mov r7, r11\n\t"           \
  "push {r0, r4-r7}\n\t"
/* r0 is what it returns. */
#define EQ_THUMB_END          \
  "pop {r3-r7}\n\t"           \
  "mov r8, r4\n\t"            \
  "mov r9, r5\n\t"            \
  "mov r10, r6\n\t"           \
  "mov r11, r7\n\t"           \
  "pop {r4-r7, pc}"

#endif
