/* SPDX-License-Identifier: Apache-2.0
 * Two slots: which model runs, and how an update takes its place. */
#include "store/store.h"

#include "edgeq/memory.h"
#include "store/signature.h"
#include "store/slots.h"

uint32_t eq_store_capacity(const eq_flash *flash) { return flash->slot_bytes - eq_slot_header_bytes(flash); }

eq_status eq_store_init(eq_store *store, const eq_flash *flash, const eq_store_rules *rules) {
  const uint32_t unit = flash->write_bytes, page = flash->page_bytes;
  if (unit == 0 || unit > EQ_STORE_MAX_WRITE_BYTES || (unit & (unit - 1)) != 0) return EQ_ERR_FLASH;
  if (page < sizeof(eq_slot_record) || page % EQ_STORE_MAX_WRITE_BYTES != 0) return EQ_ERR_FLASH;
  if (flash->slot_bytes % page != 0 || flash->slot_bytes <= eq_slot_header_bytes(flash)) return EQ_ERR_FLASH;
  if ((uintptr_t)flash->base % 16 != 0 || rules->slots < 1 || rules->slots > 2) return EQ_ERR_FLASH;
  if (rules->key != NULL && !EQ_HAS_SIGNATURES) return EQ_ERR_SIGNATURE;
  *store = (eq_store){.flash = flash, .rules = rules, .active = -1};
  return EQ_OK;
}

/* Lowest model version that is taken: what a confirmed model asks for, even if it was given up since. */
static uint32_t lowest_version(const eq_store *store) {
  uint32_t lowest = 0;
  for (uint32_t slot = 0; slot < store->rules->slots; slot++) {
    eq_slot_record record;
    if (!eq_slot_read(store->flash, &record, slot) || !eq_slot_burnt(store->flash, slot, EQ_WORD_CONFIRMED)) continue;
    if (record.min_version > lowest) lowest = record.min_version;
  }
  return lowest;
}

/* Whether sequence a comes after b; numbers wrap around. */
static bool later(uint32_t a, uint32_t b) { return (int32_t)(a - b) > 0; }

/* The slot whose record has the later sequence, -1 when there is no record. */
static int32_t latest(const eq_store *store, uint32_t *sequence) {
  int32_t found = -1;
  for (uint32_t slot = 0; slot < store->rules->slots; slot++) {
    eq_slot_record record;
    if (!eq_slot_read(store->flash, &record, slot)) continue;
    if (found >= 0 && !later(record.sequence, *sequence)) continue;
    found = (int32_t)slot;
    *sequence = record.sequence;
  }
  return found;
}

/* Whether a slot's boot words let it run. */
static bool may_run(const eq_flash *flash, uint32_t slot) {
  if (eq_slot_burnt(flash, slot, EQ_WORD_REVOKED)) return false;
  return eq_slot_burnt(flash, slot, EQ_WORD_CONFIRMED) || eq_slot_tried(flash, slot) < EQ_STORE_TRIALS;
}

/* Make a slot's model the active one, if it may be. */
static eq_status start(eq_store *store, eq_model *model, uint32_t slot) {
  const eq_flash *flash = store->flash;
  eq_slot_record record;
  if (!eq_slot_read(flash, &record, slot) || !may_run(flash, slot)) return EQ_ERR_NO_UPDATE;
  if (record.model_version < lowest_version(store)) return EQ_ERR_DOWNGRADE;
  eq_status status = eq_slot_check_record(flash, store->rules, &record);
  if (status == EQ_OK) status = eq_slot_check_payload(flash, store->rules, model, &record, slot);
  if (status == EQ_OK && !eq_slot_burnt(flash, slot, EQ_WORD_CONFIRMED)) status = eq_slot_burn_trial(flash, slot);
  if (status == EQ_OK) store->active = (int32_t)slot;
  return status;
}

int32_t eq_store_boot(eq_store *store, eq_model *model) {
  uint32_t sequence;
  const int32_t first = latest(store, &sequence);
  store->active = -1;
  store->updating = false;
  if (first >= 0 && start(store, model, (uint32_t)first) != EQ_OK && store->rules->slots == 2) {
    (void)start(store, model, (uint32_t)first ^ 1); /* the other one, or none */
  }
  return store->active;
}

