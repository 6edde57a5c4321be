/* SPDX-License-Identifier: Apache-2.0
 * x86 AVX2: 32 outputs a turn. 64-bit products of even and of odd lanes; there is no rounding shift. */
#include <immintrin.h>

#define ENTRY __attribute__((force_align_arg_pointer)) /* the kernel aligns the stack as a caller would not */
#define SINGLE_LAYOUT HALVED
#define DOUBLE_LAYOUT PLAIN
enum { RIGHT_SIGN = 1 };

static void prepare_core(void) {}

static _Noreturn void leave(int32_t status) {
  for (;;) __asm__ volatile("syscall" : : "a"(60L), "D"((long)status) : "rcx", "r11", "memory");
}

/* Constants of eight channels. */
typedef struct channels {
  __m256i m;
  __m256i right;
  __m256i half;
} channels;

static inline __m256i odd_lanes(__m256i x) { return _mm256_srli_epi64(x, 32); }

/* The high 32 bits of each product. */
static inline __m256i high_half(__m256i x, __m256i m) {
  const __m256i even = _mm256_mul_epi32(x, m), odd = _mm256_mul_epi32(odd_lanes(x), odd_lanes(m));
  return _mm256_blend_epi32(odd_lanes(even), odd, 0xAA);
}

static inline __m256i srdhm(__m256i x, __m256i m) {
  const __m256i nudge = _mm256_set1_epi64x(1 << 30);
  const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x, m), nudge);
  const __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(odd_lanes(x), odd_lanes(m)), nudge);
  return _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_add_epi64(odd, odd), 0xAA);
}

/* |x| + half < 2^31 */
static inline __m256i rounded(__m256i x, channels c) {
  return _mm256_srav_epi32(_mm256_add_epi32(x, c.half), c.right);
}

static inline __m256i single(__m256i x, channels c) { return rounded(high_half(x, c.m), c); }

static inline __m256i double_up(__m256i x, channels c) { return rounded(srdhm(x, c.m), c); }

static inline __m256i both(__m256i x, channels c) {
  const __m256i high = srdhm(x, c.m), shifts = _mm256_cmpgt_epi32(c.right, _mm256_setzero_si256());
  return rounded(_mm256_add_epi32(high, _mm256_and_si256(_mm256_srai_epi32(high, 31), shifts)), c);
}

static inline __m256i both_narrow(__m256i x, channels c) {
  const __m256i high = srdhm(x, c.m);
  return rounded(_mm256_add_epi32(high, _mm256_srai_epi32(high, 31)), c);
}

static inline __m256i exact(__m256i x, channels c) { return _mm256_sign_epi32(single(_mm256_abs_epi32(x), c), x); }

static inline __m256i eight(const int32_t *from) { return _mm256_loadu_si256((const __m256i *)(const void *)from); }

#define LOOP(name, form, wide)                                                                             \
  LOOP_FUNCTION name(const request *r, int32_t n, bounds to) {                                             \
    const request q = *r; /* which out cannot alias */                                                     \
    const __m256i zero = _mm256_set1_epi16((int16_t)to.zero);                                              \
    const __m256i lo = _mm256_set1_epi8((int8_t)to.lo), hi = _mm256_set1_epi8((int8_t)to.hi);              \
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7); /* undoes packing by 128-bit lanes */ \
    for (int32_t i = 0; i < n; i += 32) {                                                                  \
      __m256i y[4];                                                                                        \
      _Pragma("GCC unroll 4")                                                                              \
      for (int32_t j = 0; j < 4; j++) {                                                                    \
        const int32_t at = i + 8 * j;                                                                      \
        __m256i x = eight(q.sums + at);                                                                    \
        if (wide) x = _mm256_sllv_epi32(x, eight(q.left + at));                                            \
        y[j] = form(x, (channels){eight(q.m + at), eight(q.right + at), eight(q.half + at)});              \
      }                                                                                                    \
      const __m256i a = _mm256_adds_epi16(_mm256_packs_epi32(y[0], y[1]), zero);                           \
      const __m256i b = _mm256_adds_epi16(_mm256_packs_epi32(y[2], y[3]), zero);                           \
      const __m256i codes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), order);                  \
      const __m256i kept = _mm256_min_epi8(_mm256_max_epi8(codes, lo), hi);                                \
      _mm256_storeu_si256((__m256i *)(void *)(q.out + i), kept);                                           \
    }                                                                                                      \
  }
