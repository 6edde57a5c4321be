/* SPDX-License-Identifier: Apache-2.0
 * A packed product in plain C for every layout, so that the operators around it are tested on any CPU. It reads whole runs
 * and finishes rows in groups, as its contract lets a vector kernel do. */
#include "edgeq/fixed_point.h"
#include "kernels/kernels.h"
#include "kernels/packed.h"
#include "kernels/requant.h"

static uint32_t layout_in_use;

/* Input number i of a row, whose runs each take up `padded` inputs in a layout's blocks. */
static int8_t input_of(const eq_gemm_rows *x, int32_t row, int32_t i) {
  return x->runs[i / x->run][(size_t)row * x->stride + (size_t)(i % x->run)];
}

static int8_t weight_of(const int8_t *w, eq_layout l, int32_t k, int32_t c, int32_t i) {
  const int8_t *group = w + (size_t)(c / l.channels) * eq_packed_group_bytes(layout_in_use, k);
  const int8_t *block = group + l.head * l.channels + (size_t)(i / l.depth) * (size_t)(l.channels * l.depth);
  return block[eq_place_in_block(layout_in_use, l, c % l.channels, i % l.depth)];
}

static void packed_gemm_s8(int8_t *out, size_t out_stride, const eq_gemm_rows *x, const int8_t *w, int32_t m, int32_t n,
                           const eq_linear_s8 *linear) {
  const eq_layout l = eq_layout_of(layout_in_use);
  const int32_t k = x->n_runs * x->run;
  volatile int8_t seen;
  for (int32_t first = 0; first < m; first += EQ_GEMM_ROWS) {
    const int32_t count = eq_min32(EQ_GEMM_ROWS, m - first);
    for (int32_t run = 0; run < x->n_runs; run++) {
      for (int32_t i = 0; i < (x->run + 15) / 16 * 16; i++) seen = x->runs[run][(size_t)(first + count - 1) * x->stride + (size_t)i];
    }
    for (int32_t c = 0; c < n; c++) {
      for (int32_t r = first; r < first + count; r++) {
        int32_t sum = 0;
        for (int32_t i = 0; i < k; i++) sum += input_of(x, r, i) * weight_of(w, l, k, c, i);
        eq_requant_s8(out + (size_t)r * out_stride + c, &sum, c, 1, linear);
      }
    }
  }
  (void)seen;
}

/* The scalar table with packed products of a layout. */
const eq_kernels *eq_reference_kernels(uint32_t layout) {
  static eq_kernels table;
  table = *eq_kernels_at(0);
  table.isa = "reference";
  table.layout = layout_in_use = layout;
  table.packed_gemm_s8 = packed_gemm_s8;
  return &table;
}
