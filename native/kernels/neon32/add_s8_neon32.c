/* SPDX-License-Identifier: Apache-2.0
 * Sums and differences of int8 codes, eight at a time. */
#if defined(__arm__) && defined(__ARM_NEON)
#include "edgeq/ops.h"
#include "kernels/kernels.h"
#include "kernels/neon32/requant_neon32.h"

enum { LANES = 8 };

/* An operand's constants in every lane. */
typedef struct term {
  int8x8_t zero;
  int32x4_t left;
  int32x4_t multiplier;
  int32x4_t shift;
  eq_scaling scaling;
} term;

static term term_of(int32_t zero, int32_t left, int32_t multiplier, int32_t shift, int32_t mode) {
  if (mode == EQ_MODE_SINGLE && shift == 0) { /* |code - zero| * 2^(20 + 1) < 2^30, see eq_requant_single */
    left++;
    shift = -1;
  }
  return (term){vdup_n_s8((int8_t)zero), vdupq_n_s32(left), vdupq_n_s32(multiplier), vdupq_n_s32(shift),
                eq_scaling_of(mode, shift, false)};
}

static inline __attribute__((always_inline)) int32x4_t rescale(int16x4_t x, const term *t, eq_scaling scaling) {
  return eq_scale(vshlq_s32(vmovl_s16(x), t->left), t->multiplier, t->shift, scaling);
}

/* Everything that eight elements need. */
typedef struct sum {
  term a;
  term b;
  bool minus;
  int32x4_t multiplier;
  int32x4_t shift;
  eq_scaling scaling;
  eq_code_range range;
} sum;

static inline __attribute__((always_inline)) int8x8_t add_codes(int8x8_t a, int8x8_t b, const sum *s, eq_scaling of_a,
                                                                eq_scaling of_b, eq_scaling of_sum) {
  const int16x8_t x = vsubl_s8(a, s->a.zero), y = vsubl_s8(b, s->b.zero);
  int32x4_t low = rescale(vget_low_s16(y), &s->b, of_b), high = rescale(vget_high_s16(y), &s->b, of_b);
  if (s->minus) {
    low = vnegq_s32(low);
    high = vnegq_s32(high);
  }
  low = vaddq_s32(rescale(vget_low_s16(x), &s->a, of_a), low);
  high = vaddq_s32(rescale(vget_high_s16(x), &s->a, of_a), high);
  return eq_to_codes(eq_scale(low, s->multiplier, s->shift, of_sum), eq_scale(high, s->multiplier, s->shift, of_sum),
                     &s->range);
}

/* Whole groups of eight; steps are those from group to group. */
static inline __attribute__((always_inline)) void add_groups(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b,
                                                             int32_t b_step, int32_t groups, const sum *from, eq_scaling of_a,
                                                             eq_scaling of_b, eq_scaling of_sum) {
  const sum s = *from;
  for (; groups > 0; groups--, a += a_step, b += b_step, out += LANES) {
    vst1_s8(out, add_codes(vld1_s8(a), vld1_s8(b), &s, of_a, of_b, of_sum));
  }
}

static void run_groups(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t groups,
                       const sum *s) {
  const eq_scaling up = {EQ_FORM_UP, true}, mixed = {EQ_FORM_MIXED, true}, single = {EQ_FORM_SINGLE, false};
  const eq_scaling shifts = {EQ_FORM_SHIFT, false};
  const eq_form of_sum = s->scaling.form;
  if (of_sum == EQ_FORM_SINGLE && s->a.scaling.form == EQ_FORM_SINGLE && s->b.scaling.form == EQ_FORM_SINGLE) {
    add_groups(out, a, a_step, b, b_step, groups, s, single, single, single);
  } else if (of_sum == EQ_FORM_SHIFT) { /* so are those of the operands */
    add_groups(out, a, a_step, b, b_step, groups, s, shifts, shifts, shifts);
  } else if (of_sum == EQ_FORM_UP) { /* mode double: operands are never shifted to the left */
    add_groups(out, a, a_step, b, b_step, groups, s, mixed, mixed, up);
  } else if (of_sum == EQ_FORM_AWAY || of_sum == EQ_FORM_MIXED) {
    add_groups(out, a, a_step, b, b_step, groups, s, mixed, mixed, mixed);
  } else {
    add_groups(out, a, a_step, b, b_step, groups, s, s->a.scaling, s->b.scaling, s->scaling);
  }
}

void eq_add_s8_neon32(int8_t *out, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n,
                      const struct eq_add_params *p) {
  const sum s = {
      .a = term_of(p->zero_a, p->left_shift, p->multiplier_a, p->shift_a, p->mode),
      .b = term_of(p->zero_b, p->left_shift, p->multiplier_b, p->shift_b, p->mode),
      .minus = p->sign < 0,
      .multiplier = vdupq_n_s32(p->multiplier),
      .shift = vdupq_n_s32(p->shift),
      .scaling = eq_scaling_of(p->mode, p->shift, p->act_min >= p->zero),
      .range = eq_code_range_of(p->zero, p->act_min, p->act_max),
  };
  /* an operand that stays the same is read again and again from a copy */
  int8_t same_a[LANES], same_b[LANES];
  if (a_step == 0) {
    vst1_s8(same_a, vld1_dup_s8(a));
    a = same_a;
  }
  if (b_step == 0) {
    vst1_s8(same_b, vld1_dup_s8(b));
    b = same_b;
  }
  const int32_t groups = n / LANES, rest = n % LANES;
  run_groups(out, a, LANES * a_step, b, LANES * b_step, groups, &s);
  if (rest > 0) {
    int8_t last_a[LANES] = {0}, last_b[LANES] = {0}, codes[LANES];
    for (int32_t i = 0; i < rest; i++) {
      last_a[i] = a[(LANES * groups + i) * a_step];
      last_b[i] = b[(LANES * groups + i) * b_step];
    }
    run_groups(codes, last_a, 0, last_b, 0, 1, &s);
    for (int32_t i = 0; i < rest; i++) out[LANES * groups + i] = codes[i];
  }
}
#endif
