/* SPDX-License-Identifier: Apache-2.0
 * What lies in a slot: its record, its boot words, its payload. */
#ifndef EDGEQ_STORE_SLOTS_H
#define EDGEQ_STORE_SLOTS_H

#include "store/store.h"

/* Boot words; the TRIED ones come first. */
#define EQ_WORD_TRIED 0
#define EQ_WORD_CONFIRMED EQ_STORE_TRIALS
#define EQ_WORD_REVOKED (EQ_STORE_TRIALS + 1)
#define EQ_BOOT_WORDS (EQ_STORE_TRIALS + 2)

/* Bytes of the header area: whole pages with the record and the boot words. */
uint32_t eq_slot_header_bytes(const eq_flash *flash);

/* Offset of a slot's payload. */
uint32_t eq_slot_payload(const eq_flash *flash, uint32_t slot);

/* Erase the header area, the record first. */
eq_status eq_slot_invalidate(const eq_flash *flash, uint32_t slot);

/* Copy a slot's record; false when there is none, or cells that read now so, now otherwise. */
bool eq_slot_read(const eq_flash *flash, eq_slot_record *record, uint32_t slot);

/* Whether a boot word was burnt: one bit that fell by itself is none. Any bit makes a TRIED word count. */
bool eq_slot_burnt(const eq_flash *flash, uint32_t slot, uint32_t word);
uint32_t eq_slot_tried(const eq_flash *flash, uint32_t slot);

/* Burn a boot word, or finish one that a cut left with one bit burnt; EQ_OK when it was already. */
eq_status eq_slot_burn(const eq_flash *flash, uint32_t slot, uint32_t word);

/* Burn one more TRIED word; EQ_ERR_TRIAL when none is left. */
eq_status eq_slot_burn_trial(const eq_flash *flash, uint32_t slot);

/* Erase a page, or program bytes within one, and read them back. The last unit is filled up with ones. */
eq_status eq_flash_erase(const eq_flash *flash, uint32_t offset);
eq_status eq_flash_program(const eq_flash *flash, uint32_t offset, const uint8_t *bytes, uint32_t n);

/* Check a record by itself, its signature too where the rules ask for one. */
eq_status eq_slot_check_record(const eq_flash *flash, const eq_store_rules *rules, const eq_slot_record *record);

/* Check a payload against its record, and open it. */
eq_status eq_slot_check_payload(const eq_flash *flash, const eq_store_rules *rules, eq_model *model,
                                const eq_slot_record *record, uint32_t slot);

#endif
