/* SPDX-License-Identifier: Apache-2.0
 * Matrix product of int8 rows with int8 weights: two rows by three or two channels at a time, or one row by four. */
#if defined(__ARM_ARCH_7M__)
#include "kernels/kernels.h"
#include "kernels/thumb2/requant_thumb2.h"

enum { UNROLLED = 8 /* inputs of a turn of the loop */ };
_Static_assert(EQ_TILE == 16, "the assembly has the distance of the second row's sums");

/* What the assembly below takes; it knows the offsets. */
typedef struct product {
  const int8_t *x0;
  const int8_t *x1; /* of one row alone: the number 3 * k */
  const int8_t *w;  /* of the first channel; each has k */
  int32_t k;
  const int8_t *odd_end; /* of x0, k % UNROLLED inputs on */
  const int8_t *end;     /* of x0 */
  int32_t *sums;         /* of the first channel; those of the second row lie EQ_TILE further on */
  int32_t groups;        /* of channels, >= 1 */
  const int32_t *bias;   /* of the first channel */
} product;

/* One input of each row and channel: r0 and r1 are x0 and x1, r2 is w, r3 is k, r4 to r6 and r7 to r9 the sums of the rows.
 * With r10 to r12 and lr for operands, no register is left; the end waits on the stack. Loads that follow each other take
 * one cycle but the first. */
#define ROWS                  \
  "ldrsb r10, [r0], #1\n\t"   \
  "ldrsb r11, [r1], #1\n\t"   \
  "ldrsb r12, [r2, r3]\n\t"
#define FIRST_CHANNEL "ldrsb lr, [r2], #1\n\t"
#define THIRD_CHANNEL "ldrsb lr, [r2, r3, lsl #1]\n\t"
#define SECOND_PRODUCTS        \
  "mla r5, r10, r12, r5\n\t"   \
  "mla r8, r11, r12, r8\n\t"
#define FIRST_PRODUCTS        \
  "mla r4, r10, lr, r4\n\t"   \
  "mla r7, r11, lr, r7\n\t"
#define THIRD_PRODUCTS        \
  "mla r6, r10, lr, r6\n\t"   \
  "mla r9, r11, lr, r9\n\t"

#define LOAD_2X3                 \
  "ldm r10!, {r4, r5, r6}\n\t"   \
  "mov r7, r4\n\t"               \
  "mov r8, r5\n\t"               \
  "mov r9, r6\n\t"
#define STEP_2X3 ROWS THIRD_CHANNEL SECOND_PRODUCTS THIRD_PRODUCTS FIRST_CHANNEL FIRST_PRODUCTS
#define STORE_2X3                 \
  "strd r4, r5, [r10]\n\t"        \
  "str r6, [r10, #8]\n\t"         \
  "strd r7, r8, [r10, #64]\n\t"   \
  "str r9, [r10, #72]\n\t"       \
  "adds r10, #12\n\t"             \
  "subs r1, r1, r3\n\t"           \
  "add r2, r2, r3, lsl #1\n\t"

#define LOAD_2X2             \
  "ldm r10!, {r4, r5}\n\t"   \
  "mov r7, r4\n\t"           \
  "mov r8, r5\n\t"
#define STEP_2X2 ROWS FIRST_CHANNEL SECOND_PRODUCTS FIRST_PRODUCTS
#define STORE_2X2                 \
  "strd r4, r5, [r10]\n\t"        \
  "strd r7, r8, [r10, #64]\n\t"   \
  "adds r10, #8\n\t"              \
  "subs r1, r1, r3\n\t"           \
  "add r2, r2, r3\n\t"

/* r1 is 3 * k. */
#define LOAD_1X4 "ldm r10!, {r4-r7}\n\t"
#define STEP_1X4                     \
  "ldrsb r10, [r0], #1\n\t"          \
  "ldrsb r8, [r2, r3]\n\t"           \
  "ldrsb r9, [r2, r3, lsl #1]\n\t"   \
  "ldrsb r11, [r2, r1]\n\t"          \
  "ldrsb r12, [r2], #1\n\t"          \
  "mla r5, r10, r8, r5\n\t"          \
  "mla r6, r10, r9, r6\n\t"          \
  "mla r7, r10, r11, r7\n\t"         \
  "mla r4, r10, r12, r4\n\t"
#define STORE_1X4                \
  "strd r4, r5, [r10]\n\t"       \
  "strd r6, r7, [r10, #8]\n\t"   \
  "adds r10, #16\n\t"            \
  "add r2, r2, r1\n\t"

