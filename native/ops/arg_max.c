/* SPDX-License-Identifier: Apache-2.0
 * The position of the first maximum along an axis. */
#include "edgeq/ops.h"

eq_status eq_check_arg_max(const eq_step_check *s, const eq_arg_max_params *p) {
  if (!eq_has_operands(s, 1, 1)) return EQ_ERR_STEP;
  if ((p->in_bytes != 1 && p->in_bytes != 2) || (p->out_bytes != 4 && p->out_bytes != 8)) return EQ_ERR_STEP;
  if (!eq_input_is(s, 0, eq_volume4(p->outer, p->axis_size, p->inner, p->in_bytes))) return EQ_ERR_STEP;
  if (!eq_output_is(s, 0, eq_scaled(eq_volume2(p->outer, p->inner), (uint32_t)p->out_bytes))) return EQ_ERR_STEP;
  return EQ_OK;
}

static int32_t element(const void *in, int32_t i, int32_t in_bytes) {
  return in_bytes == 1 ? ((const int8_t *)in)[i] : ((const int16_t *)in)[i];
}

void eq_op_arg_max(const eq_step_io *io, const eq_arg_max_params *p) {
  const void *in = eq_in(io, 0);
  void *out = eq_out(io, 0);
  for (int32_t o = 0; o < p->outer; o++) {
    for (int32_t i = 0; i < p->inner; i++) {
      const int32_t first = o * p->axis_size * p->inner + i;
      int32_t best = 0;
      int32_t largest = element(in, first, p->in_bytes);
      for (int32_t a = 1; a < p->axis_size; a++) {
        const int32_t candidate = element(in, first + a * p->inner, p->in_bytes);
        if (candidate > largest) {
          largest = candidate;
          best = a;
        }
      }
      if (p->out_bytes == 4) {
        ((int32_t *)out)[o * p->inner + i] = best;
      } else {
        ((int64_t *)out)[o * p->inner + i] = best;
      }
    }
  }
}
