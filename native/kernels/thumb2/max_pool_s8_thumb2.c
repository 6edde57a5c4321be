/* SPDX-License-Identifier: Apache-2.0
 * Maxima of int8 windows. */
#if defined(__ARM_ARCH_7M__)
#include "kernels/pool.h"

EQ_POOL_KERNEL_BY_FOUR(eq_max_pool_s8_thumb2, int8_t, INT8_MIN, eq_max32, eq_pool_max)
#endif