/* Assembly, since compilers spill in these loops. */
#define PRODUCTS(name, load, step, store)                                               \
  static __attribute__((naked, noinline)) void name(__attribute__((unused)) product *p) { \
    __asm__(                                                                            \
        "push {r0, r4-r11, lr}\n\t"                                                     \
        "ldr r4, [r0, #20]\n\t"                                                         \
        "push {r4}\n\t"                                                                 \
        "ldm r0, {r0-r3}\n\t"                                                           \
        "1:\n\t"                                                                        \
        "ldr r12, [sp, #4]\n\t"                                                         \
        "ldr r10, [r12, #32]\n\t" load                                                  \
        "str r10, [r12, #32]\n\t"                                                       \
        "ldr r12, [r12, #16]\n\t"                                                       \
        "cmp r0, r12\n\t"                                                               \
        "beq 3f\n\t"                                                                    \
        "2:\n\t" step                                                                   \
        "ldr r12, [sp, #4]\n\t"                                                         \
        "ldr r12, [r12, #16]\n\t"                                                       \
        "cmp r0, r12\n\t"                                                               \
        "bne 2b\n\t"                                                                    \
        "3:\n\t"                                                                        \
        "ldr r12, [sp]\n\t"                                                             \
        "cmp r0, r12\n\t"                                                               \
        "beq 5f\n\t"                                                                    \
        "4:\n\t"                                                                        \
        ".rept 8\n\t" step ".endr\n\t"                                                  \
        "ldr r12, [sp]\n\t"                                                             \
        "cmp r0, r12\n\t"                                                               \
        "bne 4b\n\t"                                                                    \
        "5:\n\t"                                                                        \
        "ldr r12, [sp, #4]\n\t"                                                         \
        "ldrd r10, r11, [r12, #24]\n\t"                                                 \
        store                                                                           \
        "subs r0, r0, r3\n\t"                                                           \
        "subs r11, #1\n\t"                                                              \
        "strd r10, r11, [r12, #24]\n\t"                                                 \
        "bne 1b\n\t"                                                                    \
        "pop {r4}\n\t"                                                                  \
        "pop {r0, r4-r11, pc}");                                                        \
  }
PRODUCTS(multiply_2x3, LOAD_2X3, STEP_2X3, STORE_2X3)
PRODUCTS(multiply_2x2, LOAD_2X2, STEP_2X2, STORE_2X2)
PRODUCTS(multiply_1x4, LOAD_1X4, STEP_1X4, STORE_1X4)

static int32_t dot(int32_t sum, const int8_t *x, const int8_t *w, int32_t k) {
  for (const int8_t *end = x + k; x < end;) sum = eq_add32(sum, *x++ * *w++);
  return sum;
}

/* The sums, begun with the bias, of n <= EQ_TILE channels of two rows, or of one when x1 is NULL. */
static void multiply(int32_t *sums, const int8_t *x0, const int8_t *x1, const int8_t *w, const int32_t *bias, int32_t n,
                     int32_t k) {
  product p = {x0, x1, w, k, x0 + k % UNROLLED, x0 + k, sums, 0, bias};
  int32_t done = 0;
  if (x1 == NULL) {
    p.x1 = (const int8_t *)(uintptr_t)(3 * (uint32_t)k);
    p.groups = n / 4;
    done = 4 * p.groups;
    if (p.groups > 0) multiply_1x4(&p);
  } else if (n > 1) {
    const int32_t pairs = n % 3 == 0 ? 0 : 3 - n % 3; /* 4 = 2 + 2, 5 = 3 + 2 */
    p.groups = (n - 2 * pairs) / 3;
    done = n;
    if (p.groups > 0) multiply_2x3(&p);
    p.w = w + (size_t)(n - 2 * pairs) * (size_t)k;
    p.sums = sums + (n - 2 * pairs);
    p.bias = bias + (n - 2 * pairs);
    p.groups = pairs;
    if (pairs > 0) multiply_2x2(&p);
  }
  for (; done < n; done++) {
    const int8_t *channel = w + (size_t)done * (size_t)k;
    sums[done] = dot(bias[done], x0, channel, k);
    if (x1 != NULL) sums[EQ_TILE + done] = dot(bias[done], x1, channel, k);
  }
}

/* Subtract weights_zero times the sum of the row. */
static void correct(int32_t *sums, int32_t n, const int8_t *x, int32_t k, int32_t weights_zero) {
  int32_t sum = 0;
  for (int32_t i = 0; i < k; i++) sum += x[i];
  for (int32_t c = 0; c < n; c++) sums[c] = eq_sub32(sums[c], weights_zero * sum);
}

void eq_gemm_s8_thumb2(int8_t *out, size_t out_stride, const int8_t *x, size_t x_stride, const int8_t *w, int32_t m,
                       int32_t n, int32_t k, const eq_linear_s8 *linear) {
  int32_t sums[2 * EQ_TILE];
  for (; m > 0; m -= 2, x += 2 * x_stride, out += 2 * out_stride) {
    const int8_t *second = m > 1 ? x + x_stride : NULL;
    for (int32_t first = 0; first < n; first += EQ_TILE) {
      const int32_t count = eq_min32(n - first, EQ_TILE);
      multiply(sums, x, second, w + (size_t)first * (size_t)k, linear->bias + first, count, k);
      if (linear->weights_zero != 0) {
        correct(sums, count, x, k, linear->weights_zero);
        if (second != NULL) correct(sums + EQ_TILE, count, second, k, linear->weights_zero);
      }
      eq_requant_s8_thumb2(out + first, second == NULL ? NULL : out + out_stride + first, sums, first, count, linear);
    }
  }
}
#endif
