/* SPDX-License-Identifier: Apache-2.0
 * Products of int16 codes. */
#include "kernels/elementwise.h"
#include "kernels/kernels.h"

EQ_ELEMENTWISE_KERNEL(eq_mul_s16_scalar, int16_t, eq_mul_element, eq_mul_params)
