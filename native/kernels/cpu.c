/* SPDX-License-Identifier: Apache-2.0
 * Ask the CPU itself what it can do. */
#include "kernels/cpu.h"

#if defined(__aarch64__)

/* The identification registers may be read from user space: Linux 4.11 and later answer for the kernel. Fields are those
 * of the Arm Architecture Reference Manual, ID_AA64ISAR0_EL1.DP and ID_AA64ISAR1_EL1.I8MM. */
uint32_t eq_cpu_features(void) {
  uint64_t isar0, isar1;
  __asm__("mrs %0, S3_0_C0_C6_0" : "=r"(isar0));
  __asm__("mrs %0, S3_0_C0_C6_1" : "=r"(isar1));
  uint32_t features = 0;
  if ((isar0 >> 44 & 15) != 0) features |= EQ_CPU_DOTPROD;
  if ((isar1 >> 52 & 15) != 0) features |= EQ_CPU_I8MM;
  return features;
}

#elif defined(__x86_64__)

typedef struct cpuid_words {
  uint32_t a, b, c, d;
} cpuid_words;

static cpuid_words cpuid(uint32_t leaf) {
  cpuid_words w;
  __asm__ volatile("cpuid" : "=a"(w.a), "=b"(w.b), "=c"(w.c), "=d"(w.d) : "a"(leaf), "c"(0));
  return w;
}

/* Which register states the operating system saves: XCR0. */
static uint32_t saved_states(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

uint32_t eq_cpu_features(void) {
  const uint32_t ymm = 0x6, zmm = 0xE6;                                     /* bits of XCR0 */
  const uint32_t avx512 = 1u << 16 | 1u << 17 | 1u << 30 | UINT32_C(1) << 31; /* F, DQ, BW, VL in leaf 7's EBX */
  if (cpuid(0).a < 7 || (cpuid(1).c & 1u << 27) == 0) return 0;             /* OSXSAVE */
  const uint32_t states = saved_states();
  const cpuid_words seven = cpuid(7);
  uint32_t features = 0;
  if ((states & ymm) == ymm && (seven.b & 1u << 5) != 0) features |= EQ_CPU_AVX2;
  if (features != 0 && (states & zmm) == zmm && (seven.b & avx512) == avx512 && (seven.c & 1u << 11) != 0) {
    features |= EQ_CPU_VNNI;
  }
  return features;
}

#else

uint32_t eq_cpu_features(void) { return 0; }

#endif
