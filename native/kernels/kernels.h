/* SPDX-License-Identifier: Apache-2.0
 * Every kernel's type and contract, and the table that dispatches to the fastest twin of each.
 * Pointers never alias unless the contract says so. Every twin is exact. */
#ifndef EDGEQ_KERNELS_H
#define EDGEQ_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* out[i] = table[in[i]] for i < n. out may be in. */
typedef void eq_lut_u8_fn(uint8_t *out, const uint8_t *in, const uint8_t table[256], int32_t n);

/* One member per kernel; kernels/<isa>/kernels.inc lists the members that an ISA speeds up. */
typedef struct eq_kernels {
  const char *isa;
  eq_lut_u8_fn *lut_u8;
} eq_kernels;

/* Choose the fastest table for this CPU once; EDGEQ_ISA is honoured by the port that has an environment. */
const eq_kernels *eq_kernels_select(const char *forced_isa);

#endif
