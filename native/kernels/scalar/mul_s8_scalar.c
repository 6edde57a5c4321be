/* SPDX-License-Identifier: Apache-2.0
 * Products of int8 codes. */
#include "kernels/elementwise.h"
#include "kernels/kernels.h"

EQ_ELEMENTWISE_KERNEL(eq_mul_s8_scalar, int8_t, eq_mul_element, eq_mul_params)
