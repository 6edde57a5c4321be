/* SPDX-License-Identifier: Apache-2.0
 * Rows of an image with a margin, by AVX-512: rows and margins are short, so that calls would cost more than the copies. */
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include "kernels/vnni/requant_vnni.h"

/* The first `bytes` of 64 lanes, 0 <= bytes < 64. */
EQ_VNNI_INLINE __mmask64 first_bytes(size_t bytes) { return (UINT64_C(1) << bytes) - 1; }

EQ_VNNI_INLINE uint8_t *fill(uint8_t *to, __m512i value, size_t bytes) {
  for (; bytes >= 64; bytes -= 64, to += 64) _mm512_storeu_si512(to, value);
  _mm512_mask_storeu_epi8(to, first_bytes(bytes), value);
  return to + bytes;
}

EQ_VNNI_INLINE uint8_t *copy(uint8_t *to, const uint8_t *from, size_t bytes) {
  for (; bytes >= 64; bytes -= 64, to += 64, from += 64) _mm512_storeu_si512(to, _mm512_loadu_si512(from));
  const __mmask64 rest = first_bytes(bytes);
  _mm512_mask_storeu_epi8(to, rest, _mm512_maskz_loadu_epi8(rest, from));
  return to + bytes;
}

EQ_VNNI void eq_pad_rows_u8_vnni(uint8_t *to, const uint8_t *from, const eq_padded_rows *rows) {
  const eq_padded_rows r = *rows; /* which the stores cannot change */
  const size_t row_bytes = r.left + r.middle + r.right;
  const __m512i value = _mm512_set1_epi8((char)r.fill);
  to = fill(to, value, (size_t)r.above * row_bytes);
  for (int32_t i = 0; i < r.inside; i++) {
    to = fill(to, value, r.left);
    if (r.middle > 0) to = copy(to, from + (size_t)i * r.pitch, r.middle);
    to = fill(to, value, r.right);
  }
  fill(to, value, (size_t)r.below * row_bytes);
}

#endif
