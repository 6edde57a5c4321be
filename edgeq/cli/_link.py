# SPDX-License-Identifier: Apache-2.0
"""The device that a command talks to over the link."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edgeq.device.fault import stored_fault
from edgeq.device.link.client import LinkClient
from edgeq.device.link.protocol import Features, Hello
from edgeq.device.link.transport import open_transport
from edgeq.device.ports import choose_port
from edgeq.errors import DeviceError, UsageError


@dataclass(frozen=True)
class Connection:
    """A device that answered: ``fault`` is what it stored of one, in words."""

    client: LinkClient
    hello: Hello
    url: str
    fault: list[str] | None

    def require_slots(self) -> None:
        """Raise DeviceError for firmware whose model is a part of it."""
        if not self.hello.features & Features.SLOTS:
            raise DeviceError(
                f"{self.url} has no slots: its model is part of the firmware",
                hint="edgeq build M --slots makes firmware whose models can be swapped",
            )


@contextmanager
def open_link(
    *, port: str | None, serial_number: str | None, board: str | None = None, tell: Callable[[str], None]
) -> Iterator[Connection]:
    """Open the port that is named or found, and ask who is there; ``tell`` is given why a port was chosen.

    Raises DeviceError when no port or several are left or no device answers, UsageError when it is not ``board``.
    """
    chosen = choose_port(port=port, board=board, serial_number=serial_number)
    if port is None:
        tell(f"using {chosen.url}: {chosen.why}")
    client = LinkClient(open_transport(chosen.url))
    try:
        hello = client.hello()
        if board is not None and hello.board != board:
            raise UsageError(f"{chosen.url} is a {hello.board}, not a {board}", hint="name another --port")
        yield Connection(client, hello, chosen.url, stored_fault(client))
    finally:
        client.close()
