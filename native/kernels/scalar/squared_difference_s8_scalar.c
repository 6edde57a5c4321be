/* SPDX-License-Identifier: Apache-2.0
 * Squared differences of int8 codes. */
#include "kernels/elementwise.h"
#include "kernels/kernels.h"

EQ_ELEMENTWISE_KERNEL(eq_squared_difference_s8_scalar, int8_t, eq_squared_difference_element, eq_squared_difference_params)
