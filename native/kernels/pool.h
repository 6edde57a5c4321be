/* SPDX-License-Identifier: Apache-2.0
 * The loops of the pooling kernels, the same for int8 and int16: a block of channels at a time over all taps. */
#ifndef EDGEQ_POOL_H
#define EDGEQ_POOL_H

#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"

enum { EQ_POOL_BLOCK = 32 }; /* channels whose sums or maxima wait on the stack */

/* Define kernel `name`: `found` starts at `start`, takes in every tap x[i] by `take`, and ends as `finish`. */
#define EQ_POOL_KERNEL(name, type, start, take, finish)                                            \
  void name(type *out, const type *x, const eq_pool_window *w) {                                   \
    for (int32_t first = 0; first < w->channels; first += EQ_POOL_BLOCK) {                         \
      const int32_t n = eq_min32(w->channels - first, EQ_POOL_BLOCK);                              \
      int32_t found[EQ_POOL_BLOCK];                                                                \
      for (int32_t i = 0; i < n; i++) found[i] = (start);                                          \
      for (int32_t row = 0; row < w->rows; row++) {                                                \
        const type *tap = x + (size_t)row * w->x_row + first;                                      \
        for (int32_t column = 0; column < w->columns; column++, tap += w->channels) {              \
          for (int32_t i = 0; i < n; i++) found[i] = take(found[i], tap[i]);                       \
        }                                                                                          \
      }                                                                                            \
      for (int32_t i = 0; i < n; i++) {                                                            \
        out[first + i] = (type)eq_clamp32(finish(found[i], w), w->act_min, w->act_max);            \
      }                                                                                            \
    }                                                                                              \
  }

/* The same for CPUs that take one element at a time: what is found of four channels stays in registers. */
#define EQ_POOL_KERNEL_BY_FOUR(name, type, start, take, finish)                                    \
  void name(type *out, const type *x, const eq_pool_window *w) {                                   \
    const size_t pixel = (size_t)w->channels;                                                      \
    const size_t next = w->x_row - (size_t)w->columns * pixel;                                     \
    for (size_t first = 0; first < pixel; first += 4) {                                            \
      const size_t n = pixel - first;                                                              \
      const size_t second = n > 1 ? 1 : 0, third = n > 2 ? 2 : 0, fourth = n > 3 ? 3 : 0;          \
      int32_t a = (start), b = (start), c = (start), d = (start);                                  \
      const type *tap = x + first;                                                                 \
      for (int32_t row = 0; row < w->rows; row++, tap += next) {                                   \
        for (int32_t column = 0; column < w->columns; column++, tap += pixel) {                    \
          a = take(a, tap[0]);                                                                     \
          b = take(b, tap[second]);                                                                \
          c = take(c, tap[third]);                                                                 \
          d = take(d, tap[fourth]);                                                                \
        }                                                                                          \
      }                                                                                            \
      const int32_t found[4] = {a, b, c, d};                                                       \
      for (size_t i = 0; i < n && i < 4; i++) {                                                    \
        out[first + i] = (type)eq_clamp32(finish(found[i], w), w->act_min, w->act_max);            \
      }                                                                                            \
    }                                                                                              \
  }

static inline int32_t eq_pool_sum(int32_t sum, int32_t x) { return sum + x; }

/* Rounded to nearest, ties up or away from zero; |sum| + taps / 2 < 2^31. */
static inline int32_t eq_pool_mean(int32_t sum, const eq_pool_window *w) {
  const int32_t taps = w->rows * w->columns;
  if (w->ties_up) {
    const int32_t above = sum + taps / 2;
    return above / taps - (above % taps < 0);
  }
  return sum > 0 ? (sum + taps / 2) / taps : (sum - taps / 2) / taps;
}

static inline int32_t eq_pool_max(int32_t found, const eq_pool_window *w) {
  (void)w;
  return found;
}

#endif
