/* SPDX-License-Identifier: Apache-2.0
 * Static codes to codes with a scale of each row's own. */
#include "edgeq/ops.h"
#include "ops/dynamic_rows.h"

eq_status eq_check_dynamic_quantize(const eq_step_check *s, const eq_dynamic_quantize_params *p) {
  const uint64_t codes = eq_volume2(p->rows, p->row);
  if (!eq_has_operands(s, 1, 2) || !eq_within(p->element_bytes, 1, 2)) return EQ_ERR_STEP;
  if (!eq_input_is(s, 0, eq_scaled(codes, (uint32_t)p->element_bytes)) || !eq_output_is(s, 0, codes)) return EQ_ERR_STEP;
  if (!eq_output_is(s, 1, eq_scaled(eq_volume2(p->rows, EQ_SCALE_COLUMNS), 4))) return EQ_ERR_STEP;
  const int32_t least = p->element_bytes == 1 ? INT8_MIN : INT16_MIN;
  if (!eq_within(p->zero, least, -1 - least) || !eq_scale_legal(p->source)) return EQ_ERR_STEP;
  if (!eq_row_range_legal(p->row_range, p->deviations, p->step)) return EQ_ERR_STEP;
  return s->scratch_bytes >= 4 * (uint64_t)(uint32_t)p->row ? EQ_OK : EQ_ERR_STEP;
}

void eq_op_dynamic_quantize(const eq_step_io *io, const eq_dynamic_quantize_params *p) {
  const eq_scale source = eq_constant_scale(p->source);
  const eq_row_range range = {.kind = p->row_range, .deviations = p->deviations, .source = source, .kept = source,
                              .step = eq_constant_scale(p->step)};
  const void *in = eq_in(io, 0);
  int8_t *codes = eq_out(io, 0);
  int32_t *scales = eq_out(io, 1);
  int32_t *v = io->scratch;
  size_t at = 0;
  for (int32_t r = 0; r < p->rows; r++, codes += p->row, scales += EQ_SCALE_COLUMNS) {
    for (int32_t i = 0; i < p->row; i++, at++) {
      v[i] = (p->element_bytes == 1 ? ((const int8_t *)in)[at] : ((const int16_t *)in)[at]) - p->zero;
    }
    eq_quantize_row(codes, scales, v, p->row, &range);
  }
}
