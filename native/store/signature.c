/* SPDX-License-Identifier: Apache-2.0
 * The check of an Ed25519 signature, RFC 8032 section 5.1.7: Monocypher's curve, our SHA-512. */
#include "store/signature.h"

#if EQ_HAS_SIGNATURES

#include "edgeq/memory.h"
#include "store/monocypher/monocypher.h"

bool eq_signature_matches(const uint8_t signature[64], const uint8_t key[32], const void *message, size_t n_bytes) {
  uint8_t hashed[32 + 32 + EQ_SIGNATURE_MAX_MESSAGE]; /* R, public key, message */
  uint8_t hash[64], reduced[32];
  eq_copy(hashed, signature, 32);
  eq_copy(hashed + 32, key, 32);
  eq_copy(hashed + 64, message, n_bytes);
  eq_sha512(hash, hashed, 64 + n_bytes);
  crypto_eddsa_reduce(reduced, hash);
  return crypto_eddsa_check_equation(signature, key, reduced) == 0;
}

#endif
