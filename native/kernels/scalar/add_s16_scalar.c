/* SPDX-License-Identifier: Apache-2.0
 * Sums and differences of int16 codes. */
#include "kernels/elementwise.h"
#include "kernels/kernels.h"

EQ_ELEMENTWISE_KERNEL(eq_add_s16_scalar, int16_t, eq_add_element, eq_add_params)
