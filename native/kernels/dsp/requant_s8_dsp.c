/* SPDX-License-Identifier: Apache-2.0
 * The last part of the DSP kernels of linear layers: sums to codes, four rows at a time. The loop over them is in assembly,
 * as compilers keep its addresses in memory. */
#if defined(__ARM_FEATURE_DSP) && __ARM_ARCH_PROFILE == 'M'
#include "kernels/dsp/requant_dsp.h"

enum { BIAS_BITS = 29, LONGEST = 1 << 15 /* products that add up to less than 2^29 */ };

static int32_t mode_of(const eq_linear_s8 *linear) { return eq_mode(linear->mode); }

bool eq_is_fast_dsp(const eq_linear_s8 *linear, int32_t n, int32_t k) {
  const int32_t mode = mode_of(linear);
  if (mode == EQ_MODE_EXACT || k > LONGEST) return false;
  const uint32_t more = mode == EQ_MODE_DOUBLE ? 0 : 0x01010101; /* with that every shift is still negative */
  uint32_t signs = 0x80808080;
  int32_t c = 0;
  for (; c + 4 <= n; c += 4) {
    uint32_t four;
    __asm__("ldr %0, %1\n\tuadd8 %0, %0, %2" : "=&r"(four) : "m"(*(const int8_t(*)[4])(linear->shifts + c)), "r"(more));
    signs &= four;
  }
  if (signs != 0x80808080) return false;
  for (; c < n; c++) {
    if (linear->shifts[c] + (int32_t)(more & 1) >= 0) return false;
  }
  if (mode == EQ_MODE_DOUBLE) {
    uint32_t large = 0;
    const int32_t *bias = linear->bias;
    const uint32_t middle = UINT32_C(1) << BIAS_BITS;
    for (c = n; c >= 4; c -= 4, bias += 4) {
      large |= ((uint32_t)bias[0] + middle) | ((uint32_t)bias[1] + middle);
      large |= ((uint32_t)bias[2] + middle) | ((uint32_t)bias[3] + middle);
    }
    for (; c > 0; c--) large |= (uint32_t)*bias++ + middle;
    if (large >> (BIAS_BITS + 1) != 0) return false;
  }
  return true;
}

/* Any numbers; a channel's sums lie c_step apart, its rows one after the other. */
static __attribute__((noinline)) void scale_slowly(int8_t *out, size_t stride, const int32_t *sums, int32_t c_step,
                                                   int32_t rows, int32_t first, int32_t n, const eq_linear_s8 *linear) {
  const int32_t mode = mode_of(linear), low = linear->act_min - linear->zero, high = linear->act_max - linear->zero;
  for (int32_t c = 0; c < n; c++, sums += c_step) {
    const int32_t m = linear->multipliers[first + c], shift = linear->shifts[first + c];
    for (int32_t r = 0; r < rows; r++) {
      const int32_t y = eq_clamp32(eq_requant(sums[r], m, shift, mode), low, high);
      out[(size_t)r * stride + (size_t)c] = (int8_t)(y + linear->zero);
    }
  }
}

/* Bounds that leave codes out; rare, so codes are read again. */
static __attribute__((noinline)) void clamp(int8_t *out, size_t stride, int32_t rows, int32_t n,
                                            const eq_linear_s8 *linear) {
  for (int32_t r = 0; r < rows; r++, out += stride) {
    for (int32_t c = 0; c < n; c++) out[c] = (int8_t)eq_clamp32(out[c], linear->act_min, linear->act_max);
  }
}

static bool leaves_codes_out(const eq_linear_s8 *linear) {
  return linear->act_min > INT8_MIN || linear->act_max < INT8_MAX;
}

#define LINE(text) text "\n\t"
#define DOUBLE_CODE(x)                     \
  LINE("lsl " x ", " x ", #1")             \
  LINE("smmulr " x ", " x ", r6")          \
  LINE("add " x ", " x ", " x ", asr #31") \
  LINE("asrs " x ", " x ", r7")            \
  LINE("adc " x ", " x ", r5")             \
  LINE("ssat " x ", #8, " x)
#define SINGLE_CODE(x)           \
  LINE("smmul " x ", " x ", r6") \
  LINE("asrs " x ", " x ", r7")  \
  LINE("adc " x ", " x ", r5")   \
  LINE("ssat " x ", #8, " x)

