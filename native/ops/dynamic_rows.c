/* SPDX-License-Identifier: Apache-2.0
 * The range of a row and its codes: two 64-bit divisions and a square root a row at most, none an element. */
#include "ops/dynamic_rows.h"

enum { PRECISION = 22 }; /* bits that the factor of a row has beyond those of its largest value */

/* What the codes of a row span, in units of 2^fallen / n, n = 1 but for a range of mean and deviations. */
typedef struct span {
  int64_t low;  /* <= 0 */
  int64_t high; /* >= 0 */
  int32_t fallen;
} span;

bool eq_row_range_legal(int32_t kind, int32_t deviations, const int32_t step[2]) {
  return eq_within(kind, EQ_ROW_SYMMETRIC, EQ_ROW_MEAN_STD) && eq_within(deviations, 0, EQ_MAX_DEVIATIONS) &&
         eq_scale_legal(step);
}

/* x / 2^bits, ties toward +infinity. */
static int64_t shift(int64_t x, int32_t bits) {
  return bits == 0 ? x : eq_asr64(x + (INT64_C(1) << (bits - 1)), bits);
}

static int64_t square_root(uint64_t x) {
  uint64_t root = 0;
  for (uint64_t bit = UINT64_C(1) << 62; bit != 0; bit >>= 2) {
    const uint64_t tried = root + bit;
    root >>= 1;
    if (x >= tried) {
      x -= tried;
      root += bit;
    }
  }
  return (int64_t)root;
}

static span extremes(const int32_t *v, int32_t n) {
  int32_t low = 0, high = 0;
  for (int32_t i = 0; i < n; i++) {
    low = eq_min32(low, v[i]);
    high = eq_max32(high, v[i]);
  }
  return (span){low, high, 0};
}

/* Mean and deviations times n, of values that fall by as many bits as keep n * |v| <= 2^31: n * squares < 2^63. */
static span mean_std(const int32_t *v, int32_t n, span all, int32_t deviations) {
  const int64_t reach = -all.low > all.high ? -all.low : all.high;
  const int32_t bits = eq_bit_length((uint64_t)reach) + eq_bit_length((uint32_t)n) - 31;
  const int32_t fallen = eq_max32(bits, 0);
  int64_t total = 0, squares = 0;
  for (int32_t i = 0; i < n; i++) {
    const int64_t x = shift(v[i], fallen);
    total += x;
    squares += x * x;
  }
  const int64_t spread = deviations * square_root((uint64_t)(n * squares - total * total));
  const int64_t low = eq_clamp64(total - spread, n * shift(all.low, fallen), 0);
  const int64_t high = eq_clamp64(total + spread, 0, n * shift(all.high, fallen));
  return (span){low, high, fallen};
}

/* round(levels * 2^bits / reach); bits are those of reach and PRECISION, so that reach * factor < 2^62. */
static int64_t factor_of(int64_t levels, int64_t reach, int32_t bits) {
  return ((levels << bits) + reach / 2) / reach;
}

static void symmetric(int8_t *codes, const int32_t *v, int32_t n, int64_t reach) {
  const int32_t bits = eq_bit_length((uint64_t)reach) + PRECISION;
  const int64_t factor = factor_of(127, reach, bits);
  for (int32_t i = 0; i < n; i++) {
    const int64_t magnitude = v[i] < 0 ? -(int64_t)v[i] : v[i];
    const int8_t code = (int8_t)shift(magnitude * factor, bits);
    codes[i] = v[i] < 0 ? (int8_t)-code : code;
  }
}

/* Spread the span over [-128, 127], where values beyond saturate; returns the code of zero. |x * factor| < 2^63. */
static int32_t affine(int8_t *codes, const int32_t *v, int32_t n, int64_t count, span s) {
  const int64_t reach = s.high - s.low;
  const int32_t bits = eq_bit_length((uint64_t)reach) + PRECISION;
  const int64_t factor = factor_of(255, reach, bits);
  const int32_t zero = (int32_t)shift(-s.low * factor, bits) - 128;
  for (int32_t i = 0; i < n; i++) {
    const int64_t x = eq_clamp64(shift(v[i] * count, s.fallen), s.low, s.high);
    codes[i] = (int8_t)eq_clamp32((int32_t)shift(x * factor, bits) + zero, INT8_MIN, INT8_MAX);
  }
  return zero;
}

void eq_quantize_row(int8_t *codes, int32_t scale[EQ_SCALE_COLUMNS], const int32_t *v, int32_t n,
                     const eq_row_range *range) {
  span s = extremes(v, n);
  int64_t reach = s.high - s.low, count = 1;
  if (range->kind == EQ_ROW_SYMMETRIC) {
    reach = -s.low > s.high ? -s.low : s.high;
  } else if (range->kind == EQ_ROW_MEAN_STD) {
    s = mean_std(v, n, s, range->deviations);
    reach = s.high - s.low;
    count = n;
  }
  eq_scale made = range->kept;
  int32_t zero = 0;
  if (reach == 0) {
    for (int32_t i = 0; i < n; i++) codes[i] = 0;
  } else {
    made = eq_scale_of_integer((uint64_t)reach);
    made.e += s.fallen;
    made = eq_scale_product(eq_scale_product(made, range->source), range->step);
    if (range->kind == EQ_ROW_SYMMETRIC) {
      symmetric(codes, v, n, reach);
    } else {
      zero = affine(codes, v, n, count, s);
    }
  }
  scale[0] = (int32_t)made.m;
  scale[1] = made.e;
  scale[2] = zero;
}
