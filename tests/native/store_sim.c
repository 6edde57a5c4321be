/* SPDX-License-Identifier: Apache-2.0
 * NOR flash in memory under the store, whose power can be cut in any operation: each erase of a page and each program of a
 * write unit is one. What the flash must not be asked to do is noted as a violation. */
#include "store/store.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#define MOST_CELLS (1u << 17)
#define MOST_CUTS 3
#define CHUNK_BYTES 64
#define WAS_CUT 99

enum { NOTHING, HALF, RANDOM, DONE, MODES }; /* what a cut leaves of the operation */
enum { NO_MODEL, OLD_MODEL, NEW_MODEL, WRONG_BYTES };
enum { BEFORE_COMMIT, IN_COMMIT, COMMITTED };

typedef struct sim_update {
  const uint8_t *header, *payload;
  uint32_t payload_bytes;
} sim_update;

typedef struct sim_cut {
  uint32_t at; /* counted from the start of an update */
  uint32_t mode;
} sim_cut;

/* What a round of cuts found. */
typedef struct sim_count {
  uint64_t points, bad, kept, taken;
  char first_bad[200];
} sim_count;

typedef struct image {
  uint8_t cells[MOST_CELLS];
  uint8_t programmed[MOST_CELLS]; /* by unit, since the last erase */
} image;

static _Alignas(16) image now;
static eq_flash flash;
static eq_store_rules rules;
static eq_store store;
static eq_model model;
static uint32_t slot_count, operations, cut_at = UINT32_MAX, cut_mode, phase;
static jmp_buf power;
static uint32_t seed = 1;
static uint32_t unsteady_every, unsteady_reads;
uint32_t sim_unsteady_at = UINT32_MAX;
static const char *violation;
static eq_status verdict = EQ_OK; /* of the driver, whatever it did */

/* Copy what of an image is in use. */
static void copy_image(image *to, const image *from) {
  const uint32_t used = slot_count * flash.slot_bytes;
  memcpy(to->cells, from->cells, used);
  memcpy(to->programmed, from->programmed, used / flash.write_bytes);
}

static uint32_t draw(void) {
  seed ^= seed << 13;
  seed ^= seed >> 17;
  seed ^= seed << 5;
  return seed;
}

uint8_t sim_falter(void) { return ++unsteady_reads % unsteady_every == 0 ? 0x10 : 0; }

/* The runtime's CRC by a larger table: three times as fast. */
uint32_t eq_crc32(uint32_t crc, const void *bytes, size_t n_bytes) {
  static uint32_t table[256];
  for (uint32_t i = 0; table[255] == 0 && i < 256; i++) {
    uint32_t value = i;
    for (uint32_t bit = 0; bit < 8; bit++) value = value >> 1 ^ (value % 2 == 0 ? 0 : UINT32_C(0xEDB88320));
    table[i] = value;
  }
  crc = ~crc;
  for (size_t i = 0; i < n_bytes; i++) crc = table[(uint8_t)crc ^ ((const uint8_t *)bytes)[i]] ^ crc >> 8;
  return ~crc;
}

/* Instead of the runtime's, which asks the CPU what it can: slow in a virtual machine. */
eq_status eq_runner_use(eq_runner *runner, const char *isa) {
  (void)isa;
  return runner->model->header->layout == EQ_LAYOUT_PORTABLE ? EQ_OK : EQ_ERR_LAYOUT;
}

static eq_status sim_erase(const eq_flash *of, uint32_t offset) {
  const uint32_t page = of->page_bytes;
  if (offset % page != 0 || offset + page > slot_count * of->slot_bytes) violation = "erase outside the pages";
  const bool cut = operations++ == cut_at;
  for (uint32_t i = 0; i < page; i++) {
    uint8_t *cell = &now.cells[offset + i];
    if (!cut || cut_mode == DONE || (cut_mode == HALF && i < page / 2)) *cell = 0xFF;
    if (cut && cut_mode == RANDOM) *cell |= (uint8_t)draw();
  }
  if (!cut || cut_mode != NOTHING) memset(now.programmed + offset / of->write_bytes, 0, page / of->write_bytes);
  if (cut) longjmp(power, 1);
  return verdict;
}

