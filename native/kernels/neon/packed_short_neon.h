/* SPDX-License-Identifier: Apache-2.0
 * Rows of at most eight inputs times sixteen packed channels (layout C4K16).
 *
 * With so few inputs a tile would mostly add up its sums' lanes. Here channels stay in lanes: a vector of weights is two
 * inputs of each of eight channels, an input pair is copied to every lane, and the one addition of neighbours that
 * widens products to int32 also adds them to the bias. A row's sums become codes among the next row's products. */
#ifndef EDGEQ_PACKED_SHORT_NEON_H
#define EDGEQ_PACKED_SHORT_NEON_H

#include "kernels/neon/requant_neon.h"

enum { EQ_SHORT_INPUTS = 8, EQ_SHORT_CHANNELS = 16 };

/* What sixteen channels need beside their biases and multipliers. */
typedef struct eq_short_channels {
  int8x16_t weights[2][4]; /* of each half: input pairs; channels 0-3 and 4-7 of the half in halves of the vector */
  int32x4_t shifts[4]; /* less one in form SHIFT */
  int16x8_t zero;
} eq_short_channels;
_Static_assert(offsetof(eq_short_channels, shifts) == 128 && offsetof(eq_short_channels, zero) == 192,
               "assembly knows these offsets");

/* False when a weight is -128: then two products may leave int16. Groups of four channels are group_bytes apart. */
static inline bool eq_load_short(eq_short_channels *s, const int8_t *weights, size_t group_bytes,
                                 const eq_linear_s8 *linear, eq_requant_form form) {
  int8x16_t least = vdupq_n_s8(0);
  for (int half = 0; half < 2; half++) {
    /* a channel's second four pairs are padding, and lie in the upper halves of 32 bits */
    const int16_t *group = (const int16_t *)(const void *)(weights + 16);
    const int16x8x4_t low = vld4q_s16(group);
    const int16x8x4_t high = vld4q_s16(group + group_bytes / 2);
    for (int pair = 0; pair < 4; pair++) {
      const int16x4_t four = vmovn_s32(vreinterpretq_s32_s16(low.val[pair]));
      s->weights[half][pair] = vreinterpretq_s8_s16(vmovn_high_s32(four, vreinterpretq_s32_s16(high.val[pair])));
      least = vminq_s8(least, s->weights[half][pair]);
    }
    weights += 2 * group_bytes;
    int16x8_t shifts = vmovl_s8(vld1_s8(linear->shifts + 8 * half));
    if (form == EQ_FORM_SHIFT) shifts = vsubq_s16(shifts, vdupq_n_s16(1));
    s->shifts[2 * half] = vmovl_s16(vget_low_s16(shifts));
    s->shifts[2 * half + 1] = vmovl_high_s16(shifts);
  }
  s->zero = vdupq_n_s16((int16_t)linear->zero);
  return vminvq_s8(least) > INT8_MIN;
}

/* Registers: v0 inputs, v1-v4 the finished row's results, v5 and v6 input pairs, v7 the output's zero point, v8-v11 pairs
 * of products, v12-v15 sums, v16-v19 and v20-v23 weights of the halves, v24-v27 multipliers, v28-v31 shifts. */
#define EQ_SHORT_PAIR(to, pair) "dup v" #to ".8h, v0.h[" #pair "]\n"
#define EQ_SHORT_BIASES                                           \
  "ldr q12, [%[bias]]\n" "ldr q13, [%[bias], #16]\n"             \
  "ldr q14, [%[bias], #32]\n" "ldr q15, [%[bias], #48]\n"
#define EQ_SHORT_PRODUCTS(op, x, w, v)                                                                  \
  op " v8.8h, v" #x ".8b, v" #w ".8b\n" op "2 v9.8h, v" #x ".16b, v" #w ".16b\n"                        \
  op " v10.8h, v" #x ".8b, v" #v ".8b\n" op "2 v11.8h, v" #x ".16b, v" #v ".16b\n"
#define EQ_SHORT_ADD                                              \
  "sadalp v12.4s, v8.8h\n" "sadalp v13.4s, v9.8h\n"               \
  "sadalp v14.4s, v10.8h\n" "sadalp v15.4s, v11.8h\n"
#define EQ_SHORT_HIGH(op)                                                         \
  op " v1.4s, v12.4s, v24.4s\n" op " v2.4s, v13.4s, v25.4s\n"                     \
  op " v3.4s, v14.4s, v26.4s\n" op " v4.4s, v15.4s, v27.4s\n"
#define EQ_SHORT_SHIFT                                                            \
  "srshl v1.4s, v1.4s, v28.4s\n" "srshl v2.4s, v2.4s, v29.4s\n"                   \
  "srshl v3.4s, v3.4s, v30.4s\n" "srshl v4.4s, v4.4s, v31.4s\n"
#define EQ_SHORT_SHIFT_ALONE                                                      \
  "srshl v1.4s, v12.4s, v28.4s\n" "srshl v2.4s, v13.4s, v29.4s\n"                 \
  "srshl v3.4s, v14.4s, v30.4s\n" "srshl v4.4s, v15.4s, v31.4s\n"
