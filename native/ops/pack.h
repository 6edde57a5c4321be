/* SPDX-License-Identifier: Apache-2.0
 * What operators with packed weights tell the function that repacks a model. */
#ifndef EDGEQ_PACK_H
#define EDGEQ_PACK_H

#include "edgeq/ops.h"

/* Bytes of a portable step's weights in a layout; 0 when the step must keep the weights that it has, as for models made
 * with too little scratch. The step was checked. */
uint64_t eq_packed_conv2d(const eq_conv2d_params *p, uint32_t layout, uint32_t scratch_bytes);
uint64_t eq_packed_depthwise_conv2d(const eq_depthwise_conv2d_params *p, uint32_t layout);

/* Write those bytes to `to`, which is 16-byte aligned, from the portable weights. */
void eq_pack_conv2d(int8_t *to, const int8_t *weights, const eq_conv2d_params *p, uint32_t layout);
void eq_pack_depthwise_conv2d(int8_t *to, const int8_t *weights, const eq_depthwise_conv2d_params *p);

#endif
