/* SPDX-License-Identifier: Apache-2.0
 * Parametric rectifiers of int8 codes. */
#include "kernels/elementwise.h"
#include "kernels/kernels.h"

EQ_ELEMENTWISE_KERNEL(eq_prelu_s8_scalar, int8_t, eq_prelu_element, eq_prelu_params)
