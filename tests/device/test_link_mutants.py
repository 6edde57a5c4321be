# SPDX-License-Identifier: Apache-2.0
"""Each check of the link's C left out, one at a time: some test of tests/device/test_link_commands.py notices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from device.link_peer import CHANGED

from edgeq.paths import native_dir

# File of native/link, what stands there, what it becomes.
MUTANTS = {
    "CRC": ("link.c", "eq_crc32(0, frame, n - CRC_BYTES) != eq_get_u32(frame + n - CRC_BYTES)", "false"),
    "length of a frame": ("link.c", "link->used == REQUEST_BYTES + EQ_LINK_PAYLOAD + CRC_BYTES", "link->used == 4096"),
    "whole blocks": ("link.c", "const bool zero = link->block != 255;", "const bool zero = true;"),
    "sequence number": ("link.c", "frame[2] = seq;", "frame[2] = 0; (void)seq;"),
    "text ends at a frame": ("link.c", "    eq_text_begin(&link->text);\n", ""),
    "range of inputs": ("commands.c", "offset > bytes || n > bytes - offset", "offset > bytes"),
    "run once": ("commands.c", "if (!result->valid || result->run_id != id) {", "if (true) {"),
    "CRC of inputs": ("commands.c", "if (crc != expected) {", "if (crc != crc + 0 * expected) {"),
    "a model is there": ("commands.c", "if (device->runner == NULL) return EQ_LINK_NO_MODEL;", ""),
    "steps that are kept": ("commands.c", "if (index >= result->steps) return EQ_LINK_OK;", ""),
    "no silence": ("commands.c", "? device->slot_commands(device, frame) : EQ_LINK_UNKNOWN", "? 0 : EQ_LINK_OK"),
    "room for steps": ("device.c", "result->steps < device->step_capacity", "true"),
    "length of a text command": ("text.c", "text->used == sizeof text->command - 1", "text->used == 255"),
    "length of a header": ("slot_commands.c", "frame->request_bytes < HEADER_BYTES", "frame->request_bytes < 1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_of_the_link_is_noticed(name: str, tmp_path: Path) -> None:
    file, original, changed = MUTANTS[name]
    text = (native_dir() / "link" / file).read_text()
    assert text.count(original) == 1
    (tmp_path / file).write_text(text.replace(original, changed))
    tests = Path(__file__).with_name("test_link_commands.py")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", str(tests)]
    done = subprocess.run(
        command, env=os.environ | {CHANGED: str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert "ToolchainError" not in done.stdout, f"does not compile:\n{done.stdout}"
    failed = done.returncode == 1 and "\nFAILED " in done.stdout
    crashed = done.returncode < 0
    assert failed or crashed, done.stdout[-2000:]


def test_every_mutant_changes_what_is_there() -> None:
    for file, original, _ in MUTANTS.values():
        assert (native_dir() / "link" / file).read_text().count(original) == 1, original
