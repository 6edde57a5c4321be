# SPDX-License-Identifier: Apache-2.0
"""Ed25519 keys as PEM files, for models that only their owner may put on a device."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edgeq.errors import BadInputError, StorageError, UsageError
from edgeq.paths import read_bytes

PRIVATE_MODE = 0o600
PUBLIC_MODE = 0o644


def new_key(path: Path) -> bytes:
    """Make a key pair: the private key in ``path``, readable by its owner alone, the public one in ``path``.pub.

    Each file is written whole or not at all, and none is replaced. Returns the 32 bytes of the public key. Raises
    UsageError when a file is there already, StorageError when it cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    public = Path(f"{path}.pub")
    for taken in (path, public):
        if taken.exists() or taken.is_symlink():
            raise UsageError(f"{str(taken)!r} exists already; a key is never replaced", hint="choose another name")
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write_new(path, secret, PRIVATE_MODE)
    try:
        _write_new(public, _public_pem(key.public_key()), PUBLIC_MODE)
    except BaseException:
        path.unlink()
        raise
    return key.public_key().public_bytes_raw()


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key. Raises StorageError when it cannot be read, or others can read it too; BadInputError when it
    is no private Ed25519 key without a passphrase.
    """
    data = read_bytes(path)
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise StorageError(
            f"the private key {str(path)!r} is open to others (mode {mode:o})", hint=f"chmod 600 {str(path)!r}"
        )
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it has a passphrase
        raise _no_key(path, "private", str(error)) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "private", "it is of another kind")
    return key


def load_public_key(path: Path) -> bytes:
    """Return the 32 bytes of the public key in a file, which may hold the private key as well."""
    data = read_bytes(path)
    if b"PRIVATE KEY" in data:
        return load_private_key(path).public_key().public_bytes_raw()
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(path, "public", str(error)) from None
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, "public", "it is of another kind")
    return key.public_bytes_raw()


def _public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not be there: under another name beside it, synced, then linked into place."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:64]}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        raise UsageError(f"{str(path)!r} exists already; a key is never replaced", hint="choose another name") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise StorageError(f"cannot write {str(path)!r}: {getattr(error, 'strerror', error)}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _no_key(path: Path, kind: str, why: str) -> BadInputError:
    return BadInputError(f"{str(path)!r} holds no {kind} Ed25519 key: {why}", hint="edgeq keys new makes one")
