/* SPDX-License-Identifier: Apache-2.0
 * The commands of the link; permanent codes. */
#ifndef EDGEQ_LINK_COMMANDS_H
#define EDGEQ_LINK_COMMANDS_H

#include "link/link.h"

enum {
  EQ_COMMAND_HELLO = 1,
  EQ_COMMAND_STATUS = 2,
  EQ_COMMAND_BEGIN = 3,
  EQ_COMMAND_DATA = 4,
  EQ_COMMAND_CRCS = 5,
  EQ_COMMAND_COMMIT = 6,
  EQ_COMMAND_CONFIRM = 7,
  EQ_COMMAND_REVERT = 8,
  EQ_COMMAND_INPUT = 9,
  EQ_COMMAND_RUN = 10,
  EQ_COMMAND_OUTPUT = 11,
  EQ_COMMAND_STEPS = 12,
  EQ_COMMAND_MEMORY = 13,
  EQ_COMMAND_LOG = 14,
  EQ_COMMAND_FAULT = 15,
  EQ_COMMAND_REBOOT = 16,
  EQ_COMMAND_PORTS = 18,
};

/* Do a command and write its reply; returns an eq_link_status. */
uint8_t eq_command_answer(eq_device *device, eq_frame *frame);

#endif