bool eq_store_on_trial(const eq_store *store) {
  return store->active >= 0 && !eq_slot_burnt(store->flash, (uint32_t)store->active, EQ_WORD_CONFIRMED);
}

static bool equal(const void *a, const void *b, uint32_t n) {
  const uint8_t *p = a, *q = b;
  for (uint32_t i = 0; i < n; i++) {
    if (p[i] != q[i]) return false;
  }
  return true;
}

/* Whether two records describe the same model, whichever sequence and signature they have. */
static bool same_model(const eq_slot_record *a, const eq_slot_record *b) { return equal(a, b, EQ_SLOT_SIGNED_BYTES); }

static bool is_active(const eq_store *store, const eq_slot_record *record) {
  eq_slot_record active;
  return store->active >= 0 && eq_slot_read(store->flash, &active, (uint32_t)store->active) && same_model(&active, record);
}

/* Whether the slot that an update would take is what the active model would fall back to. */
static bool other_slot_is_needed(const eq_store *store) {
  if (store->active < 0 || store->rules->slots == 1) return false;
  return eq_store_on_trial(store) || eq_slot_burnt(store->flash, (uint32_t)store->active, EQ_WORD_REVOKED);
}

eq_status eq_store_begin(eq_store *store, const void *header) {
  eq_slot_record record;
  eq_copy(&record, header, sizeof record);
  eq_status status = eq_slot_check_record(store->flash, store->rules, &record);
  if (status != EQ_OK) return status;
  if (store->updating && same_model(&store->update, &record)) return EQ_OK;
  const bool stored = is_active(store, &record);
  const uint32_t target = stored ? (uint32_t)store->active : store->active == 0 ? store->rules->slots - 1 : 0;
  if (!stored) {
    if (other_slot_is_needed(store)) return EQ_ERR_TRIAL;
    const uint32_t lowest = lowest_version(store);
    if (record.model_version < lowest || record.min_version < lowest) return EQ_ERR_DOWNGRADE;
    store->updating = false;
    if (store->active == (int32_t)target) store->active = -1;
    status = eq_slot_invalidate(store->flash, target);
    if (status != EQ_OK) return status;
  }
  store->updating = true;
  store->stored = stored;
  store->target = target;
  store->next = stored ? record.payload_bytes : 0;
  store->update = record;
  return EQ_OK;
}

/* Write bytes that lie within one page, erasing it before its first one. */
static eq_status write_within_page(const eq_store *store, uint32_t offset, const uint8_t *bytes, uint32_t n) {
  const eq_flash *flash = store->flash;
  const uint32_t place = eq_slot_payload(flash, store->target) + offset;
  const eq_status status = offset % flash->page_bytes == 0 ? eq_flash_erase(flash, place) : EQ_OK;
  return status == EQ_OK ? eq_flash_program(flash, place, bytes, n) : status;
}

/* Write bytes at `next`, page by page; after a failure the page begins anew. */
static eq_status write_pages(eq_store *store, const uint8_t *bytes, uint32_t n) {
  const uint32_t page_bytes = store->flash->page_bytes;
  while (n != 0) {
    const uint32_t within = store->next % page_bytes, room = page_bytes - within;
    const uint32_t part = n < room ? n : room;
    const eq_status status = write_within_page(store, store->next, bytes, part);
    if (status != EQ_OK) {
      store->next -= within;
      return status;
    }
    store->next += part;
    bytes += part;
    n -= part;
  }
  return EQ_OK;
}

eq_status eq_store_write(eq_store *store, uint32_t *next, uint32_t offset, const void *bytes, uint32_t n) {
  *next = 0;
  if (!store->updating) return EQ_ERR_NO_UPDATE;
  const uint32_t end = store->update.payload_bytes;
  eq_status status = EQ_OK;
  if (offset > end || n > end - offset) {
    status = EQ_ERR_SLOT;
  } else if (!store->stored && n == 0) {
    if (offset == end || offset % store->flash->page_bytes == 0) store->next = offset;
  } else if (!store->stored && offset == store->next) {
    const bool whole = n % store->flash->write_bytes == 0 || offset + n == end;
    status = whole ? write_pages(store, bytes, n) : EQ_ERR_ALIGNMENT;
  }
  *next = store->next;
  return status;
}

