# SPDX-License-Identifier: Apache-2.0
"""The update header of a model file."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from small_models import small_model, small_plan

from edgeq.device.update import update_header
from edgeq.errors import ModelFormatError, UsageError
from edgeq.format import slot
from edgeq.format.read import checked_header
from edgeq.format.write import write_model

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def test_a_header_says_what_the_model_says() -> None:
    model = write_model(small_plan(), board_class=16, model_version=7)
    header = update_header(model, min_version=7)
    assert len(header) == slot.SLOT.size_bytes == 256
    assert zlib.crc32(header[:-4]) == int.from_bytes(header[-4:], "little")
    fields = slot.SLOT.unpack(header, 0)
    own = checked_header(model)
    for name in ("board_class", "arena_bytes", "model_version", "work_budget", "kernel_abi"):
        assert fields[name] == own[name]
    assert (fields["payload_bytes"], fields["payload_crc"]) == (len(model), zlib.crc32(model))
    assert bytes(fields["payload_sha512"]) == hashlib.sha512(model).digest()
    assert (fields["flags"], fields["min_version"], fields["board_class"]) == (0, 7, 16)
    assert not any(fields["signature"] + fields["key_id"] + fields["reserved"])


def test_a_signature_covers_everything_before_the_sequence() -> None:
    header = update_header(small_model(), signer=KEY)
    fields = slot.SLOT.unpack(header, 0)
    signed = header[: slot.SIGNED_BYTES]
    assert fields["flags"] == slot.FLAG_SIGNED
    assert bytes(fields["key_id"]) == hashlib.sha512(KEY.public_key().public_bytes_raw()).digest()[:8]
    KEY.public_key().verify(bytes(fields["signature"]), signed)
    for i in range(len(signed)):
        changed = bytearray(signed)
        changed[i] ^= 1
        with pytest.raises(InvalidSignature):
            KEY.public_key().verify(bytes(fields["signature"]), bytes(changed))


def test_a_damaged_model_gets_no_header() -> None:
    model = bytearray(small_model())
    model[-1] ^= 1
    with pytest.raises(ModelFormatError, match="damaged"):
        update_header(bytes(model))


@pytest.mark.parametrize(("min_version", "message"), [(-1, "is -1"), (2**32, "is 4294967296"), (1, "has version 0")])
def test_impossible_versions_are_refused(min_version: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        update_header(small_model(), min_version=min_version)