static eq_status sim_program(const eq_flash *of, uint32_t offset, const void *bytes, uint32_t n) {
  const uint32_t unit = of->write_bytes;
  const uint8_t *from = bytes;
  if (n == 0 || offset % unit != 0 || n % unit != 0) violation = "program of no whole units";
  if (offset / of->page_bytes != (offset + n - 1) / of->page_bytes) violation = "program over the end of a page";
  for (uint32_t i = 0; i < n; i += unit) {
    const bool cut = operations++ == cut_at;
    bool touched = false;
    if (now.programmed[(offset + i) / unit]) violation = "a unit programmed twice";
    for (uint32_t j = 0; j < unit; j++) {
      uint8_t value = from[i + j];
      if (cut && cut_mode == NOTHING) value = 0xFF;
      if (cut && cut_mode == HALF && (unit == 1 ? false : j >= unit / 2)) value = 0xFF;
      if (cut && cut_mode == HALF && unit == 1) value |= 0x0F;
      if (cut && cut_mode == RANDOM) value |= (uint8_t)draw();
      now.cells[offset + i + j] &= value;
      touched |= value != 0xFF;
    }
    now.programmed[(offset + i) / unit] = !cut || touched;
    if (cut) longjmp(power, 1);
  }
  return verdict;
}

/* Set the geometry and the rules, fill the flash with what a chip may hold that was never erased, and start. */
eq_status sim_open(uint32_t page_bytes, uint32_t write_bytes, uint32_t slot_bytes, const eq_store_rules *with) {
  if (2 * slot_bytes > MOST_CELLS) abort();
  rules = *with;
  slot_count = rules.slots;
  flash = (eq_flash){now.cells, slot_bytes, page_bytes, write_bytes, sim_erase, sim_program};
  memset(now.cells, 0x5A, sizeof now.cells);
  memset(now.programmed, 1, sizeof now.programmed);
  cut_at = sim_unsteady_at = UINT32_MAX;
  violation = NULL;
  verdict = EQ_OK;
  return eq_store_init(&store, &flash, &rules);
}

/* Let the driver report a failure of what it does nevertheless. */
void sim_complain(bool on) { verdict = on ? EQ_ERR_FLASH : EQ_OK; }

/* Lose what is in RAM. */
void sim_reset(void) {
  if (eq_store_init(&store, &flash, &rules) != EQ_OK) abort();
  memset(&model, 0, sizeof model);
}

eq_store *sim_store(void) { return &store; }
uint8_t *sim_cells(void) { return now.cells; }
const eq_model *sim_model(void) { return &model; }
uint32_t sim_operations(void) { return operations; }
const char *sim_violation(void) { return violation; }
uint32_t sim_capacity(void) { return eq_store_capacity(&flash); }

/* Cut the power in an operation, counted from now; it comes back when the call that it cuts returns. */
void sim_cut_after(uint32_t count, uint32_t mode) {
  operations = 0;
  cut_at = count;
  cut_mode = mode;
}

/* Let a cell read otherwise every so many reads. */
void sim_unsteady(uint32_t offset, uint32_t every) {
  sim_unsteady_at = offset;
  unsteady_every = every;
  unsteady_reads = 0;
}

/* Do one thing that a cut may end; WAS_CUT when it did, and the RAM is lost. */
int32_t sim_do(uint32_t what) {
  int32_t result = WAS_CUT;
  if (setjmp(power) == 0) {
    result = what == 0   ? eq_store_boot(&store, &model)
             : what == 1 ? (int32_t)eq_store_confirm(&store)
             : what == 2 ? (int32_t)eq_store_revert(&store)
                         : (int32_t)eq_store_commit(&store);
  } else {
    sim_reset();
  }
  cut_at = UINT32_MAX;
  return result;
}