uint32_t eq_store_crcs(const eq_store *store, uint32_t *crcs, uint32_t first_page, uint32_t count) {
  if (!store->updating) return 0;
  const eq_flash *flash = store->flash;
  const uint32_t end = store->update.payload_bytes;
  uint32_t done = 0;
  for (; done < count && first_page + done < (end + flash->page_bytes - 1) / flash->page_bytes; done++) {
    const uint32_t offset = (first_page + done) * flash->page_bytes;
    const uint32_t n = end - offset < flash->page_bytes ? end - offset : flash->page_bytes;
    crcs[done] = eq_crc32(0, flash->base + eq_slot_payload(flash, store->target) + offset, n);
  }
  return done;
}

/* Program the record with the next sequence: with its last unit the slot becomes valid. */
static eq_status program_record(eq_store *store) {
  const eq_flash *flash = store->flash;
  eq_slot_record *record = &store->update;
  uint32_t sequence = 0;
  (void)latest(store, &sequence);
  record->sequence = sequence + 1;
  record->header_crc = eq_crc32(0, record, offsetof(eq_slot_record, header_crc));
  const eq_status status =
      eq_flash_program(flash, store->target * flash->slot_bytes, (const uint8_t *)record, sizeof *record);
  eq_slot_record found;
  if (status == EQ_OK && eq_slot_read(flash, &found, store->target) && equal(&found, record, sizeof found)) return EQ_OK;
  (void)eq_slot_invalidate(flash, store->target); /* lest it seem right some other day */
  return EQ_ERR_FLASH;
}

eq_status eq_store_commit(eq_store *store) {
  if (!store->updating) return EQ_ERR_NO_UPDATE;
  if (store->stored) return EQ_OK;
  if (store->next != store->update.payload_bytes) return EQ_ERR_INCOMPLETE;
  eq_model model;
  eq_status status = eq_slot_check_payload(store->flash, store->rules, &model, &store->update, store->target);
  if (status != EQ_OK) store->next = 0;
  if (status == EQ_OK) status = program_record(store);
  if (status == EQ_OK) store->stored = true;
  return status;
}

eq_status eq_store_confirm(eq_store *store) {
  if (store->active < 0) return EQ_ERR_NO_UPDATE;
  return eq_slot_burn(store->flash, (uint32_t)store->active, EQ_WORD_CONFIRMED);
}

eq_status eq_store_revert(eq_store *store) {
  if (store->active < 0) return EQ_ERR_NO_UPDATE;
  return eq_slot_burn(store->flash, (uint32_t)store->active, EQ_WORD_REVOKED);
}

void eq_store_slot(const eq_store *store, eq_slot_info *info, uint32_t slot) {
  const eq_flash *flash = store->flash;
  *info = (eq_slot_info){.state = EQ_SLOT_EMPTY};
  if (!eq_slot_read(flash, &info->record, slot)) {
    if (info->record.magic == EQ_SLOT_MAGIC) info->state = EQ_SLOT_DAMAGED;
    info->record = (eq_slot_record){.magic = 0};
    return;
  }
  info->confirmed = eq_slot_burnt(flash, slot, EQ_WORD_CONFIRMED);
  info->trials_left = info->confirmed ? 0 : EQ_STORE_TRIALS - eq_slot_tried(flash, slot);
  if (!may_run(flash, slot)) {
    info->state = EQ_SLOT_REVOKED;
    return;
  }
  eq_store_rules rules = *store->rules;
  rules.key = NULL;
  eq_model model;
  eq_status status = eq_slot_check_record(flash, &rules, &info->record);
  if (status == EQ_OK) status = eq_slot_check_payload(flash, &rules, &model, &info->record, slot);
  info->state = status == EQ_OK ? EQ_SLOT_VALID : EQ_SLOT_DAMAGED;
}
