/* SPDX-License-Identifier: Apache-2.0
 * max_pool_s8 against the scalar kernel. */
#include "check_pool_s8.h"

static void call(const eq_kernels *table, int8_t *out, const int8_t *x, const eq_pool_window *window) {
  table->max_pool_s8(out, x, window);
}

static void run(harness *h) { run_pool(h, call); }
static void bench(harness *h) { bench_pool(h, call); }

const kernel_check check_max_pool_s8 = {run, bench};
