/* SPDX-License-Identifier: Apache-2.0
 * The orders in which packed weights lie, and how to make them from a row-major matrix.
 *
 * Output channels go in groups, inputs in blocks. A group is a head of one int32 per channel, then for every block of
 * inputs the group's channels in turn, each with the block's inputs; beyond n and k stand zeros. The head of layout
 * C4K16 is {chain, 0, 0, 0}: 1, 2, 4 or 8 products of a channel, at the same place of neighbouring 8-byte halves of
 * blocks counted from a multiple of that number, may be added in int16 whatever the inputs are (their |w| add up to
 * at most 255). The head of the others is each channel's sum of weights.
 *
 * C2K4 has no heads. Its block is two words that SXTB16 and SXTB16 with ROR #8 widen to pairs of weights of channel 0 and
 * of channel 1, for inputs 0 and 2 and for inputs 1 and 3: in bytes, (channel, input) 00 10 02 12 01 11 03 13. Four
 * zeros end the matrix, so that it is longer than in row-major order like that of every other layout. */
#ifndef EDGEQ_PACKED_H
#define EDGEQ_PACKED_H

#include <stddef.h>
#include <stdint.h>

#include "edgeq/format.h"

typedef struct eq_layout {
  int32_t channels; /* in a group */
  int32_t depth;    /* inputs in a block */
  int32_t head;     /* bytes of a channel */
} eq_layout;

/* Name, channels, depth, bytes of head for each channel; each case is a constant geometry, so that no division is left. */
#define EQ_EACH_LAYOUT(X)      \
  X(EQ_LAYOUT_C4K16, 4, 16, 4) \
  X(EQ_LAYOUT_C8K4, 8, 4, 4)   \
  X(EQ_LAYOUT_C8K8, 8, 8, 4)   \
  X(EQ_LAYOUT_C16K4, 16, 4, 4) \
  X(EQ_LAYOUT_C2K4, 2, 4, 0)

enum { EQ_C2K4_TAIL = 4 /* bytes */ };

/* Whether a table of this build reads packed weights; what does for none is then not compiled. */
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__) || defined(__ARM_ARCH_7M__)
enum { EQ_READS_PACKED = 0 };
#else
enum { EQ_READS_PACKED = 1 };
#endif

/* The geometry of a layout, {0, 0, 0} for one that is unknown or portable. */
static inline eq_layout eq_layout_of(uint32_t layout) {
  switch (layout) {
#define EQ_GEOMETRY(name, channels, depth, head) \
  case name:                                     \
    return (eq_layout){(channels), (depth), (head)};
    EQ_EACH_LAYOUT(EQ_GEOMETRY)
#undef EQ_GEOMETRY
    default:
      return (eq_layout){0, 0, 0};
  }
}

/* Bytes of one group of channels, its head included, for rows of k inputs; a multiple of 16, in layout C2K4 of 8. */
static inline size_t eq_packed_group_bytes(uint32_t layout, int32_t k) {
  switch (layout) {
#define EQ_SIZE(name, channels, depth, head) \
  case name:                                 \
    return (channels) * ((head) + ((size_t)k + (depth) - 1) / (depth) * (depth));
    EQ_EACH_LAYOUT(EQ_SIZE)
#undef EQ_SIZE
    default:
      return 0;
  }
}

/* Groups that n channels make. */
static inline uint32_t eq_packed_groups(uint32_t layout, int32_t n) {
  switch (layout) {
#define EQ_SIZE(name, channels, depth, head) \
  case name:                                 \
    return ((uint32_t)n + (channels) - 1) / (channels);
    EQ_EACH_LAYOUT(EQ_SIZE)
#undef EQ_SIZE
    default:
      return 0;
  }
}

/* Bytes of an n x k matrix in a layout that is not portable. */
static inline uint64_t eq_packed_bytes(uint32_t layout, int32_t n, int32_t k) {
  const uint32_t tail = layout == EQ_LAYOUT_C2K4 ? EQ_C2K4_TAIL : 0;
  return (uint64_t)eq_packed_groups(layout, n) * eq_packed_group_bytes(layout, k) + tail;
}

/* Where the weight of channel c and input i < depth lies in a block. */
static inline int32_t eq_place_in_block(uint32_t layout, eq_layout l, int32_t c, int32_t i) {
  return layout == EQ_LAYOUT_C2K4 ? (i & 1) * 4 + (i & 2) + c : c * l.depth + i;
}

/* Pack the row-major n x k matrix w into eq_packed_bytes bytes at `to`, which is 16-byte aligned. */
void eq_pack_weights(int8_t *to, const int8_t *w, uint32_t layout, int32_t n, int32_t k);

/* Write for every 8 channels of depthwise weights (taps x channels) how many neighbouring taps may be chained in int16,
 * at most 255; see eq_depthwise_window. chains has (channels + 7) / 8 bytes. */
void eq_find_chains(uint8_t *chains, const int8_t *w, int32_t taps, int32_t channels);

#endif
