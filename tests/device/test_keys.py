# SPDX-License-Identifier: Apache-2.0
"""Keys as files: whole or absent, private where they must be, never replaced."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from edgeq.device.keys import load_private_key, load_public_key, new_key
from edgeq.errors import BadInputError, StorageError, UsageError


def _private_pem(key: Ed25519PrivateKey | X25519PrivateKey, passphrase: bytes = b"") -> bytes:
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


def _kept_private(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def test_a_new_pair_is_read_back_and_only_its_owner_reads_the_private_key(tmp_path: Path) -> None:
    path = tmp_path / "fleet"
    before = os.umask(0)
    try:
        public = new_key(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(file.name for file in tmp_path.iterdir()) == ["fleet", "fleet.pub"]
    assert load_private_key(path).public_key().public_bytes_raw() == public
    assert load_public_key(path) == load_public_key(tmp_path / "fleet.pub") == public


@pytest.mark.parametrize("taken", ["fleet", "fleet.pub"])
def test_no_key_is_replaced(taken: str, tmp_path: Path) -> None:
    (tmp_path / taken).write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists already; a key is never replaced"):
        new_key(tmp_path / "fleet")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [(taken, b"precious")]


def test_half_a_pair_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def link_once(source: str, target: Path) -> None:
        if target.suffix == ".pub":
            raise OSError(28, "No space left on device")
        link(source, target)

    monkeypatch.setattr(os, "link", link_once)
    with pytest.raises(StorageError, match=r"cannot write '.*fleet\.pub': No space left"):
        new_key(tmp_path / "fleet")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="missing/fleet"):
        new_key(tmp_path / "missing" / "fleet")


def test_a_private_key_open_to_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fleet"
    new_key(path)
    path.chmod(0o644)
    with pytest.raises(StorageError, match=r"open to others \(mode 644\); chmod 600"):
        load_private_key(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ssh-ed25519 AAAA",
        _private_pem(X25519PrivateKey.generate()),
        _private_pem(Ed25519PrivateKey.generate(), b"a passphrase"),
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ],
    ids=["empty", "ssh", "another kind", "passphrase", "damaged"],
)
def test_what_is_no_key_is_refused_by_name(data: bytes, tmp_path: Path) -> None:
    path = _kept_private(tmp_path / "fleet", data)
    for load in (load_private_key, load_public_key):
        with pytest.raises(BadInputError, match=r"fleet' holds no .* Ed25519 key: .*; edgeq keys new makes one"):
            load(path)


def test_a_public_key_is_no_private_one(tmp_path: Path) -> None:
    new_key(tmp_path / "fleet")
    public = _kept_private(tmp_path / "copy", (tmp_path / "fleet.pub").read_bytes())
    with pytest.raises(BadInputError, match="no private Ed25519 key"):
        load_private_key(public)
