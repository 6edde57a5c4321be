/* SPDX-License-Identifier: Apache-2.0
 * Sums, maxima and minima of int8 codes. */
#include "kernels/reduce.h"

EQ_REDUCE_KERNEL(eq_reduce_s8_scalar, int8_t)
