/* SPDX-License-Identifier: Apache-2.0
 * The edgeq link on standard input and output. */
#ifndef EDGEQ_PORT_LINUX_SERVE_H
#define EDGEQ_PORT_LINUX_SERVE_H

#include "edgeq/edgeq.h"

/* Answer the link (LINK.md) until standard input ends, with the runner of a model file in memory, or NULL and NULL. `board`
 * is the name that HELLO tells. Returns an exit code. */
int eq_serve(const eq_runner *runner, const eq_header_record *file, const char *board);

#endif
