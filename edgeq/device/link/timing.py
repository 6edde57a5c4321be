# SPDX-License-Identifier: Apache-2.0
"""How long to wait for an answer before asking again."""

from __future__ import annotations

from edgeq.device.link.transport import BITS_PER_BYTE

SHORTEST_SECONDS = 0.25
LONGEST_SECONDS = 4.0
GIVE_UP_EXPIRIES = 8
GIVE_UP_SECONDS = 25.0  # without progress, whatever the timeouts
_NEWEST_SHARE = 1 / 8  # of a sample in the smoothed time (RFC 6298)
_MARGIN = 4


class RoundTrip:
    """The smoothed time from request to answer, and the timeout that follows from it.

    Every repetition of a request has a sequence number of its own, so that a sample always belongs to the frame that
    was answered; samples of ambiguous frames, which Karn's rule leaves out, do not arise.
    """

    def __init__(self, speed: int | None) -> None:
        self._byte_seconds = 0.0 if speed is None else BITS_PER_BYTE / speed
        self._smoothed = 0.0
        self._backoff = 1.0

    def sample(self, seconds: float) -> None:
        """Take the time that an answer needed; the timeout is no longer doubled."""
        self._smoothed += (seconds - self._smoothed) * (_NEWEST_SHARE if self._smoothed else 1.0)
        self._backoff = 1.0

    def expired(self) -> None:
        """Double the timeout."""
        self._backoff = min(2 * self._backoff, LONGEST_SECONDS / SHORTEST_SECONDS)

    def timeout(self, wire_bytes: int) -> float:
        """Return how long to wait for the answer to a frame of so many bytes."""
        first = max(SHORTEST_SECONDS, _MARGIN * self._smoothed + wire_bytes * self._byte_seconds)
        return min(first * self._backoff, LONGEST_SECONDS)
