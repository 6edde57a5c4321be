/* SPDX-License-Identifier: Apache-2.0
 * SHA-512 (FIPS 180-4) and the check of an Ed25519 signature (RFC 8032, by Monocypher), in builds with EQ_SIGNED. */
#ifndef EDGEQ_STORE_SIGNATURE_H
#define EDGEQ_STORE_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(EQ_SIGNED)
#define EQ_HAS_SIGNATURES 1
#else
#define EQ_HAS_SIGNATURES 0
#endif

#define EQ_SIGNATURE_MAX_MESSAGE 192

void eq_sha512(uint8_t hash[64], const void *bytes, size_t n_bytes);

/* n_bytes is at most EQ_SIGNATURE_MAX_MESSAGE. */
bool eq_signature_matches(const uint8_t signature[64], const uint8_t key[32], const void *message, size_t n_bytes);

#endif
