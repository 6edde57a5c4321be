/* SPDX-License-Identifier: Apache-2.0
 * Matrix product of int8 rows with int8 weights, one row by four channels at a time. */
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
#include "edgeq/fixed_point.h"
#include "kernels/thumb/requant_thumb.h"

enum { CHANNELS = 4, UNROLLED = 4 /* inputs of a turn of the loop */ };

/* What the assembly takes; it knows the offsets. */
typedef struct product {
  const int8_t *x; /* behind its last input */
  const int8_t *w; /* behind the first channel's last */
  int32_t k;
  int32_t first_turn; /* -k without k % UNROLLED inputs */
  int32_t *sums;
  int32_t groups; /* of four channels, >= 1 */
} product;

/* One input and four channels: r0 is x, r1 to r4 are w, all from their ends on, r5 counts up to 0, r8 to r11 are the sums.
 * No other tile needs fewer cycles a product by much: of two rows by two channels, one product must be copied. */
#define STEP                   \
  "ldrsb r6, [r0, r5]\n\t"     \
  "ldrsb r7, [r1, r5]\n\t"     \
  "muls r7, r6, r7\n\t"        \
  "add r8, r8, r7\n\t"         \
  "ldrsb r7, [r2, r5]\n\t"     \
  "muls r7, r6, r7\n\t"        \
  "add r9, r9, r7\n\t"         \
  "ldrsb r7, [r3, r5]\n\t"     \
  "muls r7, r6, r7\n\t"        \
  "add r10, r10, r7\n\t"       \
  "ldrsb r7, [r4, r5]\n\t"     \
  "muls r7, r6, r7\n\t"        \
  "add r11, r11, r7\n\t"       \
  "adds r5, r5, #1\n\t"

static EQ_THUMB_FUNCTION void multiply_1x4(__attribute__((unused)) product *p) {
  __asm__(EQ_THUMB_BEGIN
          "1:\n\t"
          "ldr r7, [sp]\n\t"
          "ldm r7!, {r0-r2, r5}\n\t"
          "mov r12, r5\n\t"
          "movs r6, r2\n\t"
          "adds r2, r1, r6\n\t"
          "adds r3, r2, r6\n\t"
          "adds r4, r3, r6\n\t"
          "adds r5, r4, r6\n\t"
          "subs r7, r7, #12\n\t"
          "str r5, [r7]\n\t" /* of the next group */
          "rsbs r5, r6, #0\n\t"
          "movs r6, #0\n\t"
          "mov r8, r6\n\t"
          "mov r9, r6\n\t"
          "mov r10, r6\n\t"
          "mov r11, r6\n\t"
          "b 3f\n\t"
          "2:\n\t" STEP
          "3:\n\t"
          "cmp r5, r12\n\t"
          "bne 2b\n\t"
          "cmp r5, #0\n\t"
          "beq 5f\n\t"
          "4:\n\t" STEP STEP STEP STEP
          "bne 4b\n\t"
          "5:\n\t"
          "ldr r7, [sp]\n\t"
          "ldr r6, [r7, #16]\n\t"
          "mov r0, r8\n\t"
          "mov r1, r9\n\t"
          "mov r2, r10\n\t"
          "mov r3, r11\n\t"
          "stm r6!, {r0-r3}\n\t"
          "str r6, [r7, #16]\n\t"
          "ldr r5, [r7, #20]\n\t"
          "subs r5, r5, #1\n\t"
          "str r5, [r7, #20]\n\t"
          "bne 1b\n\t" EQ_THUMB_END);
}

static int32_t dot(const int8_t *x, const int8_t *w, int32_t k) {
  int32_t sum = 0;
  for (int32_t i = 0; i < k; i++) sum += x[i] * w[i];
  return sum;
}

static int32_t sum_of(const int8_t *x, int32_t k) {
  int32_t sum = 0;
  for (int32_t i = 0; i < k; i++) sum += x[i];
  return sum;
}

void eq_gemm_s8_thumb(int8_t *out, size_t out_stride, const int8_t *x, size_t x_stride, const int8_t *w, int32_t m,
                      int32_t n, int32_t k, const eq_linear_s8 *linear) {
  int32_t sums[EQ_TILE];
  for (; m > 0; m--, x += x_stride, out += out_stride) {
    const int32_t correction = linear->weights_zero == 0 ? 0 : linear->weights_zero * sum_of(x, k);
    const int8_t *weights = w;
    for (int32_t first = 0; first < n; first += EQ_TILE) {
      const int32_t count = eq_min32(n - first, EQ_TILE);
      product p = {x + k, weights + k, k, -(k - k % UNROLLED), sums, count / CHANNELS};
      int32_t done = CHANNELS * p.groups;
      if (done > 0) multiply_1x4(&p);
      for (; done < count; done++) sums[done] = dot(x, weights + (size_t)done * (size_t)k, k);
      for (int32_t c = 0; c < count && correction != 0; c++) sums[c] -= correction;
      eq_requant_s8_thumb(out + first, sums, first, count, linear);
      weights += (size_t)count * (size_t)k;
    }
  }
}
#endif