/* Which model a start finds. It is compared byte by byte. */
static int32_t found(const sim_update *old, const sim_update *new) {
  sim_reset();
  if (eq_store_boot(&store, &model) < 0) return NO_MODEL;
  const uint32_t n = model.header->file_bytes;
  if (n == new->payload_bytes && memcmp(model.bytes, new->payload, n) == 0) return NEW_MODEL;
  return n == old->payload_bytes && memcmp(model.bytes, old->payload, n) == 0 ? OLD_MODEL : WRONG_BYTES;
}

/* As a start that leaves the flash as it is. */
static int32_t would_find(const sim_update *old, const sim_update *new) {
  static image saved;
  copy_image(&saved, &now);
  const int32_t result = found(old, new);
  copy_image(&now, &saved);
  return result;
}

/* Put a model on the device as a host does, from its start to the confirmation. */
eq_status sim_push(const sim_update *update) {
  phase = BEFORE_COMMIT;
  sim_reset();
  (void)eq_store_boot(&store, &model);
  eq_status status = eq_store_begin(&store, update->header);
  const bool active = status == EQ_OK && store.stored;
  uint32_t next = active ? update->payload_bytes : 0;
  while (status == EQ_OK && next < update->payload_bytes) {
    const uint32_t left = update->payload_bytes - next;
    status = eq_store_write(&store, &next, next, update->payload + next, left < CHUNK_BYTES ? left : CHUNK_BYTES);
  }
  phase = active ? COMMITTED : IN_COMMIT;
  if (status == EQ_OK) status = eq_store_commit(&store);
  phase = status == EQ_OK ? COMMITTED : phase;
  if (status == EQ_OK && !active && eq_store_boot(&store, &model) < 0) status = EQ_ERR_NO_UPDATE;
  return status == EQ_OK ? eq_store_confirm(&store) : status;
}

/* Push with a cut; the state that a start finds after it is the old or the new one, as the phase allows. */
static bool push_cut(const sim_update *old, const sim_update *new, const sim_cut *cut, bool lenient, int32_t *state) {
  const int32_t before = *state;
  sim_cut_after(cut->at, cut->mode);
  if (setjmp(power) == 0) (void)sim_push(new);
  cut_at = UINT32_MAX;
  *state = would_find(old, new);
  if (violation != NULL) return false;
  if (lenient) return *state == before || *state == NEW_MODEL || (before == NEW_MODEL && *state != WRONG_BYTES);
  if (phase == BEFORE_COMMIT) return *state == before;
  return phase == COMMITTED ? *state == NEW_MODEL : *state == before || *state == NEW_MODEL;
}

/* Push without a cut: from then on the new model is there for good. */
static bool push_works(const sim_update *old, const sim_update *new) {
  if (sim_push(new) != EQ_OK || found(old, new) != NEW_MODEL) return false;
  return !eq_store_on_trial(&store) && violation == NULL;
}

static void note(sim_count *count, const char *what, const sim_cut cuts[], uint32_t depth, int32_t state) {
  if (count->bad++ != 0) return;
  char *to = count->first_bad;
  const uint32_t numbers[] = {depth, cuts[0].at, cuts[0].mode, cuts[1].at, cuts[1].mode, (uint32_t)state};
  while (*what != 0 && to < count->first_bad + 100) *to++ = *what++;
  for (uint32_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    char digits[12];
    uint32_t n = 0, value = numbers[i];
    do digits[n++] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    *to++ = ' ';
    while (n != 0) *to++ = digits[--n];
  }
  *to = 0;
}

/* Bring the flash to a start: 0 never used, 1 the old model, 2 the old one over the new one, 3 the old one and the new one
 * given up. */
static int32_t prepare(uint32_t start, const sim_update *old, const sim_update *new, image *begun) {
  const eq_store_rules same = rules;
  if (sim_open(flash.page_bytes, flash.write_bytes, flash.slot_bytes, &same) != EQ_OK) abort();
  if (start == 2 && (sim_push(old) != EQ_OK || sim_push(new) != EQ_OK)) abort();
  if (start >= 1 && sim_push(old) != EQ_OK) abort();
  if (start == 3 && (sim_push(new) != EQ_OK || eq_store_revert(&store) != EQ_OK)) abort();
  copy_image(begun, &now);
  return start == 0 ? NO_MODEL : OLD_MODEL;
}

