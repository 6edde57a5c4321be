/* SPDX-License-Identifier: Apache-2.0
 * Cortex-M4: one output at a time. An arithmetic shift leaves the last bit that it drops in the carry, so ASRS and ADC
 * round a shift by 1 or more and add the zero point. */
#include "requant_forms_bare.h"

#define SINGLE_LAYOUT HALVED
#define DOUBLE_LAYOUT DOUBLED
enum { RIGHT_SIGN = 1 };

/* Constants of one channel. */
typedef struct channel {
  int32_t m;
  int32_t left;
  int32_t right;
  int32_t half;
} channel;

/* zero + x / 2^right, ties toward +infinity; right >= 1. */
static inline int32_t rounded(int32_t x, int32_t right, int32_t zero) {
  __asm__("asrs %0, %0, %1\n\tadc %0, %0, %2" : "+r"(x) : "r"(right), "r"(zero) : "cc");
  return x;
}

static inline int32_t smmul(int32_t a, int32_t b) {
  int32_t high;
  __asm__("smmul %0, %1, %2" : "=r"(high) : "r"(a), "r"(b));
  return high;
}

static inline int32_t smmulr(int32_t a, int32_t b) {
  int32_t high;
  __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(a), "r"(b));
  return high;
}

static inline int32_t single_narrow_form(int32_t x, channel c, int32_t zero) {
  return rounded(smmul(x, c.m), c.right, zero);
}

static inline int32_t single_wide_form(int32_t x, channel c, int32_t zero) {
  return rounded(smmul(x << c.left, c.m), c.right, zero);
}

/* The high half with one more bit is that of twice the sum. */
static inline int32_t double_up_narrow_form(int32_t x, channel c, int32_t zero) {
  return rounded(smmulr(x << 1, c.m), c.right, zero);
}

static inline int32_t double_up_wide_form(int32_t x, channel c, int32_t zero) {
  return ((smmulr(x << c.left, c.m) + c.half) >> c.right) + zero;
}

static inline int32_t double_narrow_form(int32_t x, channel c, int32_t zero) {
  const int32_t high = smmulr(x << 1, c.m);
  return rounded(high + (high >> 31), c.right, zero);
}

static inline int32_t double_wide_form(int32_t x, channel c, int32_t zero) {
  const int32_t high = smmulr(x << c.left, c.m);
  return ((high + c.half + ((high >> 31) & -(c.right != 0))) >> c.right) + zero;
}

/* Less one when negative, in 64 bits. */
static inline int32_t exact_narrow_form(int32_t x, channel c, int32_t zero) {
  int32_t low, high;
  __asm__("smull %0, %1, %2, %3\n\tadds %0, %0, %1, asr #31\n\tadc %1, %1, %1, asr #31"
          : "=&r"(low), "=&r"(high)
          : "r"(x), "r"(c.m)
          : "cc");
  return rounded(high, c.right, zero);
}

static inline int32_t exact_wide_form(int32_t x, channel c, int32_t zero) {
  return exact_narrow_form(x << c.left, c, zero);
}

#define LOOP(name, ...)                                                                                  \
  LOOP_FUNCTION name(const request *r, int32_t n, bounds to) {                                           \
    const int32_t *sums = r->sums, *m = r->m, *left = r->left, *right = r->right, *half = r->half;       \
    int8_t *out = r->out;                                                                                \
    for (const int32_t *end = sums + n; sums != end;) {                                                  \
      const channel c = {*m++, *left++, *right++, *half++};                                              \
      *out++ = (int8_t)eq_clamp32(name##_form(*sums++, c, to.zero), to.lo, to.hi);                       \
    }                                                                                                    \
  }
