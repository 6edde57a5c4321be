/* SPDX-License-Identifier: Apache-2.0
 * pad_rows_u8 against the scalar kernel.
 *
 * A case reaches the full tile with rows of 64 bytes of the image. It has a tail when those are no multiple of 16. */
#include "harness.h"

enum { SLACK = 15 }; /* bytes behind the last row that may be written */

static void run(harness *h) {
  const eq_padded_rows rows = {
      .above = draw(h, 0, 3),
      .inside = draw(h, 0, 6),
      .below = draw(h, 0, 3),
      .fill = (uint8_t)draw(h, 0, 255),
      .left = (size_t)draw_size(h, 0, 40),
      .middle = (size_t)draw_size(h, 0, 300),
      .right = (size_t)draw_size(h, 0, 40),
      .pitch = (size_t)draw_size(h, 0, 400),
  };
  const size_t count = (size_t)(rows.above + rows.inside + rows.below);
  const size_t bytes = count * (rows.left + rows.middle + rows.right);
  const bool copies = rows.inside > 0 && rows.middle > 0;
  const size_t read = copies ? (size_t)(rows.inside - 1) * rows.pitch + rows.middle : 0;
  covers(h, rows.middle >= 64, rows.middle % 16 != 0);
  uint8_t *from = buffer(h, read, 1), *expected = buffer(h, bytes + SLACK, 1), *found = buffer(h, bytes + SLACK, 1);
  fill(h, from, read);
  h->scalar->pad_rows_u8(expected, from, &rows);
  h->table->pad_rows_u8(found, from, &rows);
  same(h, found, expected, bytes, "%d + %d + %d rows of %d + %d + %d bytes", rows.above, rows.inside, rows.below,
       (int)rows.left, (int)rows.middle, (int)rows.right);
}

static void bench(harness *h) {
  const eq_padded_rows rows = {.inside = 3, .fill = 0x80, .left = 16, .middle = 144, .pitch = 512};
  h->buffers = 0;
  uint8_t *from = buffer(h, 3 * 512, 16), *to = buffer(h, 3 * 160 + SLACK, 16);
  fill(h, from, 3 * 512);
  BENCH(h, "3 rows of 16 + 144", 3 * 160) h->table->pad_rows_u8(to, from, &rows);
}

const kernel_check check_pad_rows_u8 = {run, bench};