#define EQ_SHORT_NARROW_1 "sqxtn v1.4h, v1.4s\n" "sqxtn v3.4h, v3.4s\n"
#define EQ_SHORT_NARROW_2 "sqxtn2 v1.8h, v2.4s\n" "sqxtn2 v3.8h, v4.4s\n"
#define EQ_SHORT_ZERO "sqadd v1.8h, v1.8h, v7.8h\n" "sqadd v3.8h, v3.8h, v7.8h\n"
#define EQ_SHORT_CODES_1 "sqxtn v1.8b, v1.8h\n"
#define EQ_SHORT_CODES_2 "sqxtn2 v1.16b, v3.8h\n"
#define EQ_SHORT_LESS_ONE                                         \
  "ssra v1.4s, v1.4s, #31\n" "ssra v2.4s, v2.4s, #31\n"           \
  "ssra v3.4s, v3.4s, #31\n" "ssra v4.4s, v4.4s, #31\n"

/* high: the high product, after: what follows it; in form SHIFT `high` is the shift, for biases take the sums' place. The
 * first turn has no row to finish; what it writes to the first row is written again. */
#define EQ_RUN_SHORT(high, after, shift)                                                           \
  __asm__ volatile(                                                                                \
      "ldp q16, q17, [%[s]]\n"                                                                     \
      "ldp q18, q19, [%[s], #32]\n"                                                                \
      "ldp q20, q21, [%[s], #64]\n"                                                                \
      "ldp q22, q23, [%[s], #96]\n"                                                                \
      "ldp q24, q25, [%[multipliers]]\n"                                                           \
      "ldp q26, q27, [%[multipliers], #32]\n"                                                      \
      "ldp q28, q29, [%[s], #128]\n"                                                               \
      "ldp q30, q31, [%[s], #160]\n"                                                               \
      "ldr q7, [%[s], #192]\n"                                                                     \
      "b 1f\n"                                                                                    \
      ".p2align 8\n" /* the loop lies in one page */                                               \
      "1:\n"                                                                                       \
      "ldr q0, [%[x]]\n"                                                                           \
      high                                                                                         \
      EQ_SHORT_PAIR(5, 0) EQ_SHORT_PAIR(6, 1)                                                      \
      EQ_SHORT_BIASES                                                                              \
      after                                                                                        \
      EQ_SHORT_PRODUCTS("smull", 5, 16, 20)                                                        \
      EQ_SHORT_PAIR(5, 2)                                                                          \
      shift                                                                                        \
      EQ_SHORT_PRODUCTS("smlal", 6, 17, 21)                                                        \
      EQ_SHORT_NARROW_1                                                                            \
      EQ_SHORT_ADD                                                                                 \
      EQ_SHORT_PAIR(6, 3)                                                                          \
      EQ_SHORT_NARROW_2                                                                            \
      EQ_SHORT_PRODUCTS("smull", 5, 18, 22)                                                        \
      EQ_SHORT_ZERO                                                                                \
      EQ_SHORT_PRODUCTS("smlal", 6, 19, 23)                                                        \
      EQ_SHORT_CODES_1                                                                             \
      EQ_SHORT_ADD                                                                                 \
      EQ_SHORT_CODES_2                                                                             \
      "add %[x], %[x], %[x_stride]\n"                                                              \
      "subs %w[m], %w[m], #1\n"                                                                    \
      "str q1, [%[out]]\n"                                                                         \
      "add %[out], %[out], %[step]\n"                                                              \
      "mov %[step], %[out_stride]\n"                                                               \
      "b.ne 1b\n"                                                                                  \
      high after shift /* the last row */                                                          \
      EQ_SHORT_NARROW_1 EQ_SHORT_NARROW_2 EQ_SHORT_ZERO EQ_SHORT_CODES_1 EQ_SHORT_CODES_2          \
      "str q1, [%[out]]\n"                                                                         \
      : [out] "+&r"(out), [x] "+&r"(x), [m] "+&r"(m), [step] "+&r"(step)                           \
      : [s] "r"(s), [bias] "r"(linear->bias), [multipliers] "r"(linear->multipliers),              \
        [out_stride] "r"(out_stride), [x_stride] "r"(x_stride)                                     \
      : "cc", "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11",  \
        "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", \
        "v25", "v26", "v27", "v28", "v29", "v30", "v31")

/* m rows, m > 0, in one of the forms UP, AWAY, SINGLE and SHIFT, without bounds but saturation; of each 16 bytes are read. */
static inline void eq_run_short(int8_t *out, size_t out_stride, const int8_t *x, size_t x_stride, int32_t m,
                                const eq_short_channels *s, const eq_linear_s8 *linear, eq_requant_form form) {
  size_t step = 0;
  if (form == EQ_FORM_UP) {
    EQ_RUN_SHORT(EQ_SHORT_HIGH("sqrdmulh"), "", EQ_SHORT_SHIFT);
  } else if (form == EQ_FORM_AWAY) {
    EQ_RUN_SHORT(EQ_SHORT_HIGH("sqrdmulh"), EQ_SHORT_LESS_ONE, EQ_SHORT_SHIFT);
  } else if (form == EQ_FORM_SHIFT) {
    EQ_RUN_SHORT(EQ_SHORT_SHIFT_ALONE, "", "");
  } else {
    EQ_RUN_SHORT(EQ_SHORT_HIGH("sqdmulh"), "", EQ_SHORT_SHIFT);
  }
}

#endif
