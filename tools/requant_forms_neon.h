/* SPDX-License-Identifier: Apache-2.0
 * aarch64 NEON: 16 outputs a turn. */
#include <arm_neon.h>

#define ENTRY

static void prepare_core(void) {}

static _Noreturn void leave(int32_t status) {
  register long number __asm__("x8") = 93;
  register long argument __asm__("x0") = status;
  for (;;) __asm__ volatile("svc 0" : "+r"(argument) : "r"(number) : "memory");
}

/* x + (bits >> 31): less one where bits are negative. */
static inline int32x4_t add_sign(int32x4_t x, int32x4_t bits) { return vsraq_n_s32(x, bits, 31); }

#include "requant_forms_lanes.h"

#define LOOP(name, form, wide)                                                       \
  LOOP_FUNCTION name(const request *r, int32_t n, bounds to) {                       \
    const request q = *r; /* which out cannot alias */                               \
    const int16x8_t zero = vdupq_n_s16((int16_t)to.zero);                            \
    const int8x16_t lo = vdupq_n_s8((int8_t)to.lo), hi = vdupq_n_s8((int8_t)to.hi);  \
    for (int32_t i = 0; i < n; i += 16) {                                            \
      int32x4_t y[4];                                                                \
      _Pragma("GCC unroll 4")                                                        \
      for (int32_t j = 0; j < 4; j++) {                                              \
        int32x4_t x = vld1q_s32(q.sums + i + 4 * j);                                 \
        if (wide) x = vshlq_s32(x, vld1q_s32(q.left + i + 4 * j));                   \
        y[j] = form(x, vld1q_s32(q.m + i + 4 * j), vld1q_s32(q.right + i + 4 * j));  \
      }                                                                              \
      const int16x8_t a = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(y[0]), y[1]), zero); \
      const int16x8_t b = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(y[2]), y[3]), zero); \
      const int8x16_t codes = vqmovn_high_s16(vqmovn_s16(a), b);                     \
      vst1q_s8(q.out + i, vminq_s8(vmaxq_s8(codes, lo), hi));                        \
    }                                                                                \
  }
