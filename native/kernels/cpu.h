/* SPDX-License-Identifier: Apache-2.0
 * What the running CPU can do beyond what the build assumes, as one word. */
#ifndef EDGEQ_CPU_H
#define EDGEQ_CPU_H

#include <stdint.h>

enum {
  EQ_CPU_DOTPROD = 1 << 0, /* aarch64 SDOT */
  EQ_CPU_I8MM = 1 << 1,    /* aarch64 SMMLA */
  EQ_CPU_AVX2 = 1 << 2,
  EQ_CPU_VNNI = 1 << 3, /* AVX-512 F, BW, DQ, VL and VNNI, 512 bits wide */
};

/* The features of this CPU that its operating system lets programs use. */
uint32_t eq_cpu_features(void);

#endif
