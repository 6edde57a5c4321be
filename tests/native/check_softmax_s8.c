/* SPDX-License-Identifier: Apache-2.0
 * softmax_s8 against the scalar kernel.
 *
 * A case reaches the full tile with rows of 16 codes. It has a tail when a row is no multiple of 16. */
#include "harness.h"

/* Exponentials that fall by a factor of 2^-step / 64, or any legal ones. */
static int32_t *draw_exponentials(harness *h) {
  int32_t *exps = buffer(h, 256 * sizeof(int32_t), sizeof(int32_t));
  const int32_t factor = draw(h, 0, 64);
  const bool any = chance(h, 20);
  exps[0] = INT32_MAX;
  for (int32_t i = 1; i < 256; i++) {
    exps[i] = any ? draw(h, 0, INT32_MAX) : (int32_t)((int64_t)exps[i - 1] * factor / 64);
  }
  return exps;
}

static void run(harness *h) {
  const int32_t depth = chance(h, 2) ? draw(h, 1000, 4095) : draw_size(h, 1, 200), rows = draw(h, 0, 4);
  const size_t bytes = (size_t)(rows * depth);
  covers(h, rows > 0 && depth >= 16, depth % 16 != 0);
  const int32_t *exps = draw_exponentials(h);
  int8_t *in = buffer(h, bytes, 1);
  fill(h, in, bytes);
  const bool over = chance(h, 30);
  int8_t *expected = buffer(h, bytes, 1), *found = over ? in : buffer(h, bytes, 1);
  h->scalar->softmax_s8(expected, in, exps, rows, depth);
  h->table->softmax_s8(found, in, exps, rows, depth);
  same(h, found, expected, bytes, "%d rows of %d, output %s", rows, depth, over ? "over the input" : "apart");
}

static void bench(harness *h) {
  enum { N = 1000 };
  h->buffers = 0;
  const int32_t *exps = draw_exponentials(h);
  int8_t *in = buffer(h, 1024, 16), *out = buffer(h, 1024, 16);
  fill(h, in, 1024);
  BENCH(h, "1000", N) h->table->softmax_s8(out, in, exps, 1, N);
}

const kernel_check check_softmax_s8 = {run, bench};
