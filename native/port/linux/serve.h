/* SPDX-License-Identifier: Apache-2.0
 * The edgeq link on standard input and output. */
#ifndef EDGEQ_PORT_LINUX_SERVE_H
#define EDGEQ_PORT_LINUX_SERVE_H

#include "edgeq/edgeq.h"

/* Largest arena of a model in a slot. */
#define EQ_SERVE_ARENA_BYTES (UINT32_C(64) << 20)

typedef struct eq_served {
  const char *board;            /* the name that HELLO tells */
  const eq_runner *runner;      /* of one model, or NULL */
  const eq_header_record *file; /* the model's file in memory, or NULL */
  const char *slots;            /* a file that holds two slots for models instead, made when it is missing; or NULL */
  uint32_t slot_bytes;          /* of a slot in a new file: a multiple of 4096 */
} eq_served;

/* Answer the link (LINK.md) until standard input ends. Returns an exit code. */
int eq_serve(const eq_served *served);

#endif
