/* SPDX-License-Identifier: Apache-2.0
 * Product of int8 rows with weights in layout C4K16, two rows by four channels at a time: eight sums of four lanes take
 * half of the sixteen quad registers. */
#if defined(__arm__) && defined(__ARM_NEON)
#include "kernels/kernels.h"
#include "kernels/neon32/requant_neon32.h"
#include "kernels/packed.h"

enum { MAX_RUNS = 16, VECTOR = 64 /* channels of a single row whose sums wait on the stack */ };

/* Consecutive blocks of rows: pairs of blocks, whose four products of a channel are added in int16, then blocks of two
 * products. A run that begins at an odd block of the row takes two steps, since only even blocks begin a pair. */
typedef struct step {
  const int8_t *x; /* of row 0 */
  int32_t pairs;
  int32_t blocks;
} step;

/* The sums are assembly because they take all registers, weights and inputs come from post-incremented addresses, and
 * compilers spill. A row's products of one channel follow each other, since multiply-accumulates forward their sum, and
 * are widened while the next ones start. */
#define FIRST(t, x, w) "vmull.s8 " t ", " x ", " w "\n"
#define NEXT(t, x, w) "vmlal.s8 " t ", " x ", " w "\n"
#define WIDEN(sum, t) "vpadal.s16 " sum ", " t "\n"
#define CLEAR(q) "vmov.i32 " q ", #0\n"
#define LOAD(what, from) "vld1.8 {" what "}, [%[" from "]]!\n"
/* Read a step's count of single blocks, or skip them; go back for another step; add the halves of a sum. */
#define SINGLE_BLOCKS(none) "ldr %[left], [%[s]], #4\ncmp %[left], #0\nbeq " none "\n"
#define NEXT_STEP(begin) "cmp %[s], %[end]\nbne " begin "\n"
#define HALVE(low, high) "vadd.i32 " low ", " low ", " high "\n"
#define ALL_QUADS                                                                                            \
  "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8", "q9", "q10", "q11", "q12", "q13", "q14", "q15"

/* Two rows, whose inputs are in q8, q9 and q10, q11, by one channel, whose weights are in q12, q13. What comes between:
 * the last sum of the channel before, and loads of the next one's weights. */
#define TWO_BY_PAIR(sum0, sum1, before, load0, load1)                             \
  FIRST("q14", "d16", "d24") NEXT("q14", "d17", "d25") before                     \
  NEXT("q14", "d18", "d26") NEXT("q14", "d19", "d27")                             \
  FIRST("q15", "d20", "d24") NEXT("q15", "d21", "d25") load0 WIDEN(sum0, "q14")   \
  NEXT("q15", "d22", "d26") NEXT("q15", "d23", "d27") load1

/* The same over one block: inputs in q8 and q9. */
#define TWO_BY_BLOCK(sum0, sum1, wl, wh, before)                                                        \
  FIRST("q14", "d16", wl) NEXT("q14", "d17", wh) before FIRST("q15", "d18", wl) NEXT("q15", "d19", wh) \
  WIDEN(sum0, "q14")

