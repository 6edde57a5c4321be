# SPDX-License-Identifier: Apache-2.0
"""edgeq push: a model into the free slot of a device, over the link or SSH."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import BoardOption, ModelArgument, PortOption, QuietOption, SerialNumberOption, SshOption


def command(
    model: ModelArgument,
    port: PortOption = None,
    ssh: SshOption = None,
    board: BoardOption = None,
    serial_number: SerialNumberOption = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="sign with this private key, see edgeq keys")
    ] = None,
    no_confirm: Annotated[
        bool, typer.Option("--no-confirm", help="leave the model on trial; it is given up after three starts")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Put a model on a device with slots, or on a Linux board; the old one stays until the new one runs.

    What an interrupted push left on the device is not sent again. Over SSH the model goes to ~/.local/share/edgeq,
    where `current` leads to the one that was pushed last.
    """
    from edgeq.board import load_board
    from edgeq.cli._link import open_link
    from edgeq.cli._model import open_model
    from edgeq.cli._output import progress, teller
    from edgeq.device.fault import warn_of_fault
    from edgeq.device.keys import load_private_key
    from edgeq.device.link.device import LinkDevice
    from edgeq.device.link.protocol import Features
    from edgeq.device.ssh import SshMachine
    from edgeq.device.ssh_store import push_model
    from edgeq.errors import UsageError

    tell = teller(quiet=quiet)
    if ssh is not None:
        if port is not None or serial_number is not None or key is not None or no_confirm:
            raise UsageError("--port, --serial-number, --key and --no-confirm are for microcontrollers, not for --ssh")
        if board is None:
            raise UsageError("--ssh needs --board: it says what to convert for")
        machine = SshMachine(load_board(board), ssh)
        try:
            tell(f"{machine.title} now has {model.name} at {push_model(machine, open_model(model, board=board).data)}")
        finally:
            machine.close()
        return
    signer = None if key is None else load_private_key(key)
    with open_link(port=port, serial_number=serial_number, board=board, tell=tell) as link:
        link.require_slots()
        warn_of_fault(link.client)
        if link.hello.features & Features.SIGNED and signer is None:
            raise UsageError(f"{link.url} takes signed models only", hint="sign with --key FILE, see edgeq keys")
        profile = load_board(link.hello.board)
        data = open_model(model, board=profile.name).data
        with progress(f"pushing {model.name}", total=len(data), quiet=quiet) as seen:
            device = LinkDevice(profile, link.client.line.transport)
            hello = device.update(data, signer=signer, progress=lambda done, total: seen(done))
        tell(f"{profile.name} at {link.url} runs {model.name} ({len(data):,} bytes) in slot {hello.active_slot}")
        if device.client.slots()[hello.active_slot].confirmed:
            tell(f"slot {hello.active_slot} is confirmed already")
        elif no_confirm:
            tell(f"it is on trial: edgeq slots --port {link.url} --confirm keeps it, --revert gives it up")
        else:
            tell(f"slot {device.client.confirm()} is confirmed")
