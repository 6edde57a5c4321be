/* SPDX-License-Identifier: Apache-2.0
 * The text commands of MLPerf Tiny's runner. */
#include "link/text.h"

#include "edgeq/memory.h"

enum { WORDS, DIGITS, NOT_HEX, TOO_LONG };
enum { PRINTED_LINE = 8 };
enum { SMALLEST_EXPONENT = 1, EXPONENT_BIAS = 127, MANTISSA_BITS = 23 };

static void say(const eq_device *device, const char *text) {
  uint32_t n = 0;
  while (text[n] != 0) n++;
  device->write(device, (const uint8_t *)text, n);
}

/* Quotient of a 64-bit number, without the compiler's library; *rest is the remainder. */
static uint64_t divide(uint64_t n, uint32_t by, uint32_t *rest) {
  uint64_t quotient = 0, left = 0;
  for (int bit = 63; bit >= 0; bit--) {
    left = left << 1 | (n >> bit & 1);
    quotient <<= 1;
    if (left >= by) {
      left -= by;
      quotient |= 1;
    }
  }
  *rest = (uint32_t)left;
  return quotient;
}

/* Decimal digits, at least `digits` of them. */
static void say_number(const eq_device *device, uint64_t value, uint32_t digits) {
  char text[20];
  uint32_t first = sizeof text;
  while (value > 0 || sizeof text - first < digits) {
    uint32_t digit;
    value = divide(value, 10, &digit);
    text[--first] = (char)('0' + digit);
  }
  device->write(device, (const uint8_t *)text + first, sizeof text - first);
}

static void say_hex(const eq_device *device, uint32_t value, uint32_t digits) {
  for (uint32_t i = digits; i-- > 0;) {
    const uint8_t digit = (uint8_t)"0123456789abcdef"[value >> 4 * i & 15];
    device->write(device, &digit, 1);
  }
}

/* Say text, a number, text. */
static void say_with(const eq_device *device, const char *before, uint64_t value, const char *after) {
  say(device, before);
  say_number(device, value, 1);
  say(device, after);
}

/* The next word of a command, its end or a space as end; NULL when there is none. */
static const char *next_word(const char *word) {
  while (*word != ' ' && *word != 0) word++;
  while (*word == ' ') word++;
  return *word == 0 ? NULL : word;
}

static void say_word(const eq_device *device, const char *word) {
  uint32_t n = 0;
  while (word[n] != ' ' && word[n] != 0) n++;
  device->write(device, (const uint8_t *)word, n);
}

static bool is_word(const char *word, const char *name) {
  while (*name != 0 && *word == *name) {
    word++;
    name++;
  }
  return *name == 0 && (*word == ' ' || *word == 0);
}

/* The number a word begins with, 0 without one; magnitudes stop at a million. */
static int32_t number(const char *word) {
  const bool negative = *word == '-';
  if (negative) word++;
  int32_t value = 0;
  for (; *word >= '0' && *word <= '9'; word++) {
    value = value * 10 + (*word - '0');
    if (value > 1000000) value = 1000000;
  }
  return negative ? -value : value;
}

