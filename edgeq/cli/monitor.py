# SPDX-License-Identifier: Apache-2.0
"""edgeq monitor: what a connected device writes, as it happens."""

from __future__ import annotations

from edgeq.cli._options import BoardOption, PortOption, QuietOption, SerialNumberOption


def command(
    port: PortOption = None,
    board: BoardOption = None,
    serial_number: SerialNumberOption = None,
    quiet: QuietOption = False,
) -> None:
    """Print a device's log, restarts and faults until Ctrl-C, which ends with exit code 130.

    A board that is unplugged is waited for. Control characters are spelled out. --quiet leaves out which port it is.
    """
    from edgeq.cli._output import teller
    from edgeq.device.link.transport import Transport, open_transport
    from edgeq.device.monitor import follow
    from edgeq.device.ports import choose_port

    tell = teller(quiet=quiet)

    def opened() -> Transport:
        return open_transport(choose_port(port=port, board=board, serial_number=serial_number).url)

    if port is None:
        chosen = choose_port(board=board, serial_number=serial_number)
        tell(f"-- using {chosen.url}: {chosen.why}")
    follow(opened, teller())
