/* SPDX-License-Identifier: Apache-2.0
 * From int32 sums to int8 codes, for one row of sums or for two that share the loads of their constants. */
#if defined(__ARM_ARCH_7M__)
#include "kernels/thumb2/requant_thumb2.h"

/* What the assembly takes; it knows the order. */
typedef struct codes {
  const int32_t *sums; /* those of a second row lie EQ_TILE further on */
  const int32_t *multipliers;
  const int8_t *shifts;
  int8_t *out;
  int8_t *second;
  const int32_t *end; /* of sums */
  int32_t zero;
} codes;
_Static_assert(EQ_TILE == 16, "the assembly has the distance of the second row's sums");

#define ROUND_DOUBLE                       \
  "adds r11, r11, #0x40000000\n\t"         \
  "adc lr, lr, #0\n\t"                     \
  "adds r11, r11, r11\n\t"                 \
  "adc lr, lr, lr\n\t"                     \
  "add lr, lr, lr, asr #31\n\t"            \
  "asrs lr, lr, r8\n\t"
#define ROUND_SINGLE                       \
  "adds r11, r11, r11\n\t"                 \
  "adc lr, lr, lr\n\t"                     \
  "asrs lr, lr, r8\n\t"
/* The code of the sum in r12. */
#define CODE(round, to)                    \
  "smull r11, lr, r12, r10\n\t" round      \
  "adc lr, lr, r6\n\t"                     \
  "ssat lr, #8, lr\n\t"                    \
  "strb lr, [" to "], #1\n\t"

/* Codes as long as shifts are below 0, with all codes within the bounds; returns where in the sums it stopped. The
 * arithmetic is that of eq_scale_double and eq_scale_single. */
#define CODES(name, second_row, last_row)                                                     \
  static __attribute__((naked, noinline)) const int32_t *name(__attribute__((unused)) const codes *c) { \
    __asm__(                                                                                  \
        "push {r4-r11, lr}\n\t"                                                               \
        "ldm r0, {r0-r6}\n\t"                                                                 \
        "1:\n\t"                                                                              \
        "ldrsb r8, [r2], #1\n\t"                                                              \
        "ldr r10, [r1], #4\n\t"                                                               \
        "rsbs r8, r8, #0\n\t"                                                                 \
        "ble 2f\n\t" second_row                                                               \
        "ldr r12, [r0], #4\n\t" last_row                                                      \
        "cmp r0, r5\n\t"                                                                      \
        "bne 1b\n\t"                                                                          \
        "2:\n\t"                                                                              \
        "pop {r4-r11, pc}");                                                                  \
  }
#define SECOND(round) "ldr r12, [r0, #64]\n\t" CODE(round, "r4")
CODES(double_one, "", CODE(ROUND_DOUBLE, "r3"))
CODES(double_two, SECOND(ROUND_DOUBLE), CODE(ROUND_DOUBLE, "r3"))
CODES(single_one, "", CODE(ROUND_SINGLE, "r3"))
CODES(single_two, SECOND(ROUND_SINGLE), CODE(ROUND_SINGLE, "r3"))

/* Any bounds and shifts. */
static void run(int8_t *restrict out, const int32_t *restrict sums, int32_t first, int32_t n, const eq_linear_s8 *linear,
                int32_t mode) {
  const int32_t zero = linear->zero, low = linear->act_min, high = linear->act_max;
  for (int32_t i = 0, c = first; i < n; i++, c++) {
    out[i] = (int8_t)eq_clamp32(eq_scale(sums[i], linear->multipliers[c], linear->shifts[c], mode, zero), low, high);
  }
}

static void run_rows(int8_t *out, int8_t *second, const int32_t *sums, int32_t first, int32_t n,
                     const eq_linear_s8 *linear, int32_t mode) {
  run(out, sums, first, n, linear, mode);
  if (second != NULL) run(second, sums + EQ_TILE, first, n, linear, mode);
}

void eq_requant_s8_thumb2(int8_t *out, int8_t *second, const int32_t *sums, int32_t first, int32_t n,
                          const eq_linear_s8 *linear) {
  const int32_t mode = eq_mode(linear->mode);
  if (mode == EQ_MODE_EXACT || linear->act_min != INT8_MIN || linear->act_max != INT8_MAX) {
    run_rows(out, second, sums, first, n, linear, mode);
    return;
  }
  for (int32_t i = 0; i < n; i++) {
    const int32_t c = first + i;
    const codes from = {
        .sums = sums + i, .multipliers = linear->multipliers + c, .shifts = linear->shifts + c, .out = out + i,
        .second = second == NULL ? NULL : second + i, .end = sums + n, .zero = linear->zero,
    };
    const int32_t *stopped;
    if (mode == EQ_MODE_DOUBLE) {
      stopped = second == NULL ? double_one(&from) : double_two(&from);
    } else {
      stopped = second == NULL ? single_one(&from) : single_two(&from);
    }
    i = (int32_t)(stopped - sums);
    if (i < n) run_rows(out + i, second == NULL ? NULL : second + i, sums + i, first + i, 1, linear, mode);
  }
}
#endif
