/* SPDX-License-Identifier: Apache-2.0
 * Every operator under the type that a table of steps holds. */
#include "runtime/steps.h"

#define EQ_STEP(code, name, mask, divides) \
  void eq_run_##name(const eq_step_io *io, const void *params) { eq_op_##name(io, params); }
EQ_STEPS(EQ_STEP)
#undef EQ_STEP
