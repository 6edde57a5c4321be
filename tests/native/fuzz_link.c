/* SPDX-License-Identifier: Apache-2.0
 * Fuzz target: bytes and frames in any order to a device of each kind; after all of them, and a 0x00, HELLO is answered.
 *
 * An input is a script: a byte that chooses the device, then pieces. A piece is a length and what follows: below 128 that
 * many bytes as they are, from 128 on a frame (that less 128, times 4, plus 3 bytes) to which CRC and COBS are added. Built with libFuzzer,
 * or with STANDALONE as a program that replays files. The environment variable EDGEQ_FUZZ_MODEL names a model file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link/link.h"

typedef struct peer peer;
peer *peer_new(void);
void peer_free(peer *p);
bool peer_install(peer *p, const uint8_t *file, uint32_t n);
uint32_t peer_feed(peer *p, const uint8_t *bytes, uint32_t n, uint8_t *out, uint32_t capacity);
void peer_fault(peer *p);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_BYTES = 1 << 16, WIRE_BYTES = 1024, MAX_MODEL = 1 << 16 };

static uint8_t out[OUT_BYTES];
static uint8_t *model;
static uint32_t model_bytes;

static void fail(const char *what, long detail) {
  fprintf(stderr, "\nfuzz_link: %s (%ld)\n", what, detail);
  abort();
}

static void read_model(void) {
  const char *path = getenv("EDGEQ_FUZZ_MODEL");
  FILE *file = path == NULL ? NULL : fopen(path, "rb");
  model = aligned_alloc(16, MAX_MODEL);
  if (file == NULL || model == NULL) fail("EDGEQ_FUZZ_MODEL names no model", 0);
  model_bytes = (uint32_t)fread(model, 1, MAX_MODEL, file);
  fclose(file);
}

/* Add CRC and COBS, and a 0x00 at either end; returns how many bytes. */
static uint32_t stuff(uint8_t *to, const uint8_t *body, uint32_t n) {
  uint8_t frame[WIRE_BYTES];
  memcpy(frame, body, n);
  const uint32_t crc = eq_crc32(0, frame, n);
  for (uint32_t i = 0; i < 4; i++) frame[n + i] = (uint8_t)(crc >> 8 * i);
  uint32_t used = 0, code = 1;
  to[used++] = 0;
  used++; /* the first code's place */
  for (uint32_t i = 0; i < n + 4; i++) {
    if (frame[i] != 0) to[used++] = frame[i];
    if (frame[i] == 0 || used - code == 255) {
      to[code] = (uint8_t)(used - code);
      code = used++;
    }
  }
  to[code] = (uint8_t)(used - code);
  to[used++] = 0;
  return used;
}

/* Undo COBS of the last frame of `bytes`; returns how many bytes it has, 0 when it is damaged. */
static uint32_t last_frame(uint8_t *to, const uint8_t *bytes, uint32_t n) {
  if (n < 2 || bytes[n - 1] != 0) return 0;
  uint32_t start = n - 1, used = 0;
  while (start > 0 && bytes[start - 1] != 0) start--;
  for (uint32_t i = start; i < n - 1;) {
    const uint32_t code = bytes[i++];
    if (code == 0 || i + code - 1 > n - 1) return 0;
    for (uint32_t j = 1; j < code; j++) to[used++] = bytes[i++];
    if (code < 255 && i < n - 1) to[used++] = 0;
  }
  return used;
}

static void expect_hello(peer *p, uint8_t seq) {
  uint8_t wire[WIRE_BYTES], frame[WIRE_BYTES];
  const uint8_t request[] = {0x10, 1, seq};
  const uint32_t n = peer_feed(p, wire, stuff(wire, request, sizeof request), out, OUT_BYTES);
  const uint32_t bytes = last_frame(frame, out, n);
  if (bytes != 4 + 92 + 4) fail("HELLO has no answer", (long)bytes);
  if (frame[0] != 0x11 || frame[1] != 0x81 || frame[2] != seq || frame[3] != 0) fail("not HELLO's answer", frame[3]);
  uint32_t crc = 0;
  for (uint32_t i = 0; i < 4; i++) crc |= (uint32_t)frame[bytes - 4 + i] << 8 * i;
  if (crc != eq_crc32(0, frame, bytes - 4)) fail("HELLO's CRC is wrong", (long)crc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  if (model == NULL) read_model();
  peer *p = peer_new();
  if (p == NULL) fail("out of memory", 0);
  if ((data[0] & 1) != 0 && !peer_install(p, model, model_bytes)) fail("the model is refused", (long)model_bytes);
  if ((data[0] & 2) != 0) peer_fault(p);
  for (size_t i = 1; i < size;) {
    uint8_t wire[WIRE_BYTES];
    const uint8_t kind = data[i++];
    const size_t asked = kind < 128 ? kind : (size_t)(kind - 128) * 4 + 3, left = size - i;
    const uint32_t n = (uint32_t)(asked < left ? asked : left);
    if (kind < 128) {
      (void)peer_feed(p, data + i, n, out, OUT_BYTES);
    } else {
      (void)peer_feed(p, wire, stuff(wire, data + i, n), out, OUT_BYTES);
    }
    i += n;
  }
  expect_hello(p, data[0]);
  peer_free(p);
  return 0;
}

#ifdef STANDALONE
int main(int argc, char **argv) {
  static uint8_t data[1 << 20];
  for (int i = 1; i < argc; i++) {
    FILE *file = fopen(argv[i], "rb");
    if (file == NULL) fail("cannot read a file", i);
    LLVMFuzzerTestOneInput(data, fread(data, 1, sizeof data, file));
    fclose(file);
  }
  return 0;
}
#endif
