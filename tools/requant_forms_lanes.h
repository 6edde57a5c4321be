/* SPDX-License-Identifier: Apache-2.0
 * Four lanes of NEON or MVE; add_sign is the including file's. Right shifts are stored negated, as SRSHL and VRSHL
 * take them. */
#define SINGLE_LAYOUT ROUNDED
#define DOUBLE_LAYOUT PLAIN
enum { RIGHT_SIGN = -1 };

static inline int32x4_t single(int32x4_t x, int32x4_t m, int32x4_t right) {
  return vrshlq_s32(vqdmulhq_s32(x, m), right);
}

static inline int32x4_t double_up(int32x4_t x, int32x4_t m, int32x4_t right) {
  return vrshlq_s32(vqrdmulhq_s32(x, m), right);
}

/* A negative number less one rounds its ties down. right is negative or 0, so high & right has the sign of high where
 * there is a shift, and is 0 where there is none. */
static inline int32x4_t both(int32x4_t x, int32x4_t m, int32x4_t right) {
  const int32x4_t high = vqrdmulhq_s32(x, m);
  return vrshlq_s32(add_sign(high, vandq_s32(high, right)), right);
}

static inline int32x4_t both_narrow(int32x4_t x, int32x4_t m, int32x4_t right) {
  const int32x4_t high = vqrdmulhq_s32(x, m);
  return vrshlq_s32(add_sign(high, high), right);
}

static inline int32x4_t exact(int32x4_t x, int32x4_t m, int32x4_t right) {
  const int32x4_t y = single(vabsq_s32(x), m, right), sign = vshrq_n_s32(x, 31);
  return vsubq_s32(veorq_s32(y, sign), sign);
}