/* Cut a push of the new model in every operation and mode, and the one after it in every stride-th (0: only once) operation,
 * in every mode where `all` and in one mode otherwise. After each, a push without a cut must work. */
void sim_power_cuts(sim_count *count, uint32_t start, const sim_update *old, const sim_update *new, uint32_t stride,
                    bool all) {
  static image begun, once;
  const int32_t before = prepare(start, old, new, &begun);
  operations = 0;
  if (!push_works(old, new)) {
    note(count, "a push without a cut fails", (sim_cut[MOST_CUTS]){{0, 0}}, 0, before);
    return;
  }
  const uint32_t total = operations;
  for (uint32_t i = 0; i < total * MODES; i++) {
    sim_cut cuts[MOST_CUTS] = {{i / MODES, i % MODES}};
    copy_image(&now, &begun);
    int32_t first = before;
    count->points++;
    if (!push_cut(old, new, &cuts[0], false, &first)) note(count, "cut", cuts, 1, first);
    count->kept += first == before;
    count->taken += first == NEW_MODEL;
    copy_image(&once, &now);
    if (!push_works(old, new)) note(count, "the push after a cut fails", cuts, 1, first);
    const uint32_t second = all ? MODES : 1;
    for (uint32_t j = stride == 0 ? total * second : i % stride; j < total * second; j += stride) {
      cuts[1] = (sim_cut){j / second, all ? j % MODES : (i + j / stride) % MODES};
      copy_image(&now, &once);
      int32_t state = first;
      count->points++;
      if (!push_cut(old, new, &cuts[1], false, &state)) note(count, "second cut", cuts, 2, state);
      if (!push_works(old, new)) note(count, "the push after two cuts fails", cuts, 2, state);
    }
  }
}

/* Cut three pushes of the new model in operations drawn at random. */
void sim_triple_cuts(sim_count *count, uint32_t start, const sim_update *old, const sim_update *new, uint64_t triples) {
  static image begun;
  const int32_t before = prepare(start, old, new, &begun);
  operations = 0;
  (void)sim_push(new);
  const uint32_t total = operations;
  for (uint64_t i = 0; i < triples; i++) {
    sim_cut cuts[MOST_CUTS];
    copy_image(&now, &begun);
    int32_t state = before;
    count->points++;
    for (uint32_t j = 0; j < MOST_CUTS; j++) {
      cuts[j] = (sim_cut){draw() % total, draw() % MODES};
      if (!push_cut(old, new, &cuts[j], j != 0, &state)) note(count, "cut of three", cuts, j + 1, state);
    }
    if (!push_works(old, new)) note(count, "the push after three cuts fails", cuts, 3, state);
  }
}

/* Damage a store of two confirmed models at rest: with bursts = 0 each single bit, else so many bursts of 2 to 64 bits.
 * One bit leaves one of the two; more may leave none, never other bytes. */
void sim_bit_rot(sim_count *count, const sim_update *old, const sim_update *new, uint64_t bursts) {
  static image begun;
  (void)prepare(1, old, new, &begun);
  if (sim_push(new) != EQ_OK) abort();
  copy_image(&begun, &now);
  const uint32_t bits = slot_count * flash.slot_bytes * 8;
  for (uint64_t i = 0; i < (bursts == 0 ? bits : bursts); i++) {
    const uint32_t first = bursts == 0 ? (uint32_t)i : draw() % bits;
    const uint32_t length = bursts == 0 ? 1 : 2 + draw() % 63;
    for (uint32_t bit = first; bit < first + length && bit < bits; bit++) {
      const bool end = bit == first || bit == first + length - 1;
      if (end || draw() % 2 != 0) now.cells[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    const int32_t state = found(old, new);
    count->points++;
    count->kept += state == OLD_MODEL;
    count->taken += state == NEW_MODEL;
    const bool wrong = state == WRONG_BYTES || (bursts == 0 && state == NO_MODEL);
    if (wrong) note(count, "damage", (sim_cut[MOST_CUTS]){{first, length}}, 1, state);
    copy_image(&now, &begun);
  }
}