/* to[0 .. 3] and to[4 .. 7]: sums of four channels over the row at `offset` and the one `stride` bytes behind it. */
static inline void sum_two_rows(int32_t *to, const step *s, const step *end, size_t offset, size_t stride,
                                const int8_t *w) {
  const int8_t *x0, *x1, *second;
  int32_t left;
  __asm__ volatile(
      CLEAR("q0") CLEAR("q1") CLEAR("q2") CLEAR("q3") CLEAR("q4") CLEAR("q5") CLEAR("q6") CLEAR("q7")
      "1:\n"
      "ldr %[x0], [%[s]], #4\n"
      "ldr %[left], [%[s]], #4\n"
      "add %[x0], %[x0], %[offset]\n"
      "add %[x1], %[x0], %[stride]\n"
      "cmp %[left], #0\n"
      "beq 3f\n"
      "add %[second], %[w], #64\n"
      "2:\n"
      LOAD("d24-d25", "w") LOAD("d16-d19", "x0") LOAD("d26-d27", "second") LOAD("d20-d23", "x1")
      TWO_BY_PAIR("q0", "q4", "", LOAD("d24-d25", "w"), LOAD("d26-d27", "second"))
      TWO_BY_PAIR("q1", "q5", WIDEN("q4", "q15"), LOAD("d24-d25", "w"), LOAD("d26-d27", "second"))
      TWO_BY_PAIR("q2", "q6", WIDEN("q5", "q15"), "vld1.8 {d24-d25}, [%[w]], %[to_pair]\n",
                  "vld1.8 {d26-d27}, [%[second]], %[to_pair]\n")
      "subs %[left], %[left], #1\n"
      TWO_BY_PAIR("q3", "q7", WIDEN("q6", "q15"), "", "")
      WIDEN("q7", "q15")
      "bne 2b\n"
      "3:\n"
      SINGLE_BLOCKS("5f")
      "4:\n"
      LOAD("d20-d23", "w") LOAD("d16-d17", "x0") LOAD("d18-d19", "x1") LOAD("d24-d27", "w")
      TWO_BY_BLOCK("q0", "q4", "d20", "d21", "")
      TWO_BY_BLOCK("q1", "q5", "d22", "d23", WIDEN("q4", "q15"))
      TWO_BY_BLOCK("q2", "q6", "d24", "d25", WIDEN("q5", "q15"))
      "subs %[left], %[left], #1\n"
      TWO_BY_BLOCK("q3", "q7", "d26", "d27", WIDEN("q6", "q15"))
      WIDEN("q7", "q15")
      "bne 4b\n"
      "5:\n"
      NEXT_STEP("1b")
      HALVE("d0", "d1") HALVE("d2", "d3") HALVE("d4", "d5") HALVE("d6", "d7")
      HALVE("d8", "d9") HALVE("d10", "d11") HALVE("d12", "d13") HALVE("d14", "d15")
      "vpadd.i32 d0, d0, d2\n"
      "vpadd.i32 d1, d4, d6\n"
      "vpadd.i32 d2, d8, d10\n"
      "vpadd.i32 d3, d12, d14\n"
      "vst1.32 {d0-d3}, [%[to]]\n"
      : [s] "+r"(s), [w] "+r"(w), [x0] "=&r"(x0), [x1] "=&r"(x1), [second] "=&r"(second), [left] "=&r"(left)
      : [end] "r"(end), [offset] "r"(offset), [stride] "r"(stride), [to_pair] "r"(80), [to] "r"(to)
      : "cc", "memory", ALL_QUADS);
}

/* One row, whose inputs are in q4, q5, by one channel. */
#define ONE_BY_PAIR(sum, t, w0l, w0h, w1l, w1h) \
  FIRST(t, "d8", w0l) NEXT(t, "d9", w0h) NEXT(t, "d10", w1l) NEXT(t, "d11", w1h) WIDEN(sum, t)
#define ONE_BY_BLOCK(sum, t, wl, wh) FIRST(t, "d8", wl) NEXT(t, "d9", wh) WIDEN(sum, t)

/* to[0 .. 3]: sums of four channels over the row at `offset`. */
static inline void sum_one_row(int32_t *to, const step *s, const step *end, size_t offset, const int8_t *w) {
  const int8_t *x;
  int32_t left;
  __asm__ volatile(
      CLEAR("q0") CLEAR("q1") CLEAR("q2") CLEAR("q3")
      "1:\n"
      "ldr %[x], [%[s]], #4\n"
      "ldr %[left], [%[s]], #4\n"
      "add %[x], %[x], %[offset]\n"
      "cmp %[left], #0\n"
      "beq 3f\n"
      "2:\n"
      LOAD("d16-d19", "w") LOAD("d8-d11", "x") LOAD("d20-d23", "w") LOAD("d24-d27", "w")
      "subs %[left], %[left], #1\n"
      LOAD("d28-d31", "w")
      ONE_BY_PAIR("q0", "q6", "d16", "d17", "d24", "d25")
      ONE_BY_PAIR("q1", "q7", "d18", "d19", "d26", "d27")
      ONE_BY_PAIR("q2", "q6", "d20", "d21", "d28", "d29")
      ONE_BY_PAIR("q3", "q7", "d22", "d23", "d30", "d31")
      "bne 2b\n"
      "3:\n"
      SINGLE_BLOCKS("5f")
      "4:\n"
      LOAD("d16-d19", "w") LOAD("d8-d9", "x") LOAD("d20-d23", "w")
      "subs %[left], %[left], #1\n"
      ONE_BY_BLOCK("q0", "q6", "d16", "d17")
      ONE_BY_BLOCK("q1", "q7", "d18", "d19")
      ONE_BY_BLOCK("q2", "q6", "d20", "d21")
      ONE_BY_BLOCK("q3", "q7", "d22", "d23")
      "bne 4b\n"
      "5:\n"
      NEXT_STEP("1b")
      HALVE("d0", "d1") HALVE("d2", "d3") HALVE("d4", "d5") HALVE("d6", "d7")
      "vpadd.i32 d0, d0, d2\n"
      "vpadd.i32 d1, d4, d6\n"
      "vst1.32 {d0-d1}, [%[to]]\n"
      : [s] "+r"(s), [w] "+r"(w), [x] "=&r"(x), [left] "=&r"(left)
      : [end] "r"(end), [offset] "r"(offset), [to] "r"(to)
      : "cc", "memory", ALL_QUADS);
}

