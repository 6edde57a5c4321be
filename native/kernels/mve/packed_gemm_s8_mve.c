/* SPDX-License-Identifier: Apache-2.0
 * Product of int8 rows with weights of layout C4K16, two rows by four channels at a time. Sums of a few rows wait on
 * the stack until they are requantized: while they are made, the products need nearly all scalar registers. */
#if defined(__ARM_FEATURE_MVE)
#include "kernels/mve/requant_mve.h"
#include "kernels/packed.h"
#include "kernels/requant.h"

enum {
  CHANNELS = 4,
  HEAD = 16,
  BLOCK = 16,
  ROWS = 16,                      /* whose sums of a group of channels wait */
  ROW_CHANNELS = ROWS * CHANNELS, /* whose sums of a single row wait */
};

/* One block of inputs of two rows; `a` is empty or the letter that makes products be added. The sums stand in the even
 * registers, which alone can take them. */
#define PAIR(a)                           \
  "vldrb.u8 %q[x0], [%[from0]], #16\n"    \
  "vldrb.u8 %q[w0], [%[w]], #64\n"        \
  "vmladav" a ".s8 r0, %q[x0], %q[w0]\n"  \
  "vldrb.u8 %q[x1], [%[from1]], #16\n"    \
  "vmladav" a ".s8 r8, %q[x1], %q[w0]\n"  \
  "vldrb.u8 %q[w1], [%[w], #-48]\n"       \
  "vmladav" a ".s8 r2, %q[x0], %q[w1]\n"  \
  "vldrb.u8 %q[w0], [%[w], #-32]\n"       \
  "vmladav" a ".s8 r10, %q[x1], %q[w1]\n" \
  "vmladav" a ".s8 r4, %q[x0], %q[w0]\n"  \
  "vldrb.u8 %q[w1], [%[w], #-16]\n"       \
  "vmladav" a ".s8 r12, %q[x1], %q[w0]\n" \
  "vmladav" a ".s8 r6, %q[x0], %q[w1]\n"  \
  "vmladav" a ".s8 lr, %q[x1], %q[w1]\n"

/* Products of pairs of rows with the channels of a group. They need so many registers that the rest is read from here;
 * even so compilers that keep a frame pointer have none left. */
typedef struct pairs {
  const int8_t *weights;
  int32_t blocks;     /* at least one */
  size_t skip;        /* from behind a row's last block to the next pair's row */
  const int32_t *end; /* of the sums */
  int32_t *sums;      /* by rows and channels */
} pairs;

/* p->sums[r][c] = the products of rows, the first two of which begin at from0 and from1; `add` adds what is there. */
#define SUM_PAIRS(name, add)                                                                   \
  static EQ_NOINLINE void name(pairs *p, const int8_t *from0, const int8_t *from1) {           \
    int32x4_t x0, x1, w0, w1;                                                                  \
    const int8_t *w;                                                                           \
    int32_t left;                                                                              \
    __asm__ volatile(                                                                          \
        "1:\n"                                                                                 \
        "ldrd %[w], %[left], [%[p]]\n" PAIR("")                                                \
        "subs %[left], %[left], #1\n"                                                          \
        "beq 3f\n"                                                                             \
        "2:\n" PAIR("a")                                                                       \
        "subs %[left], %[left], #1\n"                                                          \
        "bne 2b\n"                                                                             \
        "3:\n"                                                                                 \
        "vmov %q[x0][2], %q[x0][0], r0, r4\n"                                                  \
        "vmov %q[x0][3], %q[x0][1], r2, r6\n"                                                  \
        "ldrd r0, r2, [%[p], #8]\n"                                                            \
        "ldr r4, [%[p], #16]\n"                                                                \
        "vmov %q[x1][2], %q[x1][0], r8, r12\n"                                                 \
        "vmov %q[x1][3], %q[x1][1], r10, lr\n" add                                             \
        "add %[from0], r0\n"                                                                   \
        "vstrw.32 %q[x0], [r4], #32\n"                                                         \
        "add %[from1], r0\n"                                                                   \
        "vstrw.32 %q[x1], [r4, #-16]\n"                                                        \
        "str r4, [%[p], #16]\n"                                                                \
        "cmp r4, r2\n"                                                                         \
        "bne 1b\n"                                                                             \
        : [x0] "=&w"(x0), [x1] "=&w"(x1), [w0] "=&w"(w0), [w1] "=&w"(w1), [from0] "+r"(from0), \
          [from1] "+r"(from1), [w] "=&r"(w), [left] "=&r"(left)                                \
        : [p] "r"(p)                                                                           \
        : "r0", "r2", "r4", "r6", "r8", "r10", "r12", "lr", "cc", "memory");                   \
  }
