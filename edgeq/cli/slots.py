# SPDX-License-Identifier: Apache-2.0
"""edgeq slots: what a connected device is and holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import BoardOption, JsonOption, PortOption, QuietOption, SerialNumberOption


def command(
    port: PortOption = None,
    board: BoardOption = None,
    serial_number: SerialNumberOption = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="M", help="the model that it runs, which gives the layer of a fault its name"),
    ] = None,
    confirm: Annotated[bool, typer.Option("--confirm", help="keep the model that is on trial for good")] = False,
    revert: Annotated[bool, typer.Option("--revert", help="give the active model up and run the other one")] = False,
    clear_fault: Annotated[bool, typer.Option("--clear-fault", help="have the device forget a stored fault")] = False,
    json: JsonOption = None,
    quiet: QuietOption = False,
) -> None:
    """Show a device's firmware, its model, what its slots hold, and a fault that it stored.

    Changes nothing without --confirm, --revert or --clear-fault; what is shown is then how things are after it.
    """
    from edgeq.cli._link import open_link, plan_on_device
    from edgeq.cli._output import emit, teller
    from edgeq.device.fault import stored_fault
    from edgeq.device.link.protocol import Features
    from edgeq.errors import UsageError
    from edgeq.report.slots import show_slots, slots_report
    from edgeq.report.table import make_console

    if confirm and revert:
        raise UsageError("--confirm keeps a model and --revert gives it up: choose one")
    tell = teller(json=json, quiet=quiet)
    with open_link(port=port, serial_number=serial_number, board=board, tell=tell) as link:
        client, hello = link.client, link.hello
        has_slots = bool(hello.features & Features.SLOTS)
        if confirm or revert:
            link.require_slots()
        if confirm:
            tell(f"slot {client.confirm()} is confirmed")
            hello = client.hello()
        if revert:
            tell(f"slot {client.revert()} is given up; restarting")
            hello = client.reboot()
        if clear_fault:
            client.fault(clear=True)
        fault = None if clear_fault else link.fault
        if fault is not None and model is not None:
            fault = stored_fault(client, plan=plan_on_device(model, hello))
        report = slots_report(hello, client.slots() if has_slots else None, port=link.url, fault=fault)
    emit(report, lambda: show_slots(make_console(), report), json=json, quiet=quiet)