/* The same without chains, for weights of -128 and for any number of runs. */
static void sum_unchained(int32_t *to, const eq_gemm_rows *x, size_t offset, const int8_t *w) {
  int32x4_t sums[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
  for (int32_t i = 0; i < x->n_runs; i++) {
    for (int32_t at = 0; at < x->run; at += 16) {
      const int8x16_t codes = vld1q_s8(x->runs[i] + offset + at);
      for (int32_t c = 0; c < 4; c++, w += 16) {
        const int8x16_t weights = vld1q_s8(w);
        sums[c] = vpadalq_s16(sums[c], vmull_s8(vget_low_s8(codes), vget_low_s8(weights)));
        sums[c] = vpadalq_s16(sums[c], vmull_s8(vget_high_s8(codes), vget_high_s8(weights)));
      }
    }
  }
  for (int32_t c = 0; c < 4; c++) {
    const int32x2_t half = vadd_s32(vget_low_s32(sums[c]), vget_high_s32(sums[c]));
    to[c] = vget_lane_s32(vpadd_s32(half, half), 0);
  }
}

/* How rows are read, with and without pairs. */
typedef struct plan {
  const eq_gemm_rows *x;
  step paired[2 * MAX_RUNS];
  step single[MAX_RUNS];
  int32_t n_paired;
  int32_t n_single; /* 0 when there are too many runs */
} plan;

static void find_steps(plan *p) {
  const eq_gemm_rows *x = p->x;
  p->n_paired = p->n_single = 0;
  if (x->n_runs > MAX_RUNS) return;
  const int32_t blocks = (x->run + 15) / 16;
  bool odd = false;
  for (int32_t i = 0; i < x->n_runs; i++) {
    const int8_t *from = x->runs[i];
    int32_t left = blocks;
    p->single[p->n_single++] = (step){from, 0, blocks};
    if (odd && left > 0) {
      p->paired[p->n_paired++] = (step){from, 0, 1};
      from += 16;
      left--;
    }
    if (left > 0) p->paired[p->n_paired++] = (step){from, left / 2, left % 2};
    odd ^= blocks % 2 != 0;
  }
}

/* to[4 r ..]: sums of the four channels of a group over `rows` rows. */
static inline void sum_rows(int32_t *to, const plan *p, int32_t first, int32_t rows, const int8_t *group) {
  const size_t stride = p->x->stride;
  size_t offset = (size_t)first * stride;
  int32_t chain;
  __builtin_memcpy(&chain, group, sizeof chain);
  const step *from = chain > 2 ? p->paired : p->single, *end = from + (chain > 2 ? p->n_paired : p->n_single);
  const int8_t *w = group + 16;
  if (chain < 2 || from == end) {
    for (; rows > 0; rows--, offset += stride, to += 4) sum_unchained(to, p->x, offset, w);
    return;
  }
  for (; rows > 1; rows -= 2, offset += 2 * stride, to += 8) sum_two_rows(to, from, end, offset, stride, w);
  if (rows > 0) sum_one_row(to, from, end, offset, w);
}

/* Constants differ in every lane of a single row, so its channels are taken eight at a time. */
static void run_row(int8_t *out, const plan *p, const int8_t *w, size_t group_bytes, int32_t n, const eq_linear_s8 *linear,
                    eq_scaling scaling) {
  for (int32_t first = 0; first < n; first += VECTOR) {
    const int32_t count = eq_min32(n - first, VECTOR);
    int32_t found[VECTOR];
    for (int32_t c = 0; c < count; c += 4, w += group_bytes) sum_rows(found + c, p, 0, 1, w);
    eq_requant_vector(out + first, found, first, count, linear, scaling);
  }
}

void eq_packed_gemm_s8_neon32(int8_t *out, size_t out_stride, const eq_gemm_rows *x, const int8_t *w, int32_t m,
                              int32_t n, const eq_linear_s8 *linear) {
  const eq_scaling scaling = eq_scaling_of_linear(linear, n);
  const size_t group_bytes = eq_packed_group_bytes(EQ_LAYOUT_C4K16, x->n_runs * x->run);
  plan p;
  p.x = x;
  find_steps(&p);
  if (m == 1) {
    run_row(out, &p, w, group_bytes, n, linear, scaling);
    return;
  }
  for (int32_t first = 0; first < m; first += EQ_GEMM_ROWS, out += EQ_GEMM_ROWS * out_stride) {
    const int32_t rows = eq_min32(m - first, EQ_GEMM_ROWS);
    const int8_t *group = w;
    for (int32_t c = 0; c < n; c += 4, group += group_bytes) {
      int32_t found[4 * EQ_GEMM_ROWS];
      sum_rows(found, &p, first, rows, group);
      eq_requant_rows(out + c, out_stride, found, rows, c, eq_min32(n - c, 4), linear, scaling);
    }
  }
}
#endif
