/* SPDX-License-Identifier: Apache-2.0
 * The loops of the reduction kernels, the same for int8 and int16. */
#ifndef EDGEQ_REDUCE_H
#define EDGEQ_REDUCE_H

#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"

static inline int32_t eq_reduce_sum(int32_t sum, int32_t x) { return sum + x; }

/* Define `name`_run over elements of `type`: outer over whichever dimension lies farther apart in memory. */
#define EQ_REDUCE_RUN(name, type, take)                                                         \
  static inline void name(int32_t *found, const type *x, const eq_reduce_block *b) {            \
    if (b->x_kept > b->x_reduced) {                                                             \
      for (int32_t i = 0; i < b->m; i++, x += b->x_kept) {                                      \
        int32_t y = found[i];                                                                   \
        for (int32_t j = 0; j < b->n; j++) y = take(y, x[(size_t)j * b->x_reduced]);            \
        found[i] = y;                                                                           \
      }                                                                                         \
    } else if (b->x_kept == 1) { /* neighbours, which a compiler takes many at a time */        \
      for (int32_t j = 0; j < b->n; j++, x += b->x_reduced) {                                   \
        for (int32_t i = 0; i < b->m; i++) found[i] = take(found[i], x[i]);                     \
      }                                                                                         \
    } else {                                                                                    \
      for (int32_t j = 0; j < b->n; j++, x += b->x_reduced) {                                   \
        for (int32_t i = 0; i < b->m; i++) found[i] = take(found[i], x[(size_t)i * b->x_kept]); \
      }                                                                                         \
    }                                                                                           \
  }

#define EQ_REDUCE_KERNEL(name, type)                                        \
  EQ_REDUCE_RUN(name##_sum, type, eq_reduce_sum)                            \
  EQ_REDUCE_RUN(name##_max, type, eq_max32)                                 \
  EQ_REDUCE_RUN(name##_min, type, eq_min32)                                 \
  void name(int32_t *found, const type *x, const eq_reduce_block *b) {      \
    if (b->kind == EQ_REDUCE_SUM) {                                         \
      name##_sum(found, x, b);                                              \
    } else if (b->kind == EQ_REDUCE_MAX) {                                  \
      name##_max(found, x, b);                                              \
    } else {                                                                \
      name##_min(found, x, b);                                              \
    }                                                                       \
  }

#endif
