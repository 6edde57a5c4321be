/* SPDX-License-Identifier: Apache-2.0
 * The device's side of the edgeq link (LINK.md): bytes in, commands done, replies out.
 *
 * eq_link_feed takes every byte that arrives and answers a request when its frame is complete, before it returns: a RUN takes
 * as long as the inference. Any bytes at all leave it ready for the next frame. State is constant in size, the
 * stack is a few hundred bytes besides the model's own. */
#ifndef EDGEQ_LINK_LINK_H
#define EDGEQ_LINK_LINK_H

#include "link/device.h"

/* Largest payload of a request or reply. BEGIN needs 256; DATA carries four bytes less than this. */
#ifndef EQ_LINK_PAYLOAD
#define EQ_LINK_PAYLOAD 260
#endif
#if EQ_LINK_PAYLOAD < 96 || EQ_LINK_PAYLOAD > 1028
#error "EQ_LINK_PAYLOAD is 96 to 1028 bytes"
#endif

/* Frames that may be on their way at once; the port's receive buffer must hold EQ_LINK_WINDOW * EQ_LINK_WIRE_BYTES. */
#ifndef EQ_LINK_WINDOW
#define EQ_LINK_WINDOW 2
#endif

#define EQ_LINK_FRAME_BYTES (4 + EQ_LINK_PAYLOAD + 4) /* a reply, which has one byte more than a request */
#define EQ_LINK_WIRE_BYTES (EQ_LINK_FRAME_BYTES + EQ_LINK_FRAME_BYTES / 254 + 1 + 2)

/* Status of a reply; LINK.md. */
typedef enum eq_link_status {
  EQ_LINK_OK = 0,
  EQ_LINK_UNKNOWN = 1,
  EQ_LINK_MALFORMED = 2,
  EQ_LINK_RANGE = 3,
  EQ_LINK_NO_MODEL = 4,
  EQ_LINK_INPUT = 5,
  EQ_LINK_NO_UPDATE = 6,
  EQ_LINK_INCOMPLETE = 7,
  EQ_LINK_REFUSED = 8,
  EQ_LINK_NO_RESULT = 9,
} eq_link_status;

/* A request being answered. The reply is built over the request, whose payload begins one byte earlier: read first. */
typedef struct eq_frame {
  uint8_t command;
  const uint8_t *request;
  uint32_t request_bytes;
  uint8_t *reply; /* EQ_LINK_PAYLOAD bytes */
  uint32_t reply_bytes;
} eq_frame;

/* What was read of the text command that is arriving. */
typedef struct eq_text {
  uint32_t expected, loaded; /* bytes of `db` */
  uint8_t used;              /* characters in the command */
  uint8_t digit;             /* the first of two hexadecimal digits, plus 1; 0: none */
  uint8_t state;
  char command[40];
} eq_text;

typedef struct eq_link {
  eq_device *device;
  eq_text text;
  uint32_t used;     /* decoded bytes */
  uint8_t block;     /* code byte of the COBS block that is arriving; 0: no byte of a frame yet */
  uint8_t left;      /* its bytes still to come */
  uint8_t receiving; /* what the next byte may belong to */
  uint8_t frame[EQ_LINK_FRAME_BYTES];
} eq_link;

/* Begin; the device must outlive the link. */
void eq_link_init(eq_link *link, eq_device *device);

/* Take the next byte. */
void eq_link_feed(eq_link *link, uint8_t byte);

#endif
