/* SPDX-License-Identifier: Apache-2.0
 * The commands of a device whose models are kept in slots. */
#include "link/slot_commands.h"

#include "edgeq/memory.h"
#include "link/bytes.h"
#include "link/commands.h"
#include "store/store.h"

enum { HEADER_BYTES = sizeof(eq_slot_record), SLOT_BYTES = 32, FLAG_ACTIVE = 1, FLAG_CONFIRMED = 2, FLAG_SIGNED = 4 };
_Static_assert(HEADER_BYTES <= EQ_LINK_PAYLOAD, "a request holds no update header");

static void append_u32(eq_frame *frame, uint32_t value) {
  eq_put_u32(frame->reply + frame->reply_bytes, value);
  frame->reply_bytes += 4;
}

static uint8_t verdict(eq_frame *frame, eq_status status) {
  if (status == EQ_ERR_NO_UPDATE) return EQ_LINK_NO_UPDATE;
  if (status == EQ_ERR_INCOMPLETE) return EQ_LINK_INCOMPLETE;
  if (status == EQ_OK) return EQ_LINK_OK;
  append_u32(frame, (uint32_t)status);
  return EQ_LINK_REFUSED;
}

static uint8_t slot_reply(eq_frame *frame, eq_status status, uint32_t slot) {
  if (status != EQ_OK) return verdict(frame, status);
  frame->reply[frame->reply_bytes++] = (uint8_t)slot;
  return EQ_LINK_OK;
}

static uint8_t tell_slots(const eq_device *device, eq_frame *frame) {
  const eq_store *store = device->store;
  append_u32(frame, store->rules->slots);
  for (uint32_t i = 0; i < store->rules->slots; i++) {
    eq_slot_info info;
    eq_store_slot(store, &info, i);
    const bool is_signed = (info.record.flags & EQ_SLOT_SIGNED) != 0;
    uint8_t *record = frame->reply + frame->reply_bytes;
    eq_fill(record, 0, SLOT_BYTES);
    record[0] = (uint8_t)info.state;
    record[1] = (uint8_t)((store->active == (int32_t)i ? FLAG_ACTIVE : 0) | (info.confirmed ? FLAG_CONFIRMED : 0) |
                          (is_signed ? FLAG_SIGNED : 0));
    record[2] = (uint8_t)info.trials_left;
    eq_put_u32(record + 4, info.record.sequence);
    eq_put_u32(record + 8, info.record.payload_bytes);
    eq_put_u32(record + 12, info.record.payload_crc);
    eq_put_u32(record + 16, info.record.model_version);
    eq_put_u32(record + 20, info.record.board_class);
    eq_put_u32(record + 24, info.record.arena_bytes);
    frame->reply_bytes += SLOT_BYTES;
  }
  return EQ_LINK_OK;
}

static uint8_t begin(eq_store *store, eq_frame *frame) {
  if (frame->request_bytes < HEADER_BYTES) return EQ_LINK_MALFORMED;
  const eq_status status = eq_store_begin(store, frame->request);
  if (status == EQ_OK) append_u32(frame, store->next);
  return verdict(frame, status);
}

static uint8_t data(eq_store *store, eq_frame *frame) {
  if (frame->request_bytes < 4) return EQ_LINK_MALFORMED;
  uint32_t next = 0;
  const uint32_t offset = eq_get_u32(frame->request);
  const eq_status status = eq_store_write(store, &next, offset, frame->request + 4, frame->request_bytes - 4);
  if (status == EQ_OK) append_u32(frame, next);
  return verdict(frame, status);
}

static uint8_t tell_crcs(const eq_store *store, eq_frame *frame) {
  if (frame->request_bytes < 6) return EQ_LINK_MALFORMED;
  const uint32_t first = eq_get_u32(frame->request), asked = eq_get_u16(frame->request + 4);
  append_u32(frame, first);
  for (uint32_t i = 0; i < asked && frame->reply_bytes + 4 <= EQ_LINK_PAYLOAD; i++) {
    uint32_t crc;
    if (eq_store_crcs(store, &crc, first + i, 1) == 0) break;
    append_u32(frame, crc);
  }
  return EQ_LINK_OK;
}

static uint8_t confirm(eq_device *device, eq_frame *frame) {
  const eq_status status = eq_store_confirm(device->store);
  if (status == EQ_OK) device->flags &= ~(uint32_t)EQ_DEVICE_ON_TRIAL;
  return slot_reply(frame, status, (uint32_t)device->store->active);
}

uint8_t eq_slot_commands(eq_device *device, eq_frame *frame) {
  eq_store *store = device->store;
  switch (frame->command) {
    case EQ_COMMAND_STATUS:
      return tell_slots(device, frame);
    case EQ_COMMAND_BEGIN:
      return begin(store, frame);
    case EQ_COMMAND_DATA:
      return data(store, frame);
    case EQ_COMMAND_CRCS:
      return tell_crcs(store, frame);
    case EQ_COMMAND_COMMIT:
      return slot_reply(frame, eq_store_commit(store), store->target);
    case EQ_COMMAND_CONFIRM:
      return confirm(device, frame);
    default:
      return slot_reply(frame, eq_store_revert(store), (uint32_t)store->active);
  }
}
