/* SPDX-License-Identifier: Apache-2.0
 * The orders in which packed weights lie, and how to make them from a row-major matrix.
 *
 * Output channels go in groups, inputs in blocks. A group is a head of one int32 per channel, then for every block of
 * inputs the group's channels in turn, each with the block's inputs; beyond n and k stand zeros. The head of layout
 * C4K16 is {chain, 0, 0, 0}: 1, 2, 4 or 8 products of a channel, at the same place of neighbouring 8-byte halves of
 * blocks counted from a multiple of that number, may be added in int16 whatever the inputs are (their |w| add up to
 * at most 255). The head of the others is each channel's sum of weights. */
#ifndef EDGEQ_PACKED_H
#define EDGEQ_PACKED_H

#include <stddef.h>
#include <stdint.h>

#include "edgeq/format.h"

typedef struct eq_layout {
  int32_t channels; /* in a group */
  int32_t depth;    /* inputs in a block */
} eq_layout;

/* The geometry of a layout, {0, 0} for one that is unknown or portable. */
static inline eq_layout eq_layout_of(uint32_t layout) {
  switch (layout) {
    case EQ_LAYOUT_C4K16:
      return (eq_layout){4, 16};
    case EQ_LAYOUT_C8K4:
      return (eq_layout){8, 4};
    case EQ_LAYOUT_C8K8:
      return (eq_layout){8, 8};
    case EQ_LAYOUT_C16K4:
      return (eq_layout){16, 4};
    default:
      return (eq_layout){0, 0};
  }
}

/* Bytes of one group of channels, its head included, for rows of k inputs; a multiple of 16. */
static inline size_t eq_packed_group_bytes(uint32_t layout, int32_t k) {
  const eq_layout l = eq_layout_of(layout);
  const size_t blocks = ((size_t)k + (size_t)l.depth - 1) / (size_t)l.depth;
  return (size_t)l.channels * (4 + blocks * (size_t)l.depth);
}

/* Bytes of an n x k matrix in a layout that is not portable. */
static inline uint64_t eq_packed_bytes(uint32_t layout, int32_t n, int32_t k) {
  const uint32_t channels = (uint32_t)eq_layout_of(layout).channels;
  return (uint64_t)(((uint32_t)n + channels - 1) / channels) * eq_packed_group_bytes(layout, k);
}

/* Pack the row-major n x k matrix w into eq_packed_bytes bytes at `to`, which is 16-byte aligned. */
void eq_pack_weights(int8_t *to, const int8_t *w, uint32_t layout, int32_t n, int32_t k);

/* Write for every 8 channels of depthwise weights (taps x channels) how many neighbouring taps may be chained in int16,
 * at most 255; see eq_depthwise_window. chains has (channels + 7) / 8 bytes. */
void eq_find_chains(uint8_t *chains, const int8_t *w, int32_t taps, int32_t channels);

#endif
