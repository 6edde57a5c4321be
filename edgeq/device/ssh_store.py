# SPDX-License-Identifier: Apache-2.0
"""Models on a Linux board: one file each, and a symbolic link to the one in use, which a power cut cannot tear.

~/.local/share/edgeq/models/<sha256>.eqm    whole, or not there
~/.local/share/edgeq/current                leads to the model in use
~/.local/share/edgeq/previous               leads to the one before it
"""

from __future__ import annotations

import hashlib
import subprocess
from typing import Protocol

from edgeq.errors import DeviceError, DoesNotFitError

PUSH_SECONDS = 600
NO_ROOM = 3  # exit codes of the script
BUSY = 4
DAMAGED = 5

# dd syncs what it wrote, sync the folders; where sync takes no names it syncs everything. A name that ends in .tmp is
# what an earlier push left that was cut, since flock lets only one run at a time.
_SCRIPT = """\
set -eu
mkdir -p "$HOME/.local/share/edgeq/models" && cd "$HOME/.local/share/edgeq"
if command -v flock >/dev/null; then exec 9>lock; flock -n 9 || exit {busy}; fi
rm -f models/*.tmp *.tmp
new=models/{name}.eqm
matches() {{ [ "$(sha256sum < "$1" 2>/dev/null)" = "{name}  -" ]; }}
synced() {{ sync "$@" 2>/dev/null || sync; }}
if ! matches "$new"; then
  set -- $(LC_ALL=C df -Pk .)  # seven words of headings, then the file system, its size, what is used and what is free
  [ "${{11}}" -ge {needed_kib} ] || {{ echo "${{11}}"; exit {no_room}; }}
  dd of="$new.tmp" bs=65536 conv=fsync 2>/dev/null
  matches "$new.tmp" || {{ rm -f "$new.tmp"; exit {damaged}; }}
  mv -f "$new.tmp" "$new"
  synced models
fi
old=$(readlink current || true)
if [ "$old" != "$new" ]; then
  if [ -n "$old" ]; then
    ln -s "$old" previous.tmp
    mv -f previous.tmp previous
  fi
  ln -s "$new" current.tmp
  mv -f current.tmp current
  synced .
fi
kept=$(readlink previous || true)
for file in models/*.eqm; do
  [ "$file" = "$new" ] || [ "$file" = "$kept" ] || rm -f "$file"
done
echo "stored $new"
"""


class Shell(Protocol):
    """A Linux machine that runs scripts, as SshMachine is."""

    @property
    def title(self) -> str:
        """Who it is, for messages."""

    def script(self, text: str, data: bytes, seconds: float) -> subprocess.CompletedProcess[bytes]:
        """Run a script with sh, ``data`` on its standard input."""


def push_script(model: bytes) -> str:
    """Return the script that takes a model on its standard input and makes it the current one, or leaves the old."""
    return _SCRIPT.format(
        name=hashlib.sha256(model).hexdigest(), needed_kib=needed_kib(len(model)), no_room=NO_ROOM,
        busy=BUSY, damaged=DAMAGED,
    )  # fmt: skip


def needed_kib(n_bytes: int) -> int:
    """Return the free space that storing a model asks for: a tenth more than its size, and a MiB."""
    return -(-n_bytes * 11 // 10240) + 1024


def push_model(machine: Shell, model: bytes) -> str:
    """Store a model file on a Linux board and make it the current one; return its path there.

    Whatever ends a push early leaves the old model in use. Raises DoesNotFitError when the board's disk is full,
    DeviceError when it cannot be stored for another reason.
    """
    done = machine.script(push_script(model), model, PUSH_SECONDS)
    said = done.stdout.decode(errors="replace").strip()
    if done.returncode == 0 and said.startswith("stored "):
        return f"~/.local/share/edgeq/{said.removeprefix('stored ')}"
    what = f"cannot store {len(model):,} bytes on {machine.title}"
    if done.returncode == NO_ROOM and said.isdigit():
        raise DoesNotFitError(
            f"{what}: {int(said):,} KiB are free, {needed_kib(len(model)):,} KiB are asked for",
            hint="make room on its disk",
        )
    if done.returncode == BUSY:
        raise DeviceError(f"{what}: another push is going on there", hint="try again when it is done")
    if done.returncode == DAMAGED:
        raise DeviceError(
            f"{what}: what arrived is not what was sent", hint="push again; the old model is still in use"
        )
    reason = done.stderr.decode(errors="replace").strip() or f"the script ended with {done.returncode}"
    raise DeviceError(f"{what}: {reason}", hint="the old model stays in use")
