/* SPDX-License-Identifier: Apache-2.0
 * Bilinear resizing: the four pixels around each position, blended over all channels by one kernel call. */
#include "edgeq/ops.h"
#include "kernels/kernels.h"

enum { ONE = 1024 };

typedef struct tap {
  int32_t low;
  int32_t high;
  int32_t weight; /* of high, in 1/1024 */
} tap;

static bool taps_legal(const eq_step_check *s, eq_span span, int32_t count, int32_t size) {
  if (!eq_span_is(s, span, (uint64_t)(uint32_t)count * sizeof(tap))) return false;
  const tap *taps = (const tap *)(const void *)(s->constants + span.offset);
  for (int32_t i = 0; i < count; i++) {
    if (!eq_within(taps[i].low, 0, size - 1) || !eq_within(taps[i].high, 0, size - 1)) return false;
    if (!eq_within(taps[i].weight, 0, ONE)) return false;
  }
  return true;
}

eq_status eq_check_resize_bilinear(const eq_step_check *s, const eq_resize_bilinear_params *p) {
  if (!eq_has_operands(s, 1, 1)) return EQ_ERR_STEP;
  if (!eq_input_is(s, 0, eq_volume4(p->batch, p->height, p->width, p->channels))) return EQ_ERR_STEP;
  if (!eq_output_is(s, 0, eq_volume4(p->batch, p->out_height, p->out_width, p->channels))) return EQ_ERR_STEP;
  if (!taps_legal(s, p->rows, p->out_height, p->height)) return EQ_ERR_STEP;
  if (!taps_legal(s, p->columns, p->out_width, p->width)) return EQ_ERR_STEP;
  return EQ_OK;
}

void eq_op_resize_bilinear(const eq_step_io *io, const eq_resize_bilinear_params *p) {
  const int8_t *image = eq_in(io, 0);
  int8_t *out = eq_out(io, 0);
  const tap *rows = eq_constant(io, p->rows);
  const tap *columns = eq_constant(io, p->columns);
  const size_t channels = (size_t)p->channels;
  const size_t row_elements = (size_t)p->width * channels;
  for (int32_t b = 0; b < p->batch; b++) {
    for (int32_t y = 0; y < p->out_height; y++) {
      const int8_t *low = image + (size_t)rows[y].low * row_elements;
      const int8_t *high = image + (size_t)rows[y].high * row_elements;
      for (int32_t x = 0; x < p->out_width; x++) {
        const size_t left = (size_t)columns[x].low * channels;
        const size_t right = (size_t)columns[x].high * channels;
        const int8_t *const in[4] = {low + left, low + right, high + left, high + right};
        const int32_t down = rows[y].weight;
        const int32_t across = columns[x].weight;
        const int32_t weights[4] = {(ONE - down) * (ONE - across), (ONE - down) * across, down * (ONE - across),
                                    down * across};
        io->kernels->blend_s8(out, in, weights, p->channels);
        out += channels;
      }
    }
    image += (size_t)p->height * row_elements;
  }
}
