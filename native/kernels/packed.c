/* SPDX-License-Identifier: Apache-2.0
 * Pack weights in the order in which a vector kernel reads them. */
#include "kernels/packed.h"

#include <stdbool.h>

enum { CHAIN_LIMIT = 255 }; /* 128 * 255 < 2^15 */

static int32_t magnitude(int8_t w) { return w < 0 ? -w : w; }

/* The products that may be chained in one group of layout C4K16: 8, 4, 2 or 1. */
static int32_t chain_of(const int8_t *w, int32_t channels, int32_t k) {
  int32_t chain = 8;
  for (int32_t c = 0; c < channels; c++) {
    const int8_t *row = w + (size_t)c * (size_t)k;
    for (int32_t lane = 0; lane < 8; lane++) {
      for (int32_t first = lane; first < k && chain > 1;) {
        int32_t sum = 0;
        for (int32_t i = 0, at = first; i < chain && at < k; i++, at += 8) sum += magnitude(row[at]);
        if (sum > CHAIN_LIMIT) {
          chain /= 2; /* chains counted from the same place that held before still hold when halved */
        } else {
          first += 8 * chain;
        }
      }
    }
  }
  return chain;
}

void eq_pack_weights(int8_t *to, const int8_t *w, uint32_t layout, int32_t n, int32_t k) {
  const eq_layout l = eq_layout_of(layout);
  for (int32_t first = 0; first < n; first += l.channels) {
    const int8_t *rows = w + (size_t)first * (size_t)k;
    const int32_t present = n - first < l.channels ? n - first : l.channels;
    int32_t *head = (int32_t *)(void *)to;
    to += l.head * l.channels;
    for (int32_t c = 0; c < l.head / 4 * l.channels; c++) head[c] = 0;
    if (layout == EQ_LAYOUT_C4K16) {
      head[0] = chain_of(rows, present, k);
    } else if (l.head != 0) {
      for (int32_t c = 0; c < present; c++) {
        for (int32_t i = 0; i < k; i++) head[c] += rows[(size_t)c * (size_t)k + (size_t)i];
      }
    }
    for (int32_t block = 0; block < k; block += l.depth, to += l.channels * l.depth) {
      for (int32_t c = 0; c < l.channels; c++) {
        for (int32_t i = 0; i < l.depth; i++) {
          const bool stored = c < present && block + i < k;
          to[eq_place_in_block(layout, l, c, i)] = stored ? rows[(size_t)c * (size_t)k + (size_t)(block + i)] : 0;
        }
      }
    }
  }
  for (int32_t i = 0; layout == EQ_LAYOUT_C2K4 && i < EQ_C2K4_TAIL; i++) to[i] = 0;
}

void eq_find_chains(uint8_t *chains, const int8_t *w, int32_t taps, int32_t channels) {
  for (int32_t first = 0; first < channels; first += 8) {
    int32_t longest = taps < 255 ? taps : 255;
    for (int32_t c = first; c < channels && c < first + 8; c++) {
      /* a window over the taps that is shortened whenever its sum passes the limit */
      int32_t sum = 0, length = 0;
      for (int32_t tap = 0; tap < taps; tap++) {
        sum += magnitude(w[(size_t)tap * (size_t)channels + (size_t)c]);
        length++;
        while (length > longest || sum > CHAIN_LIMIT) {
          const bool too_long = length <= longest;
          length--;
          if (too_long) longest = length;
          sum -= magnitude(w[(size_t)(tap - length) * (size_t)channels + (size_t)c]);
        }
      }
    }
    *chains++ = (uint8_t)longest;
  }
}
