# SPDX-License-Identifier: Apache-2.0
"""The update header of a model file: what a device reads, and a signature covers, before it takes the model."""

from __future__ import annotations

import hashlib
import zlib
from typing import Protocol

from edgeq.errors import UsageError
from edgeq.format import slot
from edgeq.format.read import checked_header

MAX_U32 = 2**32 - 1


class PublicKey(Protocol):
    """What names a key."""

    def public_bytes_raw(self) -> bytes: ...


class Signer(Protocol):
    """A private key, as edgeq.device.keys.load_private_key returns one."""

    def sign(self, data: bytes) -> bytes:
        """Return the 64 bytes of the signature."""

    def public_key(self) -> PublicKey:
        """Return the key that checks it."""


def update_header(model: bytes, *, signer: Signer | None = None, min_version: int = 0) -> bytes:
    """Return the 256 bytes that describe a model file to a device, signed where there is a key.

    With ``min_version`` a device that confirmed this model refuses models of lower versions from then on, which for
    itself it must satisfy too. Raises ModelFormatError for a damaged file, UsageError for an impossible version.
    """
    header = checked_header(model)
    version = header["model_version"]
    if not 0 <= min_version <= MAX_U32:
        raise UsageError(f"min_version is {min_version}", hint=f"it is 0 to {MAX_U32}")
    if min_version > version:
        raise UsageError(
            f"the model has version {version}, and would refuse all below {min_version}",
            hint="give the model a higher version, or a lower min_version",
        )
    fields = {
        "magic": slot.MAGIC,
        "header_version": slot.VERSION,
        "flags": 0 if signer is None else slot.FLAG_SIGNED,
        "payload_bytes": len(model),
        "payload_crc": zlib.crc32(model),
        "kernel_abi": header["kernel_abi"],
        "board_class": header["board_class"],
        "arena_bytes": header["arena_bytes"],
        "model_version": version,
        "work_budget": header["work_budget"],
        "min_version": min_version,
        "payload_sha512": hashlib.sha512(model).digest(),
        "key_id": bytes(slot.KEY_ID_BYTES) if signer is None else slot.key_id(signer.public_key().public_bytes_raw()),
        "reserved": bytes(slot.RESERVED_BYTES),
        "sequence": 0,
        "signature": bytes(slot.SIGNATURE_BYTES),
    }
    unsigned = slot.pack_slot(**fields)
    if signer is None:
        return unsigned
    return slot.pack_slot(**{**fields, "signature": signer.sign(unsigned[: slot.SIGNED_BYTES])})
