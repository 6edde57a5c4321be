/* SPDX-License-Identifier: Apache-2.0
 * The ways of running a convolution. They are called through tables: firmware made for one model has tables of its own with
 * the ways that the model's steps take alone, which edgeq/emit/ways.py finds, and is linked without the others. Besides,
 * the variables of one way do not lie on the stack below the kernels of another. */
#ifndef EDGEQ_CONV2D_H
#define EDGEQ_CONV2D_H

#include "ops/windows.h"

typedef void eq_conv2d_run(const eq_step_io *io, const eq_conv2d_params *p);

typedef struct eq_conv2d_table {
  eq_conv2d_run *product;  /* packed weights and all pixels, in one go */
  eq_conv2d_run *pixels;   /* packed weights and pixels where they lie, group after group */
  eq_conv2d_run *channels; /* the same with a share of the channels, which threads alone have */
  eq_conv2d_run *windows;  /* packed weights and windows */
  eq_conv2d_run *rows;     /* row-major weights */
} eq_conv2d_table;

typedef struct eq_windows_table {
  eq_windows_run *strips;
  eq_windows_run *patches;
} eq_windows_table;

extern const eq_conv2d_table eq_conv2d_ways;
extern const eq_windows_table eq_windows_ways;

eq_conv2d_run eq_run_conv2d_product, eq_run_conv2d_pixels, eq_run_conv2d_channels, eq_run_conv2d_windows, eq_run_conv2d_rows;

#endif
