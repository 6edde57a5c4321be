/* SPDX-License-Identifier: Apache-2.0
 * Rows of integers to int8 codes with a scale of each row's own. */
#ifndef EDGEQ_DYNAMIC_ROWS_H
#define EDGEQ_DYNAMIC_ROWS_H

#include "edgeq/run_time_scale.h"
#include "edgeq/step.h"

/* Which values of a row its codes span; permanent codes of the model file. */
enum { EQ_ROW_SYMMETRIC = 0, EQ_ROW_ASYMMETRIC = 1, EQ_ROW_MEAN_STD = 2 };

enum { EQ_MAX_DEVIATIONS = 1 << 16 };

/* How rows get their codes: the scale of one is range * source * step, that of a row of zeros is kept. */
typedef struct eq_row_range {
  int32_t kind;
  int32_t deviations; /* 0 .. EQ_MAX_DEVIATIONS, on either side of the mean */
  eq_scale source;
  eq_scale kept;
  eq_scale step;
} eq_row_range;

/* True when these are such a kind, a number of deviations and a step. */
bool eq_row_range_legal(int32_t kind, int32_t deviations, const int32_t step[2]);

/* Write n >= 1 codes and the row of their scale; |v| <= 2^30. */
void eq_quantize_row(int8_t *codes, int32_t scale[EQ_SCALE_COLUMNS], const int32_t *v, int32_t n,
                     const eq_row_range *range);

#endif
