/* SPDX-License-Identifier: Apache-2.0
 * Division of rows by their Euclidean length: one call of the kernel. */
#include "edgeq/ops.h"
#include "kernels/kernels.h"

eq_status eq_check_l2_normalization(const eq_step_check *s, const eq_l2_normalization_params *p) {
  const uint64_t bytes = eq_volume2(p->rows, p->depth);
  if (!eq_has_operands(s, 1, 1) || !eq_input_is(s, 0, bytes) || !eq_output_is(s, 0, bytes)) return EQ_ERR_STEP;
  /* 33025 * 255^2 < 2^31 */
  if (p->depth > 33025 || !eq_within(p->zero, -128, 127) || !eq_mode_legal(p->mode, false)) return EQ_ERR_STEP;
  if (!eq_within(p->left_shift, 0, 7)) return EQ_ERR_STEP;
  return EQ_OK;
}

void eq_op_l2_normalization(const eq_step_io *io, const eq_l2_normalization_params *p) {
  io->kernels->l2_normalize_s8(eq_out(io, 0), eq_in(io, 0), p);
}
