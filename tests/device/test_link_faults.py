# SPDX-License-Identifier: Apache-2.0
"""Lines that stand still, come late, echo, repeat, reorder or are pulled out; devices that restart in between."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from device.link_peer import PAGE_BYTES, FrameFaults, Line, Noise, Peer
from device.test_link_noise import HEADER, MODEL, Fault, stored_payload

from edgeq.device.link.client import LinkClient
from edgeq.device.link.upload import Uploaded, upload
from edgeq.errors import DeviceError

PAGES = -(-len(MODEL) // PAGE_BYTES)
CLEAN_ERROR_SECONDS = 30


def _faults(kind: str, rng: np.random.Generator) -> tuple[Fault, Fault]:
    """Return what happens to frames there and back."""
    if kind == "gaps of a second":
        return FrameFaults(rng, late=0.05), FrameFaults(rng, late=0.05)
    if kind == "answers later than the timeout":
        return FrameFaults(rng), FrameFaults(rng, late=1.0, seconds=0.6)
    if kind == "frames lost":
        return FrameFaults(rng, lost=0.05), FrameFaults(rng, lost=0.05)
    if kind == "frames twice":
        return FrameFaults(rng, twice=0.2), FrameFaults(rng, twice=0.2)
    if kind == "frames in the wrong order":
        return FrameFaults(rng, swapped=0.1), FrameFaults(rng, swapped=0.1)
    return FrameFaults(rng, lost=0.02, twice=0.05, swapped=0.05, late=0.02), Noise(rng, 1e-3)


@pytest.mark.parametrize(
    "kind",
    [
        "gaps of a second",
        "answers later than the timeout",
        "frames lost",
        "frames twice",
        "frames in the wrong order",
        "all of it",
    ],
)
def test_uploads_arrive_whole_or_end_in_a_clean_error(kind: str) -> None:
    for seed in range(6):
        peer = Peer()
        there, back = _faults(kind, np.random.default_rng(seed))
        line = Line(peer.feed, there=there, back=back)
        client = LinkClient(line)
        client.hello(seconds=30)
        upload(client, HEADER, MODEL)
        assert stored_payload(peer) == MODEL, f"{kind}, seed {seed}"


def test_echoed_requests_are_not_taken_for_replies() -> None:
    peer = Peer()
    client = LinkClient(Line(peer.feed, echo=True))
    client.hello()
    upload(client, HEADER, MODEL)
    assert stored_payload(peer) == MODEL
    assert client.line.traffic.resent == 0


@pytest.mark.parametrize("stuck", [b"", b"\x55", b"\x00", b"\xff"])
def test_a_line_that_gets_stuck_ends_in_one_error_naming_the_offset(stuck: bytes) -> None:
    peer = Peer()
    frames = 0

    def back(data: bytes) -> Iterator[tuple[bytes, float]]:
        nonlocal frames
        frames += 1
        yield (data if frames < 30 else stuck * len(data)), 0.0

    line = Line(peer.feed, back=back)
    client = LinkClient(line)
    client.hello()
    with pytest.raises(
        DeviceError, match=r"stopped answering: the piece at offset \d+ of 14400 was sent 9 times"
    ) as caught:
        upload(client, HEADER, MODEL)
    assert line.now() < CLEAN_ERROR_SECONDS
    assert caught.value.exit_code == 6
    assert "check the cable" in str(caught.value)


def _upload(line: Line) -> Uploaded:
    client = LinkClient(line)
    client.hello()
    return upload(client, HEADER, MODEL)


def _writes_of_an_upload() -> int:
    line = Line(Peer().feed)
    _upload(line)
    return line.writes


@pytest.mark.parametrize("restarts", [False, True], ids=["device stays on", "device restarts"])
def test_an_upload_that_was_unplugged_goes_on_where_it_was(restarts: bool) -> None:
    whole = _writes_of_an_upload()
    assert whole > 50
    for cut in range(1, whole):
        peer = Peer()
        line = Line(peer.feed)
        line.unplugged_after = cut
        with pytest.raises(DeviceError, match="unplugged"):
            _upload(line)
        if restarts:
            peer.restart()
        there = _whole_pages(peer)
        done = _upload(Line(peer.feed))
        assert stored_payload(peer) == MODEL, f"cut after {cut} frames"
        assert done.pages_sent <= PAGES - there + 1, f"cut after {cut} frames: {there} pages were there already"


def _whole_pages(peer: Peer) -> int:
    stored = stored_payload(peer)
    pieces = range(0, len(MODEL), PAGE_BYTES)
    return sum(stored[at : at + PAGE_BYTES] == MODEL[at : at + PAGE_BYTES] for at in pieces)


def test_a_device_that_restarts_in_an_upload_is_sent_only_what_is_missing() -> None:
    peer = Peer()
    frames = 0

    def restarting(data: bytes) -> bytes:
        nonlocal frames
        frames += 1
        if frames == 40:
            peer.restart()
        return peer.feed(data)

    done = _upload(Line(restarting))
    assert stored_payload(peer) == MODEL
    assert PAGES < done.pages_sent <= PAGES + 12


def test_a_slot_that_lost_a_bit_is_sent_that_page_alone() -> None:
    peer = Peer()
    first = _upload(Line(peer.feed))
    assert (first.pages_sent, first.frames_resent) == (PAGES, 0)
    assert _upload(Line(peer.feed)).pages_sent == 0
    peer.restart()
    peer.damage(2 * PAGE_BYTES + 5)
    peer.restart()
    assert _upload(Line(peer.feed)).pages_sent == 1


def test_a_refused_model_is_not_sent() -> None:
    peer = Peer()
    line = Line(peer.feed)
    client = LinkClient(line)
    client.hello()
    with pytest.raises(DeviceError, match=r"BEGIN: its header is damaged"):
        upload(client, HEADER[:60] + b"\x01" + HEADER[61:], MODEL)
    assert line.writes == 2


def test_a_payload_that_is_not_the_headers_is_refused_after_its_last_byte() -> None:
    peer = Peer()
    client = LinkClient(Line(peer.feed))
    client.hello()
    with pytest.raises(DeviceError, match="not whole in the slot after 8 attempts"):
        upload(client, HEADER, MODEL[:-1] + b"\x7f")
    assert client.device.active_slot == 255
    assert client.reboot().flags & 1 == 0
