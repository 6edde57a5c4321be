/* SPDX-License-Identifier: Apache-2.0
 * What makes a slot valid: a record that this device accepts, and a payload that is what the record says. */
#include "edgeq/memory.h"
#include "store/signature.h"
#include "store/slots.h"

_Static_assert(EQ_SLOT_SIGNED_BYTES == offsetof(eq_slot_record, sequence), "all before the sequence is signed");
_Static_assert(EQ_SLOT_SIGNED_BYTES <= EQ_SIGNATURE_MAX_MESSAGE, "the signed part fits the buffer");

static bool signed_by(const uint8_t *key, const eq_slot_record *record) {
#if EQ_HAS_SIGNATURES
  if ((record->flags & EQ_SLOT_SIGNED) == 0) return false;
  return eq_signature_matches(record->signature, key, record, EQ_SLOT_SIGNED_BYTES);
#else
  (void)key, (void)record;
  return false;
#endif
}

static bool hash_matches(const eq_slot_record *record, const uint8_t *payload) {
#if EQ_HAS_SIGNATURES
  uint8_t hash[64];
  eq_sha512(hash, payload, record->payload_bytes);
  uint32_t differ = 0;
  for (uint32_t i = 0; i < sizeof hash; i++) differ |= (uint32_t)(hash[i] ^ record->payload_sha512[i]);
  return differ == 0;
#else
  (void)record, (void)payload;
  return false;
#endif
}

eq_status eq_slot_check_record(const eq_flash *flash, const eq_store_rules *rules, const eq_slot_record *record) {
  if (record->magic != EQ_SLOT_MAGIC) return EQ_ERR_MAGIC;
  if (eq_crc32(0, record, offsetof(eq_slot_record, header_crc)) != record->header_crc) return EQ_ERR_HEADER;
  if (record->header_version != EQ_SLOT_VERSION || (record->flags & ~EQ_SLOT_SIGNED) != 0) return EQ_ERR_VERSION;
  if (record->kernel_abi != EQ_KERNEL_ABI) return EQ_ERR_VERSION;
  for (uint32_t i = 0; i < sizeof record->reserved; i++) {
    if (record->reserved[i] != 0) return EQ_ERR_HEADER;
  }
  if (record->payload_bytes == 0 || record->payload_bytes > eq_store_capacity(flash)) return EQ_ERR_SLOT;
  if (record->board_class != 0 && record->board_class != rules->board_class) return EQ_ERR_BOARD;
  if (record->arena_bytes > rules->arena_bytes) return EQ_ERR_ARENA;
  if (record->work_budget > rules->max_work) return EQ_ERR_WORK;
  if (rules->key != NULL && !signed_by(rules->key, record)) return EQ_ERR_SIGNATURE;
  return EQ_OK;
}

eq_status eq_slot_check_payload(const eq_flash *flash, const eq_store_rules *rules, eq_model *model,
                                const eq_slot_record *record, uint32_t slot) {
  const uint8_t *payload = flash->base + eq_slot_payload(flash, slot);
  if (eq_crc32(0, payload, record->payload_bytes) != record->payload_crc) return EQ_ERR_PAYLOAD;
  if (rules->key != NULL && !hash_matches(record, payload)) return EQ_ERR_SIGNATURE;
  const eq_status status = eq_model_open(model, payload, record->payload_bytes);
  if (status != EQ_OK) return status;
  const eq_header_record *header = model->header;
  if (header->board_class != record->board_class || header->arena_bytes != record->arena_bytes) return EQ_ERR_HEADER;
  if (header->model_version != record->model_version || header->work_budget != record->work_budget) return EQ_ERR_HEADER;
  eq_runner runner = {.model = model};
  return eq_runner_use(&runner, NULL); /* there must be kernels that read its weights */
}
