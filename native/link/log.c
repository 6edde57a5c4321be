/* SPDX-License-Identifier: Apache-2.0
 * The ring of text that LOG reads. */
#include "link/log.h"

_Static_assert((EQ_LOG_BYTES & (EQ_LOG_BYTES - 1)) == 0, "EQ_LOG_BYTES is not a power of two");

static void append(eq_log *log, char c) { log->ring[log->end++ % EQ_LOG_BYTES] = (uint8_t)c; }

void eq_log_text(eq_log *log, const char *text) {
  for (; *text != 0; text++) append(log, *text);
}

void eq_log_number(eq_log *log, uint32_t value) {
  uint32_t power = 1;
  while (value / power >= 10) power *= 10;
  for (; power > 0; power /= 10) append(log, (char)('0' + value / power % 10));
}

void eq_log_hex(eq_log *log, uint32_t value) {
  for (int shift = 28; shift >= 0; shift -= 4) append(log, "0123456789abcdef"[value >> shift & 15]);
}

uint32_t eq_log_read(const eq_log *log, uint32_t *from, uint8_t *to, uint32_t n) {
  const uint32_t held = log->end < EQ_LOG_BYTES ? log->end : EQ_LOG_BYTES;
  if (log->end - *from > held) *from = *from > log->end ? log->end : log->end - held;
  uint32_t i = 0;
  for (; i < n && *from + i != log->end; i++) to[i] = log->ring[(*from + i) % EQ_LOG_BYTES];
  return i;
}
