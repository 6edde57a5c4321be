/* SPDX-License-Identifier: Apache-2.0
 * A border of one value: fill everything, then copy the rows of the input into their place. */
#include "edgeq/ops.h"
#include "ops/nd.h"

eq_status eq_check_pad(const eq_step_check *s, const eq_pad_params *p) {
  if (!eq_has_operands(s, 1, 1)) return EQ_ERR_STEP;
  if (p->element_bytes != 1 && p->element_bytes != 2 && p->element_bytes != 4) return EQ_ERR_STEP;
  int32_t padded[EQ_ND_RANK];
  for (int32_t d = 0; d < EQ_ND_RANK; d++) {
    if (p->sizes[d] < 1 || p->before[d] < 0 || p->after[d] < 0) return EQ_ERR_STEP;
    const int64_t size = (int64_t)p->sizes[d] + p->before[d] + p->after[d];
    if (size > INT32_MAX) return EQ_ERR_STEP;
    padded[d] = (int32_t)size;
  }
  const uint32_t element_bytes = (uint32_t)p->element_bytes;
  if (!eq_input_is(s, 0, eq_scaled(eq_volume(p->sizes, EQ_ND_RANK), element_bytes))) return EQ_ERR_STEP;
  if (!eq_output_is(s, 0, eq_scaled(eq_volume(padded, EQ_ND_RANK), element_bytes))) return EQ_ERR_STEP;
  return EQ_OK;
}

static void fill(void *out, int32_t value, uint32_t count, int32_t element_bytes) {
  if (element_bytes == 1) {
    eq_fill(out, (uint8_t)value, count);
  } else if (element_bytes == 2) {
    uint16_t *elements = out;
    for (uint32_t i = 0; i < count; i++) elements[i] = (uint16_t)value;
  } else {
    int32_t *elements = out;
    for (uint32_t i = 0; i < count; i++) elements[i] = value;
  }
}

void eq_op_pad(const eq_step_io *io, const eq_pad_params *p) {
  const uint8_t *in = eq_in(io, 0);
  uint8_t *out = eq_out(io, 0);
  uint32_t strides[EQ_ND_RANK]; /* of the output, in elements */
  uint32_t count = 1;
  for (int32_t d = EQ_ND_RANK - 1; d >= 0; d--) {
    strides[d] = count;
    count *= (uint32_t)(p->sizes[d] + p->before[d] + p->after[d]);
  }
  fill(out, p->value, count, p->element_bytes);

  const uint32_t row_bytes = (uint32_t)p->sizes[EQ_ND_OUTER] * (uint32_t)p->element_bytes;
  int32_t index[EQ_ND_OUTER] = {0};
  do {
    uint32_t offset = (uint32_t)p->before[EQ_ND_OUTER];
    for (int32_t d = 0; d < EQ_ND_OUTER; d++) offset += (uint32_t)(p->before[d] + index[d]) * strides[d];
    eq_copy(out + offset * (uint32_t)p->element_bytes, in, row_bytes);
    in += row_bytes;
  } while (eq_nd_next(index, p->sizes));
}
