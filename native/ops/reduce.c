/* SPDX-License-Identifier: Apache-2.0
 * Sums, maxima and minima over any axes. Sizes alternate: kept, reduced, kept, .. */
#include "edgeq/fixed_point.h"
#include "edgeq/ops.h"
#include "kernels/kernels.h"

enum { SIZES = 8, BLOCK = 32 /* outputs whose accumulators wait on the stack */ };

eq_status eq_check_reduce(const eq_step_check *s, const eq_reduce_params *p) {
  if (!eq_has_operands(s, 1, 1) || !eq_within(p->kind, 0, 2) || !eq_within(p->element_bytes, 1, 2)) return EQ_ERR_STEP;
  const uint32_t bytes = (uint32_t)p->element_bytes;
  if (!eq_input_is(s, 0, eq_scaled(eq_volume(p->sizes, SIZES), bytes))) return EQ_ERR_STEP;
  const uint64_t outputs = eq_volume4(p->sizes[0], p->sizes[2], p->sizes[4], p->sizes[6]);
  if (!eq_output_is(s, 0, eq_scaled(outputs, bytes))) return EQ_ERR_STEP;
  const uint64_t count = eq_volume4(p->sizes[1], p->sizes[3], p->sizes[5], p->sizes[7]);
  if (p->kind == EQ_REDUCE_SUM) {
    /* |code - input_zero| is at most 255, or 32768 for int16, whose zero point is 0 */
    if (count > (uint64_t)INT32_MAX / (bytes == 1 ? 255 : 32768)) return EQ_ERR_STEP;
    const int32_t limit = bytes == 1 ? 128 : 0;
    if (!eq_within(p->input_zero, -limit, limit - (limit > 0)) || !eq_within(p->zero, -limit, limit - (limit > 0)) ||
        !eq_multiplier_legal(p->multiplier, p->shift, 30) || !eq_mode_legal(p->mode, p->multiplier == EQ_HALF)) {
      return EQ_ERR_STEP;
    }
  }
  return EQ_OK;
}

/* Step an index through some of the sizes, those of one parity; false after the last position. */
static bool next(int32_t *index, const int32_t *sizes, int32_t last, const size_t *strides, size_t *offset) {
  for (int32_t d = last; d >= 0; d -= 2) {
    *offset += strides[d];
    if (++index[d] < sizes[d]) return true;
    *offset -= (size_t)sizes[d] * strides[d];
    index[d] = 0;
  }
  return false;
}

static void store(void *out, size_t first, const int32_t *found, int32_t n, const eq_reduce_params *p) {
  const int32_t low = p->element_bytes == 1 ? INT8_MIN : INT16_MIN;
  for (int32_t i = 0; i < n; i++) {
    int32_t y = found[i];
    if (p->kind == EQ_REDUCE_SUM) {
      y = eq_clamp32(eq_requant(y, p->multiplier, p->shift, eq_mode(p->mode)), low - p->zero, -1 - low - p->zero) + p->zero;
    }
    if (p->element_bytes == 1) {
      ((int8_t *)out)[first + (size_t)i] = (int8_t)y;
    } else {
      ((int16_t *)out)[first + (size_t)i] = (int16_t)y;
    }
  }
}

void eq_op_reduce(const eq_step_io *io, const eq_reduce_params *p) {
  const int32_t *sizes = p->sizes;
  size_t strides[SIZES];
  size_t volume = 1;
  int32_t count = 1;
  for (int32_t d = SIZES - 1; d >= 0; d--) {
    strides[d] = volume;
    volume *= (size_t)sizes[d];
    if (d % 2 == 1) count *= sizes[d];
  }
  /* The kernel takes the innermost kept dimension, and the innermost reduced one that is not of size 1 if need be. */
  const int32_t reduced = sizes[7] > 1 ? 7 : 5;
  const eq_reduce_block dense = {
      .n = sizes[reduced], .x_kept = strides[6], .x_reduced = strides[reduced], .kind = p->kind};
  int32_t start = p->kind == EQ_REDUCE_MAX ? INT32_MIN : INT32_MAX;
  if (p->kind == EQ_REDUCE_SUM) start = -count * p->input_zero;

  const void *x = eq_in(io, 0);
  size_t done = 0;
  size_t kept_offset = 0;
  int32_t index[SIZES] = {0};
  do {
    for (int32_t first = 0; first < sizes[6]; first += BLOCK) {
      eq_reduce_block block = dense;
      block.m = eq_min32(sizes[6] - first, BLOCK);
      int32_t found[BLOCK];
      for (int32_t i = 0; i < block.m; i++) found[i] = start;
      size_t offset = kept_offset + (size_t)first * strides[6];
      do {
        if (p->element_bytes == 1) {
          io->kernels->reduce_s8(found, (const int8_t *)x + offset, &block);
        } else {
          io->kernels->reduce_s16(found, (const int16_t *)x + offset, &block);
        }
      } while (next(index, sizes, reduced - 2, strides, &offset));
      store(eq_out(io, 0), done + (size_t)first, found, block.m, p);
    }
    done += (size_t)sizes[6];
  } while (next(index, sizes, 4, strides, &kept_offset));
}
