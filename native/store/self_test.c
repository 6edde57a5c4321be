/* SPDX-License-Identifier: Apache-2.0
 * The self-test that a model file may carry: a CRC for each step, then the inputs. */
#include "edgeq/memory.h"
#include "store/store.h"

eq_status eq_self_test(const eq_runner *runner) {
  const eq_model *model = runner->model;
  if (model->header->golden_size == 0) return EQ_OK;
  const uint8_t *golden = model->bytes + model->header->golden_offset;
  const uint32_t steps = eq_step_count(model);
  uint64_t needed = (uint64_t)steps * sizeof(uint32_t);
  for (uint32_t i = 0; i < eq_input_count(model); i++) needed += eq_tensor_bytes(model, eq_input_port(model, i)->tensor);
  if (model->header->golden_size != needed) return EQ_ERR_SELF_TEST;
  const uint8_t *input = golden + steps * sizeof(uint32_t);
  for (uint32_t i = 0; i < eq_input_count(model); i++) {
    const uint32_t n_bytes = eq_tensor_bytes(model, eq_input_port(model, i)->tensor);
    eq_copy(eq_input(runner, i), input, n_bytes);
    input += n_bytes;
  }
  for (uint32_t i = 0; i < steps; i++) {
    eq_run_step(runner, i);
    uint32_t expected;
    eq_copy(&expected, golden + i * sizeof expected, sizeof expected);
    if (eq_step_crc(runner, i) != expected) return EQ_ERR_SELF_TEST;
  }
  return EQ_OK;
}
