# SPDX-License-Identifier: Apache-2.0
"""A device with a key takes what its owner signed, and nothing else."""

from __future__ import annotations

import ctypes
import hashlib
import zlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from store_sim import Sim, Update, changed_header, sample, simulator, with_crc

from edgeq.format import slot

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PUBLIC = KEY.public_key().public_bytes_raw()
SIGNED = sample(1, signer=KEY)

# RFC 8032 section 7.1, which Monocypher is tested against too: public key, message, signature.
RFC_8032 = [
    ("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe246"
     "55141438e7a100b"),
    ("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb"
     "00d291612bb0c00"),
    ("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc"
     "027beceea1ec40a"),
    ("ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2"
     "a9ac94fa54ca49f",
     "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad"
     "9bef1177331a704"),
]  # fmt: skip


def _matches(signature: bytes, key: bytes, message: bytes) -> bool:
    lib = simulator(signed=True)
    lib.eq_signature_matches.restype = ctypes.c_bool
    return lib.eq_signature_matches(signature, key, message, ctypes.c_size_t(len(message)))


@pytest.mark.parametrize(("key", "message", "signature"), RFC_8032)
def test_signatures_of_rfc_8032_match_and_none_with_a_flipped_bit(key: str, message: str, signature: str) -> None:
    good = bytes.fromhex(signature)
    assert _matches(good, bytes.fromhex(key), bytes.fromhex(message))
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        assert not _matches(bytes(bad), bytes.fromhex(key), bytes.fromhex(message))


def test_a_signature_whose_scalar_is_not_reduced_is_refused() -> None:
    """RFC 8032 section 5.1.7: S + L would be a second signature of the same message."""
    order = 2**252 + 27742317777372353535851937790883648493
    good = KEY.sign(b"message")
    scalar = int.from_bytes(good[32:], "little") + order
    assert _matches(good, PUBLIC, b"message")
    assert not _matches(good[:32] + scalar.to_bytes(32, "little"), PUBLIC, b"message")


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=192))
def test_what_the_host_signs_the_device_accepts(seed: bytes, message: bytes) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    assert _matches(key.sign(message), key.public_key().public_bytes_raw(), message)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=600))
def test_sha_512_is_hashlibs(data: bytes) -> None:
    digest = ctypes.create_string_buffer(64)
    simulator(signed=True).eq_sha512(digest, data, ctypes.c_size_t(len(data)))
    assert digest.raw == hashlib.sha512(data).digest()


def test_sha_512_pads_right_at_every_length() -> None:
    digest = ctypes.create_string_buffer(64)
    for length in range(260):
        data = bytes(range(256)) * 2
        simulator(signed=True).eq_sha512(digest, data, ctypes.c_size_t(length))
        assert digest.raw == hashlib.sha512(data[:length]).digest()


def test_a_signed_model_is_taken_and_survives_updates() -> None:
    sim = Sim(key=PUBLIC)
    for turn in range(3):
        sim.push(sample(turn, signer=KEY))
        assert sim.restart() == turn % 2


@pytest.mark.parametrize("update", [sample(1), sample(1, signer=OTHER)], ids=["unsigned", "another key"])
def test_other_models_are_refused_before_anything_is_erased(update: Update) -> None:
    sim = Sim(key=PUBLIC)
    sim.push(sample(2, signer=KEY))
    before = sim.cells.copy()
    assert sim.begin(update.header) == "EQ_ERR_SIGNATURE"
    assert (sim.cells == before).all()


def test_a_header_with_the_flag_taken_off_is_refused() -> None:
    assert Sim(key=PUBLIC).begin(changed_header(SIGNED.header, flags=0)) == "EQ_ERR_SIGNATURE"


def test_a_header_that_says_it_is_not_signed_is_refused_whatever_its_signature() -> None:
    header = changed_header(SIGNED.header, flags=0)
    header = changed_header(header, signature=KEY.sign(header[: slot.SIGNED_BYTES]))
    assert Sim(key=PUBLIC).begin(header) == "EQ_ERR_SIGNATURE"


