/* SPDX-License-Identifier: Apache-2.0
 * Means of int8 windows. */
#if defined(__ARM_ARCH_7M__)
#include "kernels/pool.h"

EQ_POOL_KERNEL_BY_FOUR(eq_average_pool_s8_thumb2, int8_t, 0, eq_pool_sum, eq_pool_mean)
#endif
