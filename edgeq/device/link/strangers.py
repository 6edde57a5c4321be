# SPDX-License-Identifier: Apache-2.0
"""Guess what else may be behind a port that does not answer as an edgeq device does."""

from __future__ import annotations

import re

from edgeq.device.link.protocol import printable

_TEXT_FRACTION = 0.9
_SHOWN_BYTES = 12
_ESCAPE_SEQUENCES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Za-z0-9]")
# The first that matches is told.
_KNOWN = (
    (rb"uart:~\$|\bZephyr\b", "a Zephyr shell"),
    (rb"login: ?|Password: ?|Linux version|systemd\[|-(?:ba)?sh: |[\w.-]+@[\w.-]+:[^\s]*[$#] ?", "a Linux console"),
    (rb"U-Boot|Hit any key to stop autoboot", "a boot loader (U-Boot)"),
    (rb">>> |MicroPython|CircuitPython", "a Python prompt"),
    (rb"m-ready|m-name-|e-\[", "firmware of another MLPerf Tiny device"),
    (rb"(?:^|[\r\n])(?:AT[\w+&]*\s*)?(?:OK|ERROR|\+CM[ES] ERROR:.*)[\r\n]", "a modem that takes AT commands"),
)


def describe_stranger(received: bytes, sent: bytes, *, speed: int | None) -> str:
    """Say what was received instead of an answer, and what that looks like.

    ``sent`` is what the host sent, which an echo gives back; ``speed`` the line's in bit/s, None where it has none.
    """
    pure = received.replace(b"\x00", b"")
    if not pure:
        return "nothing was received; is the board powered, is this its port, does it run edgeq's firmware?"
    if pure.replace(b"\r\n", b"") in sent.replace(b"\x00", b"").replace(b"\r\n", b""):
        return "only what was sent came back; is something connected that echoes, or are RX and TX joined?"
    text = _ESCAPE_SEQUENCES.sub(b"", pure)
    for echoed in sent.split(b"\x00"):
        text = text.replace(echoed, b"") if echoed.strip() else text
    for pattern, title in _KNOWN:
        if re.search(pattern, text):
            return f'it looks like {title}: "{_last_line(text)}"'
    readable = sum(32 <= byte < 127 or byte in b"\r\n\t" for byte in text)
    if text and readable >= _TEXT_FRACTION * len(text):
        return f'some other program sends text: "{_last_line(text)}"'
    line = "" if speed is None else f"; the other side may use another speed than {speed} bit/s"
    return f"{len(received)} bytes arrived that are no frames ({pure[:_SHOWN_BYTES].hex(' ')} ...){line}"


def _last_line(text: bytes) -> str:
    return printable(text.strip().splitlines()[-1].strip())
