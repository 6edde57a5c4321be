/* SPDX-License-Identifier: Apache-2.0
 * Maxima of int8 windows. */
#include "kernels/pool.h"

EQ_POOL_KERNEL(eq_max_pool_s8_scalar, int8_t, INT8_MIN, eq_max32, eq_pool_max)