static int32_t hex_digit(uint8_t c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static uint64_t microseconds(const eq_device *device, uint64_t count) {
  uint32_t rest, ignored;
  const uint64_t seconds = divide(count, device->counter_hz, &rest);
  return seconds * 1000000 + divide((uint64_t)rest * 1000000, device->counter_hz, &ignored);
}

static void say_lap(const eq_device *device, uint64_t count) {
  say_with(device, "m-lap-us-", microseconds(device, count), "\r\n");
}

/* Thousandths of code * scale, rounded to nearest; the scale is a float32's bits, |code| <= 2^33.
 * |code| * 125 * mantissa < 2^33 * 2^7 * 2^24 = 2^64 */
static uint64_t thousandths(uint64_t magnitude, uint32_t scale_bits) {
  const uint32_t exponent = scale_bits >> MANTISSA_BITS & 0xFF;
  if (exponent < SMALLEST_EXPONENT) return magnitude * 1000; /* no scale: the code itself */
  const uint64_t mantissa = (scale_bits & 0x7FFFFF) | 0x800000;
  const int32_t shift = EXPONENT_BIAS + MANTISSA_BITS - 3 - (int32_t)exponent; /* to the right; 1000 = 125 * 2^3 */
  const uint64_t product = magnitude * 125 * mantissa;
  if (shift >= 64) return 0;
  if (shift > 0) return (product >> shift) + (product >> (shift - 1) & 1);
  return shift <= -64 || product > UINT64_MAX >> -shift ? UINT64_MAX : product << -shift;
}

static int64_t code_at(const uint8_t *bytes, uint32_t dtype, uint32_t i) {
  switch (dtype) {
    case EQ_DTYPE_S8:
      return (int8_t)bytes[i];
    case EQ_DTYPE_S16:
      return (int16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8);
    case EQ_DTYPE_U8:
    case EQ_DTYPE_BOOL:
      return bytes[i];
    default: /* 32 bits, or the low ones of 64 */
      break;
  }
  const uint32_t step = dtype == EQ_DTYPE_S64 ? 8 : 4;
  return (int32_t)((uint32_t)bytes[step * i] | (uint32_t)bytes[step * i + 1] << 8 | (uint32_t)bytes[step * i + 2] << 16 |
                   (uint32_t)bytes[step * i + 3] << 24);
}

static void say_results(const eq_device *device) {
  static const uint8_t sizes[] = {[EQ_DTYPE_S8] = 1,  [EQ_DTYPE_U8] = 1,  [EQ_DTYPE_S16] = 2, [EQ_DTYPE_S32] = 4,
                                  [EQ_DTYPE_S64] = 8, [EQ_DTYPE_F32] = 4, [EQ_DTYPE_BOOL] = 1};
  const eq_model *model = device->runner->model;
  const char *before = "m-results-[";
  for (uint32_t i = 0; i < eq_output_count(model); i++) {
    const eq_port_record *port = eq_output_port(model, i);
    const uint8_t *bytes = eq_output(device->runner, i);
    const uint32_t count = eq_tensor_bytes(model, port->tensor) / sizes[port->dtype];
    for (uint32_t j = 0; j < count; j++) {
      const int64_t code = code_at(bytes, port->dtype, j) - port->zero_point;
      const uint64_t value = thousandths((uint64_t)(code < 0 ? -code : code), port->scale_bits);
      uint32_t rest;
      say(device, before);
      if (code < 0 && value > 0) say(device, "-");
      say_number(device, divide(value, 1000, &rest), 1);
      say(device, ".");
      say_number(device, rest, 3);
      before = ",";
    }
  }
  say(device, "]\r\n");
}

/* The outputs of the first inference are kept in the frame while the others run. */
static void infer(eq_link *link, uint32_t runs, uint32_t warmup) {
  eq_device *device = link->device;
  const uint32_t bytes = eq_device_output_bytes(device);
  if (bytes > EQ_LINK_FRAME_BYTES && runs + warmup > 1) {
    say_with(device, "e-[The outputs of ", bytes, " bytes outlive one inference only: infer 1 0]\r\n");
    return;
  }
  say_with(device, "m-warmup-start-", warmup, "\r\n");
  uint64_t start = 0, shown = 0;
  for (uint32_t i = 0; i <= warmup + runs; i++) {
    if (i == warmup) {
      say(device, "m-warmup-done\r\n");
      say_with(device, "m-infer-start-", runs, "\r\n");
      shown = device->count(device);
      say_lap(device, shown);
      start = device->count(device); /* the line before takes no part in the time */
    }
    if (i == warmup + runs) break;
    eq_device_run(device, 0, 0);
    if (i == 0) eq_device_read_output(device, 0, link->frame, bytes < EQ_LINK_FRAME_BYTES ? bytes : EQ_LINK_FRAME_BYTES);
  }
  say_lap(device, shown + (device->count(device) - start));
  say(device, "m-infer-done\r\n");
  if (runs + warmup > 1) eq_device_write_output(device, 0, link->frame, bytes);
  device->result.valid = false; /* is no RUN's */
  say_results(device);
}

static void infer_command(eq_link *link, const char *word) {
  int32_t runs = 1, warmup = 10;
  if (word != NULL) {
    runs = number(word);
    word = next_word(word);
    if (word != NULL) warmup = number(word);
  }
  if (runs <= 0) {
    say(link->device, "e-[Inference iterations must be >0]\r\n");
  } else if (warmup < 0) {
    say(link->device, "e-[Inference warmup must be >=0]\r\n");
  } else if (runs > EQ_TEXT_INFERENCES || warmup > EQ_TEXT_INFERENCES) {
    say_with(link->device, "e-[Inferences must be <=", EQ_TEXT_INFERENCES, "]\r\n");
  } else {
    infer(link, (uint32_t)runs, (uint32_t)warmup);
  }
}

static void load_command(eq_link *link, const char *word) {
  const eq_device *device = link->device;
  const uint32_t most = eq_device_input_bytes(device);
  const int32_t bytes = word == NULL ? 0 : number(word);
  if (word == NULL) {
    say(device, "e-[Command 'db load' requires the # of bytes]\r\n");
  } else if (bytes <= 0) {
    say(device, "e-[Command 'db load' must be >0 bytes]\r\n");
  } else if ((uint32_t)bytes > most) {
    say_with(device, "e-[Supplied buffer size ", (uint32_t)bytes, " exceeds maximum of ");
    say_with(device, "", most, "]\r\n");
  } else {
    link->text.expected = (uint32_t)bytes;
    link->text.loaded = 0;
    say_with(device, "m-[Expecting ", (uint32_t)bytes, " bytes]\r\n");
  }
}

static void print_command(const eq_link *link) {
  for (uint32_t i = 0; i < link->text.expected; i++) {
    uint8_t byte = 0;
    eq_device_read_input(link->device, i, &byte, 1);
    say(link->device, i % PRINTED_LINE == 0 ? "m-buffer-" : "-");
    say_hex(link->device, byte, 2);
    if (i % PRINTED_LINE == PRINTED_LINE - 1 || i + 1 == link->text.expected) say(link->device, "\r\n");
  }
}

/* `db` followed by digits: they were stored as they came. */
static void end_digits(eq_link *link) {
  if (link->text.digit != 0) {
    say(link->device, "e-[Insufficent number of hex digits]\r\n"); /* as the reference firmware spells it */
  } else if (link->text.loaded >= link->text.expected) {
    say(link->device, "m-load-done\r\n");
  }
}

static void profile_command(const eq_device *device) {
  say(device, "m-profile-[edgeq ");
  for (uint32_t i = 0; i < 3; i++) say_with(device, i == 0 ? "" : ".", device->firmware_version[i], "");
  say(device, "]\r\nm-model-[");
  say_hex(device, device->model_crc, 8);
  say(device, "]\r\n");
}

/* Commands that need a model. */
static bool model_command(eq_link *link, const char *command) {
  const char *word = next_word(command);
  const bool db = is_word(command, "db"), profile = is_word(command, "profile");
  const bool results = is_word(command, "results");
  if (!db && !profile && !results && !is_word(command, "infer")) return false;
  if (link->device->runner == NULL) {
    say(link->device, "e-[No model]\r\n");
  } else if (profile) {
    profile_command(link->device);
  } else if (results) {
    say_results(link->device);
  } else if (!db) {
    infer_command(link, word);
  } else if (word == NULL) {
    say(link->device, "e-[Command 'db' requires a subcommand]\r\n");
  } else if (is_word(word, "load")) {
    load_command(link, next_word(word));
  } else if (is_word(word, "print")) {
    print_command(link);
  } else {
    say(link->device, "e-[Invalid hex digit]\r\n");
  }
  return true;
}

static void answer(eq_link *link) {
  const eq_device *device = link->device;
  link->text.command[link->text.used] = 0;
  const char *command = link->text.command;
  while (*command == ' ') command++;
  if (link->text.state == TOO_LONG) {
    say(device, "e-[Command too long]\r\n");
  } else if (link->text.state == NOT_HEX) {
    say(device, "e-[Invalid hex digit]\r\n");
  } else if (link->text.state == DIGITS) {
    end_digits(link);
  } else if (is_word(command, "name")) {
    say(device, "m-name-dut-[edgeq ");
    say(device, device->board);
    say(device, "]\r\n");
  } else if (is_word(command, "timestamp")) {
    say_lap(device, device->count(device));
  } else if (!model_command(link, command)) {
    say(device, "e-[Unknown command: ");
    say_word(device, command);
    say(device, "]\r\n");
  }
  say(device, "m-ready\r\n");
}

void eq_text_begin(eq_text *text) {
  text->used = 0;
  text->digit = 0;
  text->state = WORDS;
}

static void take_digit(eq_link *link, uint8_t character) {
  eq_text *text = &link->text;
  const int32_t digit = hex_digit(character);
  if (digit < 0) {
    text->state = NOT_HEX;
  } else if (text->digit == 0) {
    text->digit = (uint8_t)(digit + 1);
  } else {
    const uint8_t byte = (uint8_t)((text->digit - 1) << 4 | digit);
    text->digit = 0;
    if (text->loaded < text->expected) eq_device_write_input(link->device, text->loaded++, &byte, 1);
  }
}

void eq_text_feed(eq_link *link, uint8_t character) {
  eq_text *text = &link->text;
  if (character == '%') {
    answer(link);
    eq_text_begin(text);
  } else if (character < ' ' || character > '~') {
    eq_text_begin(text);
  } else if (text->state == DIGITS) {
    take_digit(link, character);
  } else if (text->state == WORDS) {
    const bool digits = text->used == 3 && text->command[0] == 'd' && text->command[1] == 'b' && text->command[2] == ' ';
    if (digits && hex_digit(character) >= 0 && link->device->runner != NULL) {
      text->state = DIGITS;
      take_digit(link, character);
    } else if (text->used == sizeof text->command - 1) {
      text->state = TOO_LONG;
    } else {
      text->command[text->used++] = (char)character;
    }
  }
}
