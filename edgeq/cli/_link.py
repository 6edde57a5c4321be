# SPDX-License-Identifier: Apache-2.0
"""The device that a command talks to over the link."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeq.board import board_names
from edgeq.cli._model import open_model
from edgeq.compile.plan import Plan
from edgeq.device.built import Build
from edgeq.device.fault import stored_fault
from edgeq.device.link.client import LinkClient
from edgeq.device.link.device import holds_model
from edgeq.device.link.protocol import Features, Hello
from edgeq.device.link.transport import open_transport
from edgeq.device.ports import choose_port
from edgeq.errors import DeviceError, UsageError
from edgeq.paths import read_bytes

START_SECONDS = 10.0  # for a board to start after it was flashed, and for its port to come back
_AGAIN_SECONDS = 0.3


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


def plan_on_device(model: Path, hello: Hello) -> Plan:
    """Return the plan of the model that a device runs. Raises UsageError when ``model`` is another one."""
    opened = open_model(model, board=hello.board if hello.board in board_names() else None)
    if not holds_model(hello, opened.data):
        raise UsageError(f"{str(model)!r} is not the model that the {hello.board} runs")
    return opened.plan


def await_firmware(
    build: Build, *, port: str | None, serial_number: str | None, tell: Callable[[str], None]
) -> Hello | None:
    """Wait until a board that was just flashed answers, and compare what it says with the build.

    A board without a port that is named or found is not asked, and None returned. Raises DeviceError when it does not
    answer, or with another board's name or another model: then the old firmware is still there.
    """
    name = build.board.name
    try:
        chosen = choose_port(port=port, board=name, serial_number=serial_number)
    except DeviceError as error:
        tell(f"{name} was not asked whether it runs: {error}")
        return None
    hello = _first_hello(chosen.url)
    if hello.board != name:
        raise DeviceError(f"{chosen.url} answers as {hello.board or 'a board without a name'}, not as {name}")
    old = f"{chosen.url} answers, but still runs older firmware"
    retry = "press reset, or flash it again"
    if build.model_file is None and not hello.features & Features.SLOTS:
        raise DeviceError(f"{old}: it has no slots for models", hint=retry)
    if build.model_file is not None and not (
        hello.features & Features.FIXED_MODEL and holds_model(hello, read_bytes(build.model_file))
    ):
        raise DeviceError(f"{old}: its model is not {build.model}", hint=retry)
    version = ".".join(map(str, hello.firmware_version))
    what = f" with {build.model}" if build.model_file is not None else " with slots for models"
    tell(f"{name} answers at {chosen.url}: firmware {version}{what}")
    return hello


def _first_hello(url: str) -> Hello:
    """Ask again while a board starts and its port comes back."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            client = LinkClient(open_transport(url))
            try:
                return client.hello()
            finally:
                client.close()
        except DeviceError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_AGAIN_SECONDS)
