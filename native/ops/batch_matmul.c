/* SPDX-License-Identifier: Apache-2.0
 * Products of two computed int8 tensors: b is brought to (columns, depth) and its column sums folded into the bias. */
#include "edgeq/fixed_point.h"
#include "edgeq/ops.h"
#include "ops/linear.h"

eq_status eq_check_batch_matmul(const eq_step_check *s, const eq_batch_matmul_params *p) {
  for (int32_t axis = 0; axis < 3; axis++) {
    if (p->a_batch[axis] != p->batch[axis] && p->a_batch[axis] != 1) return EQ_ERR_STEP;
    if (p->b_batch[axis] != p->batch[axis] && p->b_batch[axis] != 1) return EQ_ERR_STEP;
  }
  const int32_t *const sizes[3] = {p->a_batch, p->b_batch, p->batch};
  const int32_t matrices[3][2] = {{p->rows, p->depth}, {p->depth, p->columns}, {p->rows, p->columns}};
  uint64_t bytes[3];
  for (int32_t i = 0; i < 3; i++) {
    const int32_t all[5] = {sizes[i][0], sizes[i][1], sizes[i][2], matrices[i][0], matrices[i][1]};
    bytes[i] = eq_volume(all, 5);
  }
  if (!eq_has_operands(s, 2, 1) || !eq_input_is(s, 0, bytes[0]) || !eq_input_is(s, 1, bytes[1])) return EQ_ERR_STEP;
  if (!eq_output_is(s, 0, bytes[2]) || p->depth > EQ_MAX_DEPTH) return EQ_ERR_STEP;
  if (!eq_within(p->a_transposed, 0, 1) || !eq_within(p->b_transposed, 0, 1)) return EQ_ERR_STEP;
  const uint64_t n = (uint64_t)p->columns, k = (uint64_t)p->depth;
  if (!eq_channels_legal(s, p->bias, n, 4, p->multipliers, p->shifts, n, 30)) return EQ_ERR_STEP;
  if (!eq_codes_legal(p->a_zero, p->b_zero, p->output_zero, p->act_min, p->act_max, p->mode,
                      eq_all_half(s, p->multipliers)))
    return EQ_ERR_STEP;
  const uint64_t scratch = 4 * n + (p->b_transposed ? 0 : n * k) + (p->a_transposed ? EQ_PATCHES * k : 0);
  return s->scratch_bytes >= scratch ? EQ_OK : EQ_ERR_STEP;
}

/* to[c][r] = from[r][first + c] for r < rows, c < columns; from has `width` columns. */
static void transpose(int8_t *to, const int8_t *from, int32_t rows, int32_t width, int32_t first, int32_t columns) {
  for (int32_t c = 0; c < columns; c++) {
    const int8_t *source = from + first + c;
    for (int32_t r = 0; r < rows; r++, source += width) *to++ = *source;
  }
}

/* One matrix of the batch. */
static void multiply(const eq_step_io *io, const eq_batch_matmul_params *p, int8_t *out, const int8_t *a,
                     const int8_t *b) {
  const size_t n = (size_t)p->columns, k = (size_t)p->depth;
  int32_t *bias = io->scratch;
  int8_t *b_rows = (int8_t *)(bias + n);
  int8_t *a_rows = b_rows + (p->b_transposed ? 0 : n * k);
  if (!p->b_transposed) {
    transpose(b_rows, b, p->depth, p->columns, 0, p->columns);
    b = b_rows;
  }
  const int32_t *own_bias = eq_constant(io, p->bias);
  for (int32_t column = 0; column < p->columns; column++) {
    const int8_t *row = b + (size_t)column * k;
    int32_t sum = 0; /* |sum * a_zero| <= 65536 * 255 * 128 < 2^31 */
    for (int32_t i = 0; i < p->depth; i++) sum += row[i] - p->b_zero;
    bias[column] = eq_sub32(own_bias[column], sum * p->a_zero);
  }
  const eq_linear_s8 linear = {
      .bias = bias,
      .multipliers = eq_constant(io, p->multipliers),
      .shifts = eq_constant(io, p->shifts),
      .weights_zero = p->b_zero,
      .zero = p->output_zero,
      .act_min = p->act_min,
      .act_max = p->act_max,
      .mode = p->mode,
  };
  if (!p->a_transposed) {
    io->kernels->gemm_s8(out, n, a, k, b, p->rows, p->columns, p->depth, &linear);
    return;
  }
  for (int32_t row = 0; row < p->rows; row += EQ_PATCHES) {
    const int32_t m = p->rows - row < EQ_PATCHES ? p->rows - row : EQ_PATCHES;
    transpose(a_rows, a, p->depth, p->rows, row, m);
    io->kernels->gemm_s8(out + (size_t)row * n, n, a_rows, k, b, m, p->columns, p->depth, &linear);
  }
}

/* The matrix of an operand that belongs to one index of the batch; axes of size 1 repeat. */
static size_t matrix_index(const int32_t own[3], const int32_t index[3]) {
  size_t position = 0;
  for (int32_t axis = 0; axis < 3; axis++) {
    position = position * (size_t)own[axis] + (own[axis] == 1 ? 0 : (size_t)index[axis]);
  }
  return position;
}

void eq_op_batch_matmul(const eq_step_io *io, const eq_batch_matmul_params *p) {
  const size_t a_bytes = (size_t)p->rows * (size_t)p->depth, b_bytes = (size_t)p->depth * (size_t)p->columns;
  const int8_t *a = eq_in(io, 0), *b = eq_in(io, 1);
  int8_t *out = eq_out(io, 0);
  int32_t index[3];
  for (index[0] = 0; index[0] < p->batch[0]; index[0]++) {
    for (index[1] = 0; index[1] < p->batch[1]; index[1]++) {
      for (index[2] = 0; index[2] < p->batch[2]; index[2]++) {
        multiply(io, p, out, a + matrix_index(p->a_batch, index) * a_bytes, b + matrix_index(p->b_batch, index) * b_bytes);
        out += (size_t)p->rows * (size_t)p->columns;
      }
    }
  }
}
