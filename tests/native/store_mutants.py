#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Take each check out of the store, or break a line of it, one at a time, and see that its tests find out."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mutants import mutants
from store_sim import SOURCES

from edgeq.paths import native_dir

HERE = Path(__file__).resolve().parent
TESTS = ("test_store.py", "test_store_rules.py", "test_store_signed.py", "test_store_cuts.py")
CHECKED = ("store.c", "slots.c", "check.c")

# Lines that are broken by hand: file, what stands there, what is put in its place.
BROKEN = [
    ("store.c", "record->sequence = sequence + 1;", "record->sequence = sequence;"),
    ("store.c", "return (int32_t)(a - b) > 0;", "return a > b;"),
    ("store.c", "store->active == 0 ? store->rules->slots - 1 : 0;", "0;"),
    ("store.c", "offset % flash->page_bytes == 0 ? eq_flash_erase(flash, place) : EQ_OK;", "EQ_OK;"),
    ("store.c", "status = eq_slot_invalidate(store->flash, target);", "status = EQ_OK;"),
    ("store.c", "status = eq_slot_burn_trial(flash, slot);", "status = EQ_OK;"),
    ("store.c", "if (status != EQ_OK) store->next = 0;", ";"),
    ("store.c", "store->next -= within;", ";"),
    ("store.c", "(void)eq_slot_invalidate(flash, store->target);", ";"),
    ("store.c", "store->active, EQ_WORD_CONFIRMED);\n}\n\neq_status", "store->active, EQ_WORD_TRIED);\n}\n\neq_status"),
    ("store.c", "record.min_version > lowest", "record.min_version < lowest"),
    ("store.c", "if (store->active == (int32_t)target) store->active = -1;", ";"),
    ("store.c", "(void)start(store, model, (uint32_t)first ^ 1);", ";"),
    ("store.c", "return status == EQ_OK ? eq_flash_program(flash, place, bytes, n) : status;", "return status;"),
    ("slots.c", "word) >= 2; }", "word) >= 1; }"),
    ("slots.c", "EQ_WORD_TRIED + i) != 0;", "EQ_WORD_TRIED + i) >= 2;"),
    ("slots.c", "again < 2; again++", "again < 0; again++"),
    ("slots.c", "if (fallen(flash, offset + i, unit) == 0) status", "status"),
    ("slots.c", "return reads_as(flash, offset, bytes, n) ? EQ_OK : EQ_ERR_FLASH;", "return EQ_OK;"),
    ("slots.c", "eq_flash_erase(flash, slot * flash->slot_bytes + offset);", "eq_flash_erase(flash, slot * "
     "flash->slot_bytes + eq_slot_header_bytes(flash) - flash->page_bytes - offset);"),
    ("slots.c", "return flash->write_bytes < 16 ? 16 : flash->write_bytes;", "return 16;"),
    ("slots.c", "EQ_BOOT_WORDS * word_stride(flash)", "word_stride(flash)"),
    ("signature.c", "return crypto_eddsa_check_equation(signature, key, reduced) == 0;", "return true;"),
    ("signature.c", "eq_copy(hashed + 64, message, n_bytes);", "eq_copy(hashed + 64, message, n_bytes - 1);"),
]  # fmt: skip


@dataclass(frozen=True)
class StoreMutant:
    file: str
    about: str
    text: str


def store_mutants() -> Iterator[StoreMutant]:
    """Yield one file of the store at a time, broken in one place."""
    for file in CHECKED:
        for mutant in mutants((native_dir() / "store" / file).read_text()):
            yield StoreMutant(file, f"{mutant.line}: without {mutant.removed}", mutant.text)
    for file, good, bad in BROKEN:
        text = (native_dir() / "store" / file).read_text()
        assert text.count(good) == 1, f"{file} has {text.count(good)} times {good!r}"
        yield StoreMutant(file, f"{good} -> {bad}", text.replace(good, bad))


def killed(mutant: StoreMutant, folder: Path) -> str | None:
    """Say which test found the mutant out, or None."""
    sources = folder / "store"
    shutil.copytree(native_dir() / "store", sources)
    (sources / mutant.file).write_text(mutant.text)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *(str(HERE / name) for name in TESTS)], env={**os.environ, SOURCES: str(sources)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        return None
    assert "CalledProcessError" not in done.stdout, f"does not compile:\n{done.stdout}"
    found = re.findall(r"^(?:FAILED|ERROR) \S*::(.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    assert found or done.returncode < 0, done.stdout + done.stderr
    return found[0] if found else f"signal {-done.returncode}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="a part of what is left out, to try some alone")
    options = parser.parse_args()
    survivors = 0
    for mutant in store_mutants():
        if options.only and options.only not in mutant.about:
            continue
        with tempfile.TemporaryDirectory(prefix="edgeq-store-mutant-") as folder:
            found = killed(mutant, Path(folder))
        survivors += found is None
        print(f"{mutant.file} {mutant.about}\n    {f'killed by {found}' if found else 'SURVIVED'}", flush=True)
    print(f"{survivors} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
