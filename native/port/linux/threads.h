/* SPDX-License-Identifier: Apache-2.0
 * A small persistent pool of threads for one runner at a time. */
#ifndef EDGEQ_LINUX_THREADS_H
#define EDGEQ_LINUX_THREADS_H

#include "edgeq/edgeq.h"

typedef struct eq_pool eq_pool;

/* Start a pool of `count` threads, 1 to EQ_MAX_PARTS, the caller's included. NULL when memory or threads run out. */
eq_pool *eq_pool_start(uint32_t count);

/* What a runner takes; valid until the pool stops. */
const eq_threads *eq_pool_threads(const eq_pool *pool);

/* Nanoseconds of CPU time that thread i of the pool has used; thread 0 is the caller's. */
uint64_t eq_pool_cpu_ns(const eq_pool *pool, uint32_t i);

/* End the threads and free the pool; NULL is fine. */
void eq_pool_stop(eq_pool *pool);

#endif
