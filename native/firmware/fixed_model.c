/* SPDX-License-Identifier: Apache-2.0
 * The model is part of the firmware, checked when that was built. */
#include "firmware/model.h"

void eq_attach_model(eq_device *device) {
  const eq_header_record *const header = eq_fixed_runner.model->header; /* of the whole file, names included */
  device->features |= EQ_FEATURE_FIXED_MODEL;
  device->runner = &eq_fixed_runner;
  device->model_bytes = header->file_bytes;
  device->model_crc = header->payload_crc;
  device->model_version = header->model_version;
  device->arena_bytes = header->arena_bytes;
  device->steps = eq_fixed_results;
  device->step_capacity = eq_fixed_result_count;
}
