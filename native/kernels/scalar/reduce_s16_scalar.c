/* SPDX-License-Identifier: Apache-2.0
 * Sums, maxima and minima of int16 codes. */
#include "kernels/reduce.h"

EQ_REDUCE_KERNEL(eq_reduce_s16_scalar, int16_t)
