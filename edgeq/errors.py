# SPDX-License-Identifier: Apache-2.0
"""Every exception class of edgeq, each with the exit code that the command line gives it.

EdgeqError                      7
  UsageError                    1   an option or argument that cannot be meant
  UnsupportedError              2   operator, dtype or attribute edgeq does not do
  DoesNotFitError               3   memory of the board is too small
  AccuracyError                 4   an accuracy gate was missed
  DeviceDiffersError            5   a device's integers differ from the twin's
  DeviceError                   6   device, port, emulator or toolchain fails
    ToolchainError              6   a compiler or emulator is missing or fails
  InternalError                 7   edgeq contradicts itself: a bug
  BadInputError                 8   a file or data that is malformed
    InvalidValueError           8   NaN, infinity or a number out of its legal range (also a ValueError)
    GraphError                  8   a graph that breaks its own rules
    ModelFormatError            8   bytes that are not a valid .eqm
  StorageError                  9   a file cannot be read or written
"""

from __future__ import annotations


class EdgeqError(Exception):
    """Base of all errors that edgeq raises on purpose; ``hint`` says what the reader can do."""

    exit_code = 7

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}; {hint}")
        self.hint = hint


class UsageError(EdgeqError):
    """A call or command whose arguments cannot be meant as given."""

    exit_code = 1


class UnsupportedError(EdgeqError):
    """An operator, dtype or attribute that edgeq does not support.

    ``reasons`` lists (node, operator, reason, hint) for everything unsupported in the model, not only the first.
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        reasons: tuple[tuple[str, str, str, str], ...] = (),
    ) -> None:
        super().__init__(message, hint=hint)
        self.reasons = reasons


class DoesNotFitError(EdgeqError):
    """A model that needs more memory than the board has."""

    exit_code = 3


class AccuracyError(EdgeqError):
    """An accuracy below the gate that the user set."""

    exit_code = 4


class DeviceDiffersError(EdgeqError):
    """Integers from a device or engine that differ from the NumPy twin's."""

    exit_code = 5


class DeviceError(EdgeqError):
    """A device, port or emulator that does not answer or fails."""

    exit_code = 6


class ToolchainError(DeviceError):
    """A compiler or emulator that is missing or fails."""


class InternalError(EdgeqError):
    """A broken promise inside edgeq."""

    exit_code = 7


class BadInputError(EdgeqError):
    """A file or array that is malformed."""

    exit_code = 8


class InvalidValueError(BadInputError, ValueError):
    """A value that is not finite or lies outside its legal range."""


class GraphError(BadInputError):
    """A graph that is cyclic, dangling, or whose shapes and parameters contradict each other."""


class ModelFormatError(BadInputError):
    """Bytes that are not a valid model file."""


class StorageError(EdgeqError):
    """A path that cannot be read or written."""

    exit_code = 9
