/* SPDX-License-Identifier: Apache-2.0
 * Framing: bytes to frames and text, replies to bytes. */
#include "link/link.h"

#include "link/bytes.h"
#include "link/commands.h"
#include "link/text.h"

/* The first two bytes after a 0x00 tell a frame from text: a frame's second is its first byte before COBS, REQUEST. */
enum { REQUEST = 0x10, REPLY = 0x11 };
enum { REQUEST_BYTES = 3, REPLY_BYTES = 4, CRC_BYTES = 4 };

/* What the next byte may belong to. */
enum { TEXT, FIRST, SECOND, FRAME, NOISE };

void eq_link_init(eq_link *link, eq_device *device) {
  *link = (eq_link){.device = device, .receiving = FIRST};
  device->features |= EQ_FEATURE_TEXT | EQ_FEATURE_COUNTS | (device->slot_commands != NULL ? EQ_FEATURE_SLOTS : 0u);
  device->step = EQ_NO_STEP;
}

/* Write n bytes as COBS and the 0x00 that ends them: runs without zeros, each after its length plus 1. */
static void send(const eq_device *device, const uint8_t *bytes, uint32_t n) {
  static const uint8_t zero = 0;
  device->write(device, &zero, 1);
  for (uint32_t i = 0; i <= n;) {
    uint32_t run = 0;
    while (run < 254 && i + run < n && bytes[i + run] != 0) run++;
    const uint8_t code = (uint8_t)(run + 1);
    device->write(device, &code, 1);
    device->write(device, bytes + i, run);
    i += run;
    if (run < 254) {
      i++; /* the zero that the code stands for, or the end */
    } else if (i == n) {
      break;
    }
  }
  device->write(device, &zero, 1);
}

static void answer(eq_link *link, uint32_t n) {
  uint8_t *frame = link->frame;
  if (n < REQUEST_BYTES + CRC_BYTES || eq_crc32(0, frame, n - CRC_BYTES) != eq_get_u32(frame + n - CRC_BYTES)) return;
  eq_frame f = {
      .command = frame[1],
      .request = frame + REQUEST_BYTES,
      .request_bytes = n - REQUEST_BYTES - CRC_BYTES,
      .reply = frame + REPLY_BYTES,
      .reply_bytes = 0,
  };
  const uint8_t seq = frame[2];
  const bool reboot = f.command == EQ_COMMAND_REBOOT;
  const uint8_t status = eq_command_answer(link->device, &f);
  frame[0] = REPLY;
  frame[1] = f.command | 0x80;
  frame[2] = seq;
  frame[3] = status;
  const uint32_t end = REPLY_BYTES + f.reply_bytes;
  eq_put_u32(frame + end, eq_crc32(0, frame, end));
  send(link->device, frame, end + CRC_BYTES);
  if (reboot) link->device->reboot(link->device);
}

/* Take a byte of a frame that is not 0x00, undoing COBS: a block is a code and code - 1 bytes; a zero stands between
 * blocks, but not after one of 254 bytes. */
static void take(eq_link *link, uint8_t byte) {
  if (link->left > 0) {
    link->left--;
  } else {
    const bool zero = link->block != 255;
    link->block = byte;
    link->left = (uint8_t)(byte - 1);
    if (!zero) return;
    byte = 0;
  }
  if (link->used == REQUEST_BYTES + EQ_LINK_PAYLOAD + CRC_BYTES) {
    link->receiving = NOISE;
  } else {
    link->frame[link->used++] = byte;
  }
}

void eq_link_feed(eq_link *link, uint8_t byte) {
  if (byte == 0) {
    if (link->receiving == FRAME && link->left == 0) answer(link, link->used);
    link->receiving = FIRST;
    eq_text_begin(&link->text);
    return;
  }
  switch (link->receiving) {
    case FIRST:
      link->block = byte;
      link->receiving = SECOND;
      break;
    case SECOND:
      if (byte == REQUEST && link->block > 1) {
        link->used = 0;
        link->left = (uint8_t)(link->block - 1);
        link->receiving = FRAME;
        take(link, byte);
      } else {
        link->receiving = TEXT;
        eq_text_feed(link, link->block);
        eq_text_feed(link, byte);
      }
      break;
    case FRAME:
      take(link, byte);
      break;
    case TEXT:
      eq_text_feed(link, byte);
      break;
    default:
      break;
  }
}
