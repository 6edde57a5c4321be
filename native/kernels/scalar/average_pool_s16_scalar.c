/* SPDX-License-Identifier: Apache-2.0
 * Means of int16 windows. */
#include "kernels/pool.h"

EQ_POOL_KERNEL(eq_average_pool_s16_scalar, int16_t, 0, eq_pool_sum, eq_pool_mean)
