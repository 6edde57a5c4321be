/* SPDX-License-Identifier: Apache-2.0
 * One loop per form of requantization and instruction set, int32 sums to int8 codes, for tools/count_requant.py.
 *
 * Every form is one that the scalar C of fixed_point.h defines; the program checks each loop against it. A layer's
 * constants are prepared per channel as a form likes them best: x * 2^left * m, the high half, then / 2^right. The
 * loops called narrow serve layers in which every shift is <= -2, that is every multiplier below 1/8, and leave the
 * left shift out; the wide ones take any shift. Freestanding; the exit status is 0, or the number of the first loop
 * that is wrong. */
#include <stdbool.h>
#include <stddef.h>

#include "edgeq/fixed_point.h"

enum { OUTPUTS = 256 };

/* What a loop reads, one entry per output, and writes: out[i] = clamp(zero + form(sums[i])). */
typedef struct request {
  int8_t *out;
  const int32_t *sums;
  const int32_t *m;
  const int32_t *left;
  const int32_t *right;
  const int32_t *half; /* 2^(right - 1), or 0 for right == 0 */
} request;

typedef struct bounds {
  int32_t zero;
  int32_t lo;
  int32_t hi;
} bounds;

/* n is a multiple of 32. Neither inlined nor specialized, so that every loop is counted as a caller would run it. */
#define LOOP_FUNCTION static __attribute__((noipa)) void
typedef void loop(const request *r, int32_t n, bounds to);

/* What a form's loops expect in left and right. */
typedef enum layout {
  PLAIN,   /* the definition's: left = max(shift, 0), right = max(-shift, 0) */
  ROUNDED, /* right >= 1, so that truncation of the high half is harmless: left = right + shift */
  HALVED,  /* the same for the high 32 bits, half of what a doubling multiplication gives: left = right + shift + 1 */
  DOUBLED, /* as PLAIN, left one more to make up for high 32 bits */
} layout;

#if defined(__ARM_NEON)
#include "requant_forms_neon.h"
#elif defined(__ARM_FEATURE_MVE)
#include "requant_forms_mve.h"
#elif defined(__AVX2__)
#include "requant_forms_avx2.h"
#elif defined(__ARM_FEATURE_DSP)
#include "requant_forms_dsp.h"
#endif

/* LOOP(its name, what it does to lanes, whether shifts may be to the left) */
LOOP(single_narrow, single, 0)
LOOP(single_wide, single, 1)
LOOP(double_up_narrow, double_up, 0)
LOOP(double_up_wide, double_up, 1)
LOOP(double_narrow, both_narrow, 0)
LOOP(double_wide, both, 1)
LOOP(exact_narrow, exact, 0)
LOOP(exact_wide, exact, 1)

/* Both roundings of DOUBLE with ties toward +infinity. */
static int32_t requant_double_up(int32_t x, int32_t m, int32_t shift) {
  return eq_rsh(eq_srdhm(shift > 0 ? eq_shl32(x, shift) : x, m), shift < 0 ? -shift : 0);
}

typedef int32_t definition(int32_t x, int32_t m, int32_t shift);

/* In the order of the columns of the result. */
static const struct form {
  definition *define;
  loop *narrow;
  loop *wide;
  layout kind;
} FORMS[] = {
    {eq_requant_single, single_narrow, single_wide, SINGLE_LAYOUT},
    {requant_double_up, double_up_narrow, double_up_wide, DOUBLE_LAYOUT},
    {eq_requant_double, double_narrow, double_wide, DOUBLE_LAYOUT},
    {eq_requant_exact, exact_narrow, exact_wide, SINGLE_LAYOUT},
};

static struct data {
  int8_t out[2 * OUTPUTS];
  int32_t sums[2 * OUTPUTS];
  int32_t m[2 * OUTPUTS];
  int32_t left[2 * OUTPUTS];
  int32_t right[2 * OUTPUTS];
  int32_t half[2 * OUTPUTS];
} data;

static uint32_t draw(void) {
  static uint32_t state = 1;
  state = state * UINT32_C(1664525) + UINT32_C(1013904223);
  return state >> 4; /* 28 bits */
}

/* Constants of a channel as the loops read them. */
static void prepare(int32_t i, int32_t shift, layout kind) {
  const int32_t extra = kind == HALVED || kind == DOUBLED;
  int32_t right = eq_max32(-shift, 0);
  if (kind == ROUNDED) right = eq_max32(-shift, 1);
  if (kind == HALVED) right = eq_max32(-shift - 1, 1);
  data.right[i] = RIGHT_SIGN * right;
  data.left[i] = right + shift + extra;
  data.half[i] = right > 0 ? (int32_t)(UINT32_C(1) << (right - 1)) : 0;
}

/* Run a loop over OUTPUTS and over twice as many sums, with shifts from first_shift on; false for a wrong code. */
static bool run(definition *define, loop *loop_of_form, layout kind, int32_t first_shift, uint32_t shifts) {
  static int8_t expected[2 * OUTPUTS];
  const bounds to = {.zero = -5, .lo = -100, .hi = 120};
  for (int32_t i = 0; i < 2 * OUTPUTS; i++) {
    const int32_t shift = first_shift + (int32_t)(draw() % shifts);
    /* results within 2^9, and |sum| * 2^(shift + 2) < 2^31; a quarter of the products are ties or whole numbers */
    const int32_t bits = eq_min32(9 - shift, 26);
    data.sums[i] = (int32_t)(draw() & ((UINT32_C(2) << bits) - 1)) - (1 << bits);
    data.m[i] = i % 4 == 0 ? 1 << 30 : (int32_t)((UINT32_C(1) << 30) + (draw() << 2));
    if (i % 4 == 0 && shift < 0) data.sums[i] = (int32_t)((uint32_t)data.sums[i] >> -shift << -shift);
    prepare(i, shift, kind);
    const int32_t y = define(data.sums[i], data.m[i], shift) + to.zero;
    expected[i] = (int8_t)eq_clamp32(y, to.lo, to.hi);
  }
  const request r = {data.out, data.sums, data.m, data.left, data.right, data.half};
  loop_of_form(&r, OUTPUTS, to);
  loop_of_form(&r, 2 * OUTPUTS, to);
  for (int32_t i = 0; i < 2 * OUTPUTS; i++) {
    if (data.out[i] != expected[i]) return false;
  }
  return true;
}

ENTRY _Noreturn void _start(void) {
  const int32_t forms = sizeof(FORMS) / sizeof(FORMS[0]);
  prepare_core();
  for (int32_t i = 0; i < forms; i++) {
    const struct form *f = &FORMS[i];
    if (!run(f->define, f->narrow, f->kind, -18, 17)) leave(1 + 2 * i);
    if (!run(f->define, f->wide, f->kind, -18, 21)) leave(2 + 2 * i);
  }
  leave(0);
}
