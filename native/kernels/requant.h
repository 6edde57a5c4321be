/* SPDX-License-Identifier: Apache-2.0
 * The last part of every kernel of linear layers. */
#ifndef EDGEQ_REQUANT_H
#define EDGEQ_REQUANT_H

#include "kernels/kernels.h"

/* out[i] = clamp(zero + requant(bias + sums[i])) with the constants of channel first + i, for i < n. */
void eq_requant_s8(int8_t *restrict out, const int32_t *restrict sums, int32_t first, int32_t n,
                   const eq_linear_s8 *linear);

#endif
