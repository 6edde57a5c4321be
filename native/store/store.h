/* SPDX-License-Identifier: Apache-2.0
 * Two slots for models in flash, of which one is active while the other takes an update.
 *
 * A slot is a header area and the payload, a model file that runs in place. The header area is whole pages: the slot record
 * and then five boot words, each in write units of its own: three TRIED, CONFIRMED, REVOKED. An update erases the header
 * area of the inactive slot, writes the payload, checks it as it lies in flash, and programs the record last: that is the
 * one atomic step. Until then the old model stays; a cut at any instant leaves the old or the new one, whole.
 *
 * A model that was just committed is on trial: eq_store_boot burns a TRIED word each time it chooses it, and no longer
 * chooses it once three are burnt. CONFIRMED ends the trial; REVOKED gives the model up. Where both slots hold a model the
 * later sequence wins; where none does there is no model, which is a state like any other.
 *
 * One writer, no interrupts: whoever owns the store calls it from one place. Nothing here allocates; besides the signature
 * check (Monocypher, about 2.2 kB) the stack is a few hundred bytes. Signatures keep out models that others made. They do
 * not protect from faults injected into the chip, nor the model from being read out. */
#ifndef EDGEQ_STORE_STORE_H
#define EDGEQ_STORE_STORE_H

#include "edgeq/edgeq.h"
#include "store/slot_record.h"

#define EQ_STORE_MAX_WRITE_BYTES 32
#define EQ_STORE_TRIALS 3

/* Memory-mapped flash that holds the slots: slot i begins at i * slot_bytes. The functions return EQ_OK or EQ_ERR_FLASH;
 * once they have returned, reading through base shows what they did (a driver invalidates its caches). The store checks
 * what it wrote by reading. */
typedef struct eq_flash {
  const uint8_t *base; /* 16-byte aligned */
  uint32_t slot_bytes; /* a multiple of page_bytes */
  uint32_t page_bytes; /* erased as one: all bits 1 */
  uint32_t write_bytes; /* write unit: 1, 2, 4, 8, 16 or 32; each is programmed once after an erase */
  /* Erase the page that begins at offset. */
  eq_status (*erase)(const struct eq_flash *flash, uint32_t offset);
  /* Program n bytes of any alignment in memory; offset and n are multiples of write_bytes, within one page. */
  eq_status (*program)(const struct eq_flash *flash, uint32_t offset, const void *bytes, uint32_t n);
} eq_flash;

/* What a device accepts. */
typedef struct eq_store_rules {
  uint32_t slots; /* 2; or 1: a single slot, where an update gives up the model first and a cut leaves none */
  uint32_t board_class;
  uint32_t arena_bytes; /* memory for a model's arena */
  uint64_t max_work;    /* largest work_budget */
  const uint8_t *key;   /* Ed25519 public key, 32 bytes, which must have signed every model; NULL: signatures are not asked
                         * for. Needs a build with EQ_SIGNED. */
} eq_store_rules;

typedef enum eq_slot_state {
  EQ_SLOT_EMPTY = 0,   /* erased, or an update that was not committed */
  EQ_SLOT_VALID = 1,   /* a model that may run: confirmed, or with trials left */
  EQ_SLOT_DAMAGED = 2, /* a header whose model or signature is not right, or is not for this device */
  EQ_SLOT_REVOKED = 3, /* given up, or tried too often */
} eq_slot_state;

typedef struct eq_slot_info {
  eq_slot_state state;
  bool confirmed;
  uint32_t trials_left;   /* 0 once confirmed */
  eq_slot_record record;  /* all zero when empty */
} eq_slot_info;

/* State of the store; the caller's memory. Fields are read by nobody else. */
typedef struct eq_store {
  const eq_flash *flash;
  const eq_store_rules *rules;
  int32_t active;         /* slot whose model runs, -1: none */
  bool updating;          /* begun: `update`, `target` and `next` count */
  bool stored;            /* and there is nothing left to do: committed, or the active model already */
  uint32_t target;        /* slot of the update */
  uint32_t next;          /* offset at which the next bytes are written */
  eq_slot_record update;
} eq_store;

/* Begin with no active model. flash and rules must outlive the store. EQ_ERR_FLASH for a geometry that cannot hold slots;
 * EQ_ERR_SIGNATURE when rules name a key and the build cannot check signatures. */
eq_status eq_store_init(eq_store *store, const eq_flash *flash, const eq_store_rules *rules);

/* Largest model file that a slot holds. */
uint32_t eq_store_capacity(const eq_flash *flash);

/* Choose the model to run, open it in `model`, and say which slot it lies in, or -1: none. Burns a TRIED word when it is on
 * trial, so call it once per start and when a model was given up. Reads every slot that it considers whole, and checks CRC,
 * structure and, where asked for, hash and signature. An update that was begun is forgotten. */
int32_t eq_store_boot(eq_store *store, eq_model *model);

/* Whether the active model is on trial. */
bool eq_store_on_trial(const eq_store *store);

/* Prepare the slot that is not active for the model that a header describes (256 bytes of any alignment, its sequence
 * ignored). Refuses what can be refused by the header alone before anything is erased: EQ_ERR_MAGIC, _VERSION, _HEADER,
 * _SLOT, _BOARD, _ARENA, _WORK, _DOWNGRADE, _SIGNATURE; EQ_ERR_TRIAL while the active model is on trial, since the
 * other slot is what it would fall back to. A header that was begun already goes on where it is. One of the model that
 * is active asks for no bytes: everything is there. With one slot there is no active model afterwards. */
eq_status eq_store_begin(eq_store *store, const void *header);

/* Write bytes of the payload and set *next to the offset that is expected next. Bytes at any other offset change nothing,
 * which is no error: a repeated frame. n is a multiple of the write unit but at the end; EQ_ERR_SLOT outside
 * the payload, EQ_ERR_ALIGNMENT for n that is no multiple. A page is erased when its first byte is written. Without bytes
 * (n = 0) go on at offset, which is the start of a page or the end: what lies before is there already. */
eq_status eq_store_write(eq_store *store, uint32_t *next, uint32_t offset, const void *bytes, uint32_t n);

/* CRC-32 of each page of the payload, as it lies in flash, from first_page on; of the last page only what is payload.
 * Returns how many there are, at most count; 0 without an update. */
uint32_t eq_store_crcs(const eq_store *store, uint32_t *crcs, uint32_t first_page, uint32_t count);

/* Check the payload as it lies in flash and make the slot valid: EQ_ERR_INCOMPLETE while bytes are missing, EQ_ERR_PAYLOAD,
 * _SIGNATURE, _HEADER (not what the header said) or what eq_model_open says of it; then write from the start again, or
 * what eq_store_crcs shows to differ. Doing it twice is no error. The model runs after the next eq_store_boot. */
eq_status eq_store_commit(eq_store *store);

/* Keep the active model for good; doing it twice is no error. */
eq_status eq_store_confirm(eq_store *store);

/* Give the active model up for good: the next eq_store_boot chooses the other slot, if that has a model. */
eq_status eq_store_revert(eq_store *store);

/* Look at a slot, below rules->slots, without changing anything. Reads all of it, but leaves its signature, which may take
 * seconds, to eq_store_boot. */
void eq_store_slot(const eq_store *store, eq_slot_info *info, uint32_t slot);

/* Run the self-test that a model file may carry: EQ_OK also when it carries none. Overwrites the arena. */
eq_status eq_self_test(const eq_runner *runner);

#endif
