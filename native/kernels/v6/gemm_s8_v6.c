/* SPDX-License-Identifier: Apache-2.0
 * Matrix product of int8 rows with int8 weights, four rows by one channel at a time, in pairs of 16-bit products. */
#if defined(__arm__) && defined(__ARM_FEATURE_SIMD32) && !defined(__ARM_NEON)
#include "kernels/kernels.h"
#include "kernels/v6/simd_v6.h"

enum {
  ROWS = 4,
  TILE = 32,       /* channels whose sums wait on the stack */
  CHUNK = 256,     /* inputs of each row that are widened at a time */
  FAST = 1 << 14,  /* inputs: |x * (w - zero)| < 2^15, so sums are below 2^29 */
};

/* Four inputs of a row as pairs of int16, those of bytes 0 and 2 and those of bytes 1 and 3, for each of four rows. */
typedef struct wide {
  struct {
    int16x2_t even;
    int16x2_t odd;
  } row[ROWS];
} wide;

/* Four bytes of which `count` are there, zeros behind them. */
static inline int32_t load_some(const int8_t *p, int32_t count) {
  if (count >= 4) return eq_load_word(p);
  uint32_t word = 0;
  for (int32_t i = 0; i < count; i++) word |= (uint32_t)(uint8_t)p[i] << 8 * i;
  return (int32_t)word;
}

/* Widen k <= CHUNK inputs of four rows. */
static void widen(wide *to, const int8_t *const x[ROWS], int32_t k) {
  for (int32_t i = 0; i < k; i += 4, to++) {
    for (int32_t r = 0; r < ROWS; r++) {
      const int32_t word = load_some(x[r] + i, k - i);
      to->row[r].even = eq_even(word);
      to->row[r].odd = eq_odd(word);
    }
  }
}

/* sums[r * TILE] += x[r] * w over k inputs. Assembly, since compilers load no four words with one instruction; r7 and r11 are
 * left alone, one of which is the frame pointer. */
static inline void add_products(int32_t *sums, const wide *x, const int8_t *w, int32_t k) {
  int32_t s0 = sums[0], s1 = sums[TILE], s2 = sums[2 * TILE], s3 = sums[3 * TILE];
  int32_t left = k / 4, even, odd;
#define FOUR_INPUTS                         \
  "ldr %[odd], [%[w]], #4\n"                \
  "ldmia %[x]!, {r4, r5, r6, r8}\n"         \
  "sxtb16 %[even], %[odd]\n"                \
  "sxtb16 %[odd], %[odd], ror #8\n"         \
  "smlad %[s0], r4, %[even], %[s0]\n"       \
  "smlad %[s1], r6, %[even], %[s1]\n"       \
  "smlad %[s0], r5, %[odd], %[s0]\n"        \
  "smlad %[s1], r8, %[odd], %[s1]\n"        \
  "ldmia %[x]!, {r4, r5, r6, r8}\n"         \
  "smlad %[s2], r4, %[even], %[s2]\n"       \
  "smlad %[s3], r6, %[even], %[s3]\n"       \
  "smlad %[s2], r5, %[odd], %[s2]\n"        \
  "smlad %[s3], r8, %[odd], %[s3]\n"
  if (left > 0) {
    __asm__ volatile(
        "tst %[left], #1\n"
        "beq 1f\n"
        FOUR_INPUTS
        "subs %[left], %[left], #1\n"
        "beq 2f\n"
        "1:\n"
        FOUR_INPUTS
        "subs %[left], %[left], #2\n"
        FOUR_INPUTS
        "bne 1b\n"
        "2:\n"
        : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [x] "+r"(x), [w] "+r"(w), [left] "+r"(left),
          [even] "=&r"(even), [odd] "=&r"(odd)
        :
        : "cc", "memory", "r4", "r5", "r6", "r8");
  }
#undef FOUR_INPUTS
  if (k % 4 != 0) {
    const int32_t word = load_some(w, k % 4);
    even = eq_even(word);
    odd = eq_odd(word);
    s0 = __smlad(x->row[0].odd, odd, __smlad(x->row[0].even, even, s0));
    s1 = __smlad(x->row[1].odd, odd, __smlad(x->row[1].even, even, s1));
    s2 = __smlad(x->row[2].odd, odd, __smlad(x->row[2].even, even, s2));
    s3 = __smlad(x->row[3].odd, odd, __smlad(x->row[3].even, even, s3));
  }
  sums[0] = s0, sums[TILE] = s1, sums[2 * TILE] = s2, sums[3 * TILE] = s3;
}

