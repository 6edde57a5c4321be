/* SPDX-License-Identifier: Apache-2.0
 * Maxima of int16 windows. */
#include "kernels/pool.h"

EQ_POOL_KERNEL(eq_max_pool_s16_scalar, int16_t, INT16_MIN, eq_max32, eq_pool_max)
