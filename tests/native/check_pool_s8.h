/* SPDX-License-Identifier: Apache-2.0
 * What the checks of both int8 pools share.
 *
 * A case reaches the full tile with 16 channels and two taps. It has a tail when the channels are no multiple of 16. */
#ifndef EDGEQ_CHECK_POOL_S8_H
#define EDGEQ_CHECK_POOL_S8_H

#include "harness.h"

typedef void pool_call(const eq_kernels *table, int8_t *out, const int8_t *x, const eq_pool_window *window);

static inline void run_pool(harness *h, pool_call *call) {
  const int32_t channels = chance(h, 50) ? 8 * draw(h, 1, 20) : draw_size(h, 1, 150);
  const bool large = chance(h, 3); /* many taps */
  const int32_t rows = large ? draw(h, 1, 255) : draw_size(h, 1, 9), columns = large ? draw(h, 1, 257) : draw_size(h, 1, 9);
  const int32_t used = large ? 1 + channels % 8 : channels;
  eq_pool_window window = {.rows = rows, .columns = columns, .channels = used, .act_min = draw(h, -128, 127),
                           .ties_up = chance(h, 50)};
  window.act_max = draw(h, window.act_min, 127);
  if (chance(h, 60)) window.act_min = -128, window.act_max = 127;
  window.x_row = (size_t)(columns * used) + (size_t)draw(h, 0, 40);
  covers(h, used >= 16 && rows * columns >= 2, used % 16 != 0);
  const size_t bytes = (size_t)(rows - 1) * window.x_row + (size_t)(columns * used);
  int8_t *x = buffer(h, bytes, 1);
  fill(h, x, bytes);
  int8_t *found = buffer(h, (size_t)used, 1), *expected = buffer(h, (size_t)used, 1);
  call(h->scalar, expected, x, &window);
  call(h->table, found, x, &window);
  same(h, found, expected, (size_t)used, "%d x %d taps of %d channels, bounds %d and %d, ties up %d", rows, columns, used,
       window.act_min, window.act_max, window.ties_up);
}

static inline void bench_pool(harness *h, pool_call *call) {
  static const struct {
    const char *name;
    int32_t rows, columns, channels;
  } shapes[] = {{"25x5 of 64", 25, 5, 64}, {"2x2 of 32", 2, 2, 32}, {"7x7 of 1280", 7, 7, 1280}};
  for (int32_t i = 0; i < 3; i++) {
    h->buffers = 0;
    const int32_t rows = shapes[i].rows, row = shapes[i].columns * shapes[i].channels;
    int8_t *x = buffer(h, (size_t)(rows * row), 16), *out = buffer(h, (size_t)shapes[i].channels, 16);
    fill(h, x, (size_t)(rows * row));
    const eq_pool_window window = {.rows = rows, .columns = shapes[i].columns, .channels = shapes[i].channels,
                                   .x_row = (size_t)row, .act_min = -128, .act_max = 127};
    BENCH(h, shapes[i].name, (int64_t)rows * row) call(h->table, out, x, &window);
  }
}

#endif