/* The sum of one row and channel. */
static int32_t dot(const int8_t *x, const int8_t *w, int32_t k) {
  int32_t sum = 0, i = 0;
  for (; i + 4 <= k; i += 4) {
    const int32_t a = eq_load_word(x + i), b = eq_load_word(w + i);
    sum = __smlad(eq_odd(a), eq_odd(b), __smlad(eq_even(a), eq_even(b), sum));
  }
  for (; i < k; i++) sum += x[i] * w[i];
  return sum;
}

static int32_t sum_of(const int8_t *x, int32_t k) {
  int32_t sum = 0;
  for (int32_t i = 0; i < k; i++) sum += x[i];
  return sum;
}

/* All channels of `rows` rows. */
static void run_rows(int8_t *out, size_t out_stride, const int8_t *x, size_t x_stride, const int8_t *w, int32_t rows,
                     int32_t n, int32_t k, const eq_linear_s8 *linear, bool fast) {
  wide inputs[CHUNK / 4];
  int32_t sums[ROWS * TILE], corrections[ROWS]; /* sum_i x[i] * weights_zero */
  const int8_t *row[ROWS];
  for (int32_t r = 0; r < ROWS; r++) {
    row[r] = x + (size_t)eq_min32(r, rows - 1) * x_stride;
    corrections[r] = linear->weights_zero == 0 ? 0 : linear->weights_zero * sum_of(row[r], k);
  }
  for (int32_t first = 0; first < n; first += TILE) {
    const int32_t count = eq_min32(n - first, TILE);
    for (int32_t r = 0; r < ROWS; r++) {
      for (int32_t c = 0; c < count; c++) sums[r * TILE + c] = -corrections[r];
    }
    const int8_t *weights = w + (size_t)first * (size_t)k;
    if (rows == 1) {
      for (int32_t c = 0; c < count; c++) sums[c] += dot(x, weights + (size_t)c * (size_t)k, k);
    } else {
      for (int32_t from = 0; from < k; from += CHUNK) {
        const int32_t inputs_here = eq_min32(k - from, CHUNK);
        if (first == 0 || k > CHUNK) {
          const int8_t *const part[ROWS] = {row[0] + from, row[1] + from, row[2] + from, row[3] + from};
          widen(inputs, part, inputs_here);
        }
        for (int32_t c = 0; c < count; c++) add_products(sums + c, inputs, weights + (size_t)c * (size_t)k + from, inputs_here);
      }
    }
    for (int32_t r = 0; r < rows; r++) {
      eq_requant_s8_v6(out + (size_t)r * out_stride + first, sums + r * TILE, first, count, linear, fast);
    }
  }
}

void eq_gemm_s8_v6(int8_t *out, size_t out_stride, const int8_t *x, size_t x_stride, const int8_t *w, int32_t m, int32_t n,
                   int32_t k, const eq_linear_s8 *linear) {
  const bool fast = k <= FAST && eq_scales_fast(linear, n);
  for (int32_t row = 0; row < m; row += ROWS) {
    run_rows(out, out_stride, x, x_stride, w, eq_min32(m - row, ROWS), n, k, linear, fast);
    out += ROWS * out_stride;
    x += ROWS * x_stride;
  }
}
#endif