SUM_PAIRS(set_pairs, "")
SUM_PAIRS(add_pairs,
          "vldrw.u32 %q[w0], [r4]\n"
          "vldrw.u32 %q[w1], [r4, #16]\n"
          "vadd.i32 %q[x0], %q[x0], %q[w0]\n"
          "vadd.i32 %q[x1], %q[x1], %q[w1]\n")

#define ROW(a)                          \
  "vldrb.u8 %q[x], [%[from]], #16\n"    \
  "vldrb.u8 %q[w0], [%[w]], #64\n"      \
  "vmladav" a ".s8 r0, %q[x], %q[w0]\n" \
  "vldrb.u8 %q[w1], [%[w], #-48]\n"     \
  "vmladav" a ".s8 r2, %q[x], %q[w1]\n" \
  "vldrb.u8 %q[w0], [%[w], #-32]\n"     \
  "vmladav" a ".s8 r4, %q[x], %q[w0]\n" \
  "vldrb.u8 %q[w1], [%[w], #-16]\n"     \
  "vmladav" a ".s8 r6, %q[x], %q[w1]\n"

/* sums[c] = the products of one row with `groups` groups of channels, at least one; returns the weights behind them. */
static EQ_NOINLINE const int8_t *sum_row(int32_t *sums, const int8_t *row, const int8_t *w,
                                                       int32_t groups, int32_t blocks) {
  int32x4_t x, w0, w1;
  const int8_t *from;
  __asm__ volatile(
      "1:\n"
      "adds %[w], #16\n" /* over the head */
      "mov %[from], %[row]\n" ROW("")
      "cmp %[single], #0\n"
      "beq 2f\n" ROW("a")
      "2:\n"
      "wls lr, %[twos], 4f\n"
      "3:\n" ROW("a") ROW("a")
      "le lr, 3b\n"
      "4:\n"
      "vmov %q[x][2], %q[x][0], r0, r4\n"
      "vmov %q[x][3], %q[x][1], r2, r6\n"
      "subs %[groups], #1\n"
      "vstrw.32 %q[x], [%[sums]], #16\n"
      "bne 1b\n"
      : [x] "=&w"(x), [w0] "=&w"(w0), [w1] "=&w"(w1), [from] "=&r"(from), [w] "+r"(w), [sums] "+r"(sums),
        [groups] "+r"(groups)
      : [row] "r"(row), [single] "r"((blocks - 1) % 2), [twos] "r"((blocks - 1) / 2) /* blocks behind the first */
      : "r0", "r2", "r4", "r6", "lr", "cc", "memory");
  return w;
}

/* A call: how its sums become codes, and where those go. */
typedef struct call {
  const eq_linear_s8 *linear;
  size_t out_stride;
  eq_way way;
} call;

