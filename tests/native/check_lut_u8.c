/* SPDX-License-Identifier: Apache-2.0
 * lut_u8 against the scalar kernel.
 *
 * A case reaches the full tile with 64 elements. It has a tail when the elements are no multiple of 16. */
#include "harness.h"

static void run(harness *h) {
  const int32_t n = chance(h, 3) ? 0 : draw_size(h, 1, 400);
  const size_t bytes = (size_t)n;
  covers(h, n >= 64, n % 16 != 0);
  uint8_t *table = buffer(h, 256, 1), *in = buffer(h, bytes, 1);
  fill(h, table, 256);
  fill(h, in, bytes);
  const bool over = chance(h, 30);
  uint8_t *expected = buffer(h, bytes, 1), *found = over ? in : buffer(h, bytes, 1);
  h->scalar->lut_u8(expected, in, table, n);
  h->table->lut_u8(found, in, table, n);
  same(h, found, expected, bytes, "%d elements, output %s", n, over ? "over the input" : "apart");
}

static void bench(harness *h) {
  enum { N = 4096 };
  h->buffers = 0;
  uint8_t *table = buffer(h, 256, 1), *in = buffer(h, N, 16), *out = buffer(h, N, 16);
  fill(h, table, 256);
  fill(h, in, N);
  BENCH(h, "4096", N) h->table->lut_u8(out, in, table, N);
}

const kernel_check check_lut_u8 = {run, bench};
