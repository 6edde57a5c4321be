/* SPDX-License-Identifier: Apache-2.0
 * A ring of text that a board writes as things happen and LOG reads. */
#ifndef EDGEQ_LINK_LOG_H
#define EDGEQ_LINK_LOG_H

#include <stdint.h>

#ifndef EQ_LOG_BYTES
#define EQ_LOG_BYTES 256 /* a power of two */
#endif

/* Zero at the start. */
typedef struct eq_log {
  uint32_t end; /* bytes ever written, modulo 2^32 */
  uint8_t ring[EQ_LOG_BYTES];
} eq_log;

/* Append text, a decimal number, or eight hexadecimal digits. A line ends with "\n". */
void eq_log_text(eq_log *log, const char *text);
void eq_log_number(eq_log *log, uint32_t value);
void eq_log_hex(eq_log *log, uint32_t value);

/* Copy text from byte *from on, at most n bytes, and return how many; *from moves on to the oldest byte still there. */
uint32_t eq_log_read(const eq_log *log, uint32_t *from, uint8_t *to, uint32_t n);

#endif
