/* SPDX-License-Identifier: Apache-2.0
 * The text commands of MLPerf Tiny's runner (LINK.md), answered as its reference firmware does. */
#ifndef EDGEQ_LINK_TEXT_H
#define EDGEQ_LINK_TEXT_H

#include "link/link.h"

/* Most inferences of one `infer`, warm-up or measured. */
#ifndef EQ_TEXT_INFERENCES
#define EQ_TEXT_INFERENCES 100000
#endif

/* Forget the command that was arriving. */
void eq_text_begin(eq_text *text);

/* Take a character; answer the command that it ends. Uses the frame's memory. */
void eq_text_feed(eq_link *link, uint8_t character);

#endif