/* eq_scaled_dsp of four rows or, where their offsets are 0, of one, channel after channel. EXPONENT makes its e of the
 * shift in r7. */
#define SCALE(CODE, EXPONENT)                  \
  LINE("push {r4-r11, lr}")                    \
  LINE("ldmia r1!, {r2-r5, r12, lr}")          \
  LINE("ldrd r1, r6, [r1]")                    \
  LINE("push {r6}")                            \
  LINE("cmp r12, #0")                          \
  LINE("beq 2f")                               \
  "1:\n\t"                                     \
  LINE("ldr r6, [r3], #4")                     \
  LINE("ldmia r2!, {r8-r11}")                  \
  LINE("ldrsb r7, [r4], #1")                   \
  LINE(EXPONENT)                               \
  CODE("r8") CODE("r9") CODE("r10") CODE("r11") \
  LINE("ldr r6, [sp]")                         \
  LINE("strb r11, [r0, r12]")                  \
  LINE("strb r10, [r0, r6]")                   \
  LINE("strb r9, [r0, r1]")                    \
  LINE("strb r8, [r0], #1")                    \
  LINE("subs lr, #1")                          \
  LINE("bne 1b")                               \
  LINE("pop {r3, r4-r11, pc}")                 \
  "2:\n\t"                                     \
  LINE("ldr r6, [r3], #4")                     \
  LINE("ldr r8, [r2], #16")                    \
  LINE("ldrsb r7, [r4], #1")                   \
  LINE(EXPONENT)                               \
  CODE("r8")                                   \
  LINE("strb r8, [r0], #1")                    \
  LINE("subs lr, #1")                          \
  LINE("bne 2b")                               \
  LINE("pop {r3, r4-r11, pc}")

#pragma GCC diagnostic ignored "-Wunused-parameter" /* the assembly uses them */
static __attribute__((naked, noinline)) void scale_double(int8_t *out, const eq_tile_dsp *t) {
  __asm__(SCALE(DOUBLE_CODE, "rsb r7, r7, #0"));
}
static __attribute__((naked, noinline)) void scale_single(int8_t *out, const eq_tile_dsp *t) {
  __asm__(SCALE(SINGLE_CODE, "mvn r7, r7"));
}

eq_scale_dsp *eq_scale_of_dsp(const eq_linear_s8 *linear) {
  return mode_of(linear) == EQ_MODE_DOUBLE ? scale_double : scale_single; /* powers of two as well */
}

void eq_requant_tile_dsp(int8_t *out, size_t out_stride, const eq_tile_dsp *t, int32_t rows, int32_t first,
                         const eq_linear_s8 *linear, eq_scale_dsp *scale) {
  if (scale == NULL) {
    scale_slowly(out, out_stride, t->sums, EQ_ROWS_DSP, rows, first, t->n, linear);
    return;
  }
  scale(out, t);
  if (leaves_codes_out(linear)) clamp(out, out_stride, rows, t->n, linear);
}

static inline __attribute__((always_inline)) void scale_row(int8_t *out, const int32_t *x, int32_t first, int32_t n,
                                                            const eq_linear_s8 *linear, int32_t mode) {
  const int32_t *m = linear->multipliers + first;
  const int8_t *shifts = linear->shifts + first;
  const int32_t zero = linear->zero, most = mode == EQ_MODE_SINGLE ? -1 : 0;
  for (int8_t *const end = out + n; out != end;) {
    const int32_t multiplier = *m++, e = most - *shifts++;
    *out++ = (int8_t)eq_saturated_dsp(eq_scaled_dsp(*x++, multiplier, e, zero, mode));
  }
}

void eq_requant_row_dsp(int8_t *out, const int32_t *sums, int32_t first, int32_t n, const eq_linear_s8 *linear, bool fast) {
  if (!fast) {
    scale_slowly(out, 0, sums, 1, 1, first, n, linear);
    return;
  }
  if (mode_of(linear) == EQ_MODE_DOUBLE) {
    scale_row(out, sums, first, n, linear, EQ_MODE_DOUBLE);
  } else {
    scale_row(out, sums, first, n, linear, EQ_MODE_SINGLE);
  }
  if (leaves_codes_out(linear)) clamp(out, 0, 1, n, linear);
}
#endif