def test_every_flipped_bit_of_a_signed_header_is_refused_with_its_crc_right_or_wrong() -> None:
    """But of the sequence, which the device sets and the signature therefore leaves out."""
    sim = Sim(key=PUBLIC)
    sequence = slot.offset_of("sequence")
    for bit in range(8 * (len(SIGNED.header) - 4)):
        header = bytearray(SIGNED.header)
        header[bit // 8] ^= 1 << bit % 8
        assert sim.begin(bytes(header)) in ("EQ_ERR_MAGIC", "EQ_ERR_HEADER")
        mended = sim.begin(with_crc(bytes(header)))
        assert (mended == "EQ_OK") == (sequence <= bit // 8 < sequence + 4), bit
    for bit in range(8 * (len(SIGNED.header) - 4), 8 * len(SIGNED.header)):
        header = bytearray(SIGNED.header)
        header[bit // 8] ^= 1 << bit % 8
        assert sim.begin(bytes(header)) == "EQ_ERR_HEADER"


def test_every_flipped_bit_of_a_signed_model_is_refused_even_with_a_right_crc() -> None:
    sim = Sim(key=PUBLIC)
    for bit in range(8 * len(SIGNED.model)):
        model = bytearray(SIGNED.model)
        model[bit // 8] ^= 1 << bit % 8
        status = sim.send(Update(bytes(model), SIGNED.header), chunk=512)
        assert status == "EQ_ERR_PAYLOAD", bit
        assert sim.write(0, b"") == ("EQ_OK", 0)
    forged = _with_crc_of(bytearray(SIGNED.model), flipped=9)
    assert zlib.crc32(forged) == zlib.crc32(SIGNED.model)
    assert forged != SIGNED.model
    assert sim.send(Update(forged, SIGNED.header)) == "EQ_ERR_SIGNATURE"


def _with_crc_of(model: bytearray, *, flipped: int) -> bytes:
    """Flip a bit and choose the last four bytes so that the CRC is as it was: CRCs are linear."""
    wanted = zlib.crc32(model)
    model[-5] ^= flipped
    base = zlib.crc32(model[:-4] + bytes(4))
    columns = [zlib.crc32(model[:-4] + (1 << i).to_bytes(4, "little")) ^ base for i in range(32)]
    rows = [(column, 1 << i) for i, column in enumerate(columns)]
    target, chosen = wanted ^ base, 0
    for bit in reversed(range(32)):
        pivot = next(row for row in rows if row[0] >> bit & 1)
        rows = [(r[0] ^ pivot[0], r[1] ^ pivot[1]) if r[0] >> bit & 1 else r for r in rows if r is not pivot]
        if target >> bit & 1:
            target, chosen = target ^ pivot[0], chosen ^ pivot[1]
    return bytes(model[:-4]) + chosen.to_bytes(4, "little")


def test_firmware_with_a_key_does_not_start_what_one_without_took() -> None:
    plain = Sim()
    plain.push(sample(1))
    cells = plain.cells.copy()
    sim = Sim(key=PUBLIC)
    sim.cells[:] = cells
    assert sim.restart() == -1


def test_a_record_forged_in_flash_does_not_start() -> None:
    """With a CRC made right over it; the sequence is all that may differ."""
    sim = Sim(key=PUBLIC)
    sim.push(SIGNED)
    record = sim.cells[:256].tobytes()
    for name in ("payload_sha512", "signature", "key_id"):
        changed = bytearray(record)
        changed[slot.offset_of(name)] ^= 1
        sim.cells[:256] = list(with_crc(bytes(changed)))
        assert sim.restart() == -1
    sim.cells[:256] = list(record)
    assert sim.restart() == 0


def test_firmware_without_a_key_takes_signed_models_too() -> None:
    sim = Sim()
    sim.push(SIGNED)
    assert sim.restart() == 0