/* Requantize the sums of m >= 1 rows of four channels, `first` being the first, or of the last n of the layer. */
static EQ_NOINLINE void finish_rows(int8_t *out, const int32_t *sums, int32_t m, int32_t first, int32_t n,
                                    const call *k) {
  const eq_linear_s8 *linear = k->linear;
  const size_t out_stride = k->out_stride;
  if (n < CHANNELS || k->way == EQ_WAY_SCALAR) {
    for (; m > 0; m--, sums += CHANNELS, out += out_stride) {
      eq_requant_s8(out, sums, first, eq_min32(n, CHANNELS), linear);
    }
    return;
  }
  const int32x4_t bias = vldrwq_s32(linear->bias + first), multipliers = vldrwq_s32(linear->multipliers + first);
  const int32x4_t shifts = vldrbq_s32(linear->shifts + first);
  const eq_codes codes = eq_codes_of(linear->zero, linear->act_min, linear->act_max);
#define FINISH(way)                                                                                \
  const eq_scale4 scale = eq_scale4_of(multipliers, shifts, way);                                  \
  do {                                                                                             \
    vstrbq_s32(out, eq_code4(eq_requant4(vaddq_s32(vldrwq_s32(sums), bias), scale, way), &codes)); \
    sums += CHANNELS;                                                                              \
    out += out_stride;                                                                             \
  } while (--m != 0);
  EQ_FOR_WAY(k->way, FINISH);
#undef FINISH
}

/* All channels of one row that is a single run; sums has room for ROW_CHANNELS. */
EQ_ALWAYS_INLINE void run_row(int8_t *out, int32_t *sums, const int8_t *row, int32_t blocks, const int8_t *w, int32_t n,
                              const call *k) {
  for (int32_t first = 0; first < n; first += ROW_CHANNELS) {
    const int32_t count = eq_min32(n - first, ROW_CHANNELS);
    w = sum_row(sums, row, w, (count + CHANNELS - 1) / CHANNELS, blocks);
    eq_finish_mve(out + first, sums, first, count, k->linear, k->way);
  }
}

/* All channels of m rows from byte `from` of each run on; m <= ROWS is even, or 1: a row alone is its own partner. sums
 * has room for those of ROWS rows. */
EQ_ALWAYS_INLINE void run_rows(int8_t *out, int32_t *sums, const eq_gemm_rows *x, size_t from, const int8_t *w,
                               int32_t m, int32_t n, const call *k) {
  const int32_t blocks = (int32_t)((uint32_t)x->run + BLOCK - 1) / BLOCK, run_bytes = blocks * CHANNELS * BLOCK;
  const size_t to_partner = m == 1 ? 0 : x->stride, skip = 2 * x->stride - (size_t)(BLOCK * blocks);
  const int8_t *const row = x->runs[0] + from;
  pairs p = {.blocks = blocks, .skip = skip, .end = sums + (m + 1) / 2 * (2 * CHANNELS)};
  for (int32_t c = 0; c < n; c += CHANNELS) {
    w += HEAD;
    p.weights = w;
    p.sums = sums;
    set_pairs(&p, row, row + to_partner);
    w += run_bytes;
    for (int32_t run = 1; run < x->n_runs; run++, w += run_bytes) {
      const int8_t *const next = x->runs[run] + from;
      p.weights = w;
      p.sums = sums;
      add_pairs(&p, next, next + to_partner);
    }
    finish_rows(out + c, sums, m, c, n - c, k);
  }
}

void eq_packed_gemm_s8_mve(int8_t *out, size_t out_stride, const eq_gemm_rows *x, const int8_t *w, int32_t m, int32_t n,
                           const eq_linear_s8 *linear) {
  int32_t sums[ROWS * CHANNELS];
  const call k = {.linear = linear, .out_stride = out_stride, .way = eq_way_of_linear(linear, n)};
  const int32_t blocks = (int32_t)((uint32_t)x->run + BLOCK - 1) / BLOCK;
  for (size_t from = 0; m > 0;) {
    const int32_t rows = m == 1 ? 1 : eq_min32(m, ROWS) / 2 * 2;
    if (x->n_runs == 0 || blocks == 0) {
      for (int32_t i = 0; i < ROWS * CHANNELS; i++) sums[i] = 0;
      for (int32_t c = 0; c < n; c += CHANNELS) finish_rows(out + c, sums, rows, c, n - c, &k);
    } else if (rows == 1 && x->n_runs == 1) {
      run_row(out, sums, x->runs[0] + from, blocks, w, n, &k);
    } else {
      run_rows(out, sums, x, from, w, rows, n, &k);
    }
    m -= rows;
    from += (size_t)rows * x->stride;
    out += (size_t)rows * out_stride;
  }
}
#endif
