/* SPDX-License-Identifier: Apache-2.0
 * The table of all kinds of steps, made from the generated list. */
#include "runtime/steps.h"

#define EQ_STEP(code, name, mask, divides) [code] = eq_run_##name,
eq_step_run *const eq_step_runs[EQ_MAX_STEP_CODE + 1] = {EQ_STEPS(EQ_STEP)};
#undef EQ_STEP

#define EQ_STEP(code, name, mask, divides) \
  static eq_status check_##name(const eq_step_check *s, const void *params) { return eq_check_##name(s, params); }
EQ_STEPS(EQ_STEP)
#undef EQ_STEP

#define EQ_STEP(code, name, mask, divides) [code] = {check_##name, sizeof(eq_##name##_params), mask, divides},
static const eq_step_kind kinds[EQ_MAX_STEP_CODE + 1] = {EQ_STEPS(EQ_STEP)};
#undef EQ_STEP

const eq_step_kind *eq_step_kind_of(uint32_t code) {
  return code <= EQ_MAX_STEP_CODE && kinds[code].check != NULL ? &kinds[code] : NULL;
}

eq_sharing eq_step_sharing(uint32_t code, const void *params, const uint8_t *constants, uint32_t input, uint32_t output,
                           int64_t ahead) {
  switch (code) {
#define EQ_STEP(number, name) \
  case number:                \
    return eq_sharing_##name(params, constants, input, output, ahead);
    EQ_SHARING_STEPS(EQ_STEP)
#undef EQ_STEP
    default:
      return EQ_APART;
  }
}
