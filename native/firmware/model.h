/* SPDX-License-Identifier: Apache-2.0
 * Where the firmware's model comes from: it is part of the firmware, or kept in slots that the link writes. */
#ifndef EDGEQ_FIRMWARE_MODEL_H
#define EDGEQ_FIRMWARE_MODEL_H

#include "link/device.h"

/* Fill in what the device tells of its model, its arena and its results; the model only if there is one. */
void eq_attach_model(eq_device *device);

/* The model that is part of the firmware: its file without names, what points into it, and memory of exactly its size.
 * The source is generated (edgeq/device/firmware_source.py). */
extern const eq_runner eq_fixed_runner;
extern eq_step_result eq_fixed_results[];
extern const uint32_t eq_fixed_result_count;

#endif
