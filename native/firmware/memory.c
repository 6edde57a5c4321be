/* SPDX-License-Identifier: Apache-2.0
 * Copy and fill, where there is no libc; the compiler may call them by itself. */
#include "edgeq/memory.h"

#include <stdint.h>

enum { WORD = sizeof(uint32_t), BLOCK = 4 * WORD };

typedef uint32_t __attribute__((may_alias)) word;

void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
  uint8_t *out = to;
  const uint8_t *in = from;
  if (((uintptr_t)out | (uintptr_t)in) % WORD == 0) {
    for (; bytes >= BLOCK; bytes -= BLOCK) { /* compilers make no LDM and STM of loads and stores */
      __asm__ volatile("ldmia %1!, {r3, r4, r5, r6}\n stmia %0!, {r3, r4, r5, r6}"
                       : "+l"(out), "+l"(in)
                       :
                       : "r3", "r4", "r5", "r6", "memory");
    }
    for (; bytes >= WORD; bytes -= WORD, out += WORD, in += WORD) {
      *(word *)(void *)out = *(const word *)(const void *)in;
    }
  }
  for (; bytes != 0; bytes--) *out++ = *in++;
  return to;
}

void *memset(void *to, int value, size_t bytes) {
  uint8_t *out = to;
  const uint32_t four = (uint8_t)value * UINT32_C(0x01010101);
  for (; bytes != 0 && (uintptr_t)out % WORD != 0; bytes--) *out++ = (uint8_t)four;
  for (; bytes >= BLOCK; bytes -= BLOCK, out += BLOCK) {
    word *const target = (word *)(void *)out;
    target[0] = four;
    target[1] = four;
    target[2] = four;
    target[3] = four;
  }
  for (; bytes != 0; bytes--) *out++ = (uint8_t)four;
  return to;
}
