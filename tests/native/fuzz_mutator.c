/* SPDX-License-Identifier: Apache-2.0
 * libFuzzer's mutator for model files: change fields of records to telling values, then mend the header's CRC. */
#include <string.h>

#include "edgeq/edgeq.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

static uint32_t state;

/* The next number of a Weyl sequence, its bits well mixed, below a bound. */
static uint32_t draw(uint32_t below) {
  state += UINT32_C(0x9E3779B9);
  uint32_t mixed = (state ^ state >> 16) * UINT32_C(0x85EBCA6B);
  mixed = (mixed ^ mixed >> 13) * UINT32_C(0xC2B2AE35);
  mixed ^= mixed >> 16;
  return below > 0 ? mixed % below : 0;
}

static uint32_t get(const uint8_t *at, uint32_t width) {
  uint32_t value = 0;
  memcpy(&value, at, width);
  return value;
}

/* A value to put where `old` stands, `offset` bytes into the file. */
static uint32_t telling(uint32_t old, uint32_t offset, const uint8_t *data, size_t size) {
  switch (draw(16)) {
    case 0: return 0;
    case 1: return 1;
    case 2: return old - 1;
    case 3: return old + 1;
    case 4: return INT32_MAX;
    case 5: return UINT32_C(0x80000000);
    case 6: return UINT32_MAX;
    case 7: return offset;
    case 8: return get(data + draw((uint32_t)size / 4) * 4, 4); /* another field's */
    case 9: return old + 16;
    case 10: return old - 16;
    case 11: return old ^ UINT32_C(0x80000000);
    case 12: return old ^ (UINT32_C(1) << draw(32));
    case 13: return old + (UINT32_C(1) << (28 + draw(4))); /* times a record's size, the same modulo 2^32 */
    case 14: return get(data + draw((uint32_t)size / 4) * 4, 4) + 1;
    default: return draw(64);
  }
}

/* The start of a section and its length within the file; index as in the header. */
static uint32_t section(const uint8_t *data, size_t size, uint32_t index, uint32_t *bytes) {
  const uint32_t start = get(data + 64 + 8 * index, 4);
  *bytes = get(data + 68 + 8 * index, 4);
  if (start >= size) *bytes = 0;
  if (start < size && *bytes > size - start) *bytes = (uint32_t)size - start;
  return start;
}

static void edit_field(uint8_t *data, size_t size) {
  static const uint8_t smallest_width[8] = {4, 4, 2, 2, 1, 4, 1, 4}; /* of the first seven sections and the header */
  static const uint8_t places[10] = {0, 1, 2, 3, 4, 5, 5, 6, 7, 7}; /* sections, twice the parameters; 7 the header */
  const uint32_t place = places[draw(10)];
  uint32_t start = 0, bytes = draw(2) == 0 ? sizeof(eq_header_record) : offsetof(eq_header_record, locations_offset);
  if (place < 7) start = section(data, size, place, &bytes);
  uint32_t width = smallest_width[place];
  if (place == 7 && draw(4) == 0) width = 2;
  while (width < 4 && draw(2) == 0) width *= 2;
  if (bytes < width) return;
  const uint32_t at = start + draw(bytes / width) * width;
  const uint32_t value = telling(get(data + at, width), at, data, size);
  memcpy(data + at, &value, width);
}

static void copy_record(uint8_t *data, size_t size, bool swap) {
  static const uint32_t record_bytes[5] = {4, 4, sizeof(eq_step_record), 2, sizeof(eq_port_record)};
  const uint32_t index = draw(5), width = record_bytes[index];
  uint32_t bytes;
  const uint32_t start = section(data, size, index, &bytes);
  if (bytes < 2 * width) return;
  uint8_t *a = data + start + draw(bytes / width) * width, *b = data + start + draw(bytes / width) * width;
  uint8_t kept[sizeof(eq_port_record)];
  memcpy(kept, a, width);
  memmove(a, b, width);
  if (swap) memcpy(b, kept, width);
}

/* Move the scratch memory of a step to where some tensor lies. */
static void move_scratch(uint8_t *data, size_t size) {
  uint32_t steps_bytes, locations_bytes;
  const uint32_t steps = section(data, size, 2, &steps_bytes), locations = section(data, size, 0, &locations_bytes);
  if (steps_bytes < sizeof(eq_step_record) || locations_bytes < 4) return;
  const uint32_t step = steps + draw(steps_bytes / sizeof(eq_step_record)) * (uint32_t)sizeof(eq_step_record);
  memcpy(data + step + offsetof(eq_step_record, scratch_offset), data + locations + draw(locations_bytes / 4) * 4, 4);
}

/* Take the last step, operand or port away, or give one more, as the counts and sizes of the header go. */
static void edit_counts(uint8_t *data, size_t size) {
  eq_header_record h;
  if (size < sizeof h) return;
  memcpy(&h, data, sizeof h);
  const uint32_t up = draw(2);
  switch (draw(4)) {
    case 0:
      h.step_count += up != 0 ? 1 : UINT32_MAX;
      h.steps_size = h.step_count * (uint32_t)sizeof(eq_step_record);
      break;
    case 1:
      h.operand_count += up != 0 ? 1 : UINT32_MAX;
      h.operands_size = h.operand_count * 2;
      break;
    case 2:
      h.output_count = (uint16_t)(h.output_count + (up != 0 ? 1 : -1));
      h.ports_size = ((uint32_t)h.input_count + h.output_count) * (uint32_t)sizeof(eq_port_record);
      break;
    default: /* an input becomes an output or the other way round */
      h.input_count = (uint16_t)(h.input_count + (up != 0 ? 1 : -1));
      h.output_count = (uint16_t)(h.output_count + (up != 0 ? -1 : 1));
      break;
  }
  memcpy(data, &h, sizeof h);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
  state = seed;
  if (size < sizeof(eq_header_record) || draw(20) == 0) {
    size = LLVMFuzzerMutate(data, size, max_size);
  } else {
    uint32_t edits = 1;
    while (edits < 6 && draw(3) == 0) edits++;
    for (uint32_t i = 0; i < edits; i++) {
      const uint32_t choice = draw(12);
      if (choice == 0) {
        copy_record(data, size, true);
      } else if (choice == 1) {
        copy_record(data, size, false);
      } else if (choice == 2) {
        edit_counts(data, size);
      } else if (choice == 3) {
        move_scratch(data, size);
      } else {
        edit_field(data, size);
      }
    }
    if (draw(50) == 0 && size > 256) size -= 1 + draw(64);
  }
  if (size >= sizeof(eq_header_record) && draw(16) != 0) {
    const uint32_t file_bytes = (uint32_t)size;
    if (draw(4) != 0) memcpy(data + offsetof(eq_header_record, file_bytes), &file_bytes, 4);
    const uint32_t crc = eq_crc32(0, data, offsetof(eq_header_record, header_crc));
    memcpy(data + offsetof(eq_header_record, header_crc), &crc, 4);
  }
  return size;
}
