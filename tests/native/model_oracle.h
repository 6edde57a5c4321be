/* SPDX-License-Identifier: Apache-2.0
 * A second opinion on model files, for the fuzzer. */
#ifndef EDGEQ_TESTS_MODEL_ORACLE_H
#define EDGEQ_TESTS_MODEL_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum verdict {
  REFUSED,
  ACCEPTED,
  TOO_LARGE, /* memory maps of this file would be too large, or its steps too many, for the slow way */
} verdict;

/* Say whether eq_model_open must accept these bytes, by FORMAT.md alone. The operators' own checks are asked of the
 * library; everything around them is decided here, by maps of what holds its bytes. */
verdict oracle_judges(const uint8_t *file, size_t n_bytes);

/* True when header and sections are in order, so that the bytes between sections belong to nobody. */
bool oracle_sections_hold(const uint8_t *file, size_t n_bytes);

/* True when the payload's CRC is right; for files that were accepted. */
bool oracle_payload_matches(const uint8_t *file, size_t n_bytes);

#endif
