# SPDX-License-Identifier: Apache-2.0
"""edgeq keys: key pairs that sign models for devices which take no others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import JsonOption, QuietOption


def command(
    action: Annotated[
        str, typer.Argument(metavar="new|show", show_default=False, help="make a key pair, or say which one a file is")
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help="the private key; the public one is FILE.pub")
    ],
    json: JsonOption = None,
    quiet: QuietOption = False,
) -> None:
    """Make a pair of Ed25519 keys, or show the public one of a file.

    `build --slots --key FILE.pub` makes firmware that takes only what `push --key FILE` signed.
    """
    from edgeq.cli._output import emit
    from edgeq.device.keys import load_public_key, new_key
    from edgeq.errors import UsageError
    from edgeq.report.slots import key_report, show_key
    from edgeq.report.table import make_console

    if action not in ("new", "show"):
        raise UsageError(f"keys cannot {action!r}", hint="edgeq keys new FILE, or edgeq keys show FILE")
    public = new_key(file) if action == "new" else load_public_key(file)
    written = (str(file), f"{file}.pub") if action == "new" else ()
    report = key_report(public, written=written)
    emit(report, lambda: show_key(make_console(), report), json=json, quiet=quiet)
