# SPDX-License-Identifier: Apache-2.0
"""Run a model file with the C runtime, through its cffi binding."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.compile.plan import Plan
from edgeq.errors import InternalError, ModelFormatError, ToolchainError, UsageError
from edgeq.format.layout import format_hash
from edgeq.format.write import write_model
from edgeq.ir.result import RunResult
from edgeq.ops.base import MAX_PARTS
from edgeq.ops.packing import PORTABLE

_ALIGNMENT = 64


def _binding() -> tuple[Any, Any]:
    try:
        native: Any = importlib.import_module("edgeq._native")
    except ImportError as error:
        raise ToolchainError(
            f"the native library is not built in {Path(__file__).parents[1]} ({error})",
            hint="pip install -e . in a checkout; a package installed elsewhere is found when Python starts elsewhere",
        ) from None
    if native.lib.eq_format_hash() != format_hash():
        raise InternalError("the native library was built from other sources than these", hint="pip install . again")
    return native.ffi, native.lib


def require_native() -> None:
    """Raise ToolchainError when the native library is not built, InternalError when it is from other sources."""
    _binding()


def check_threads(threads: int) -> int:
    """Return a legal number of threads. Raises UsageError for another one."""
    if not 1 <= threads <= MAX_PARTS:
        raise UsageError(f"{threads} threads asked, from 1 to {MAX_PARTS} can share an inference")
    return threads


def isa_names() -> tuple[str, ...]:
    """List the kernel tables that this CPU can run, slowest first."""
    ffi, lib = _binding()
    names: list[str] = []
    while (found := lib.eq_isa_name(len(names))) != ffi.NULL:
        names.append(ffi.string(found).decode())
    return tuple(names)


def _forced_isa(ffi: Any, lib: Any) -> Any:
    """Return the value of EDGEQ_ISA as a C string, NULL without one. Raises UsageError for a name that is not there."""
    name = os.environ.get("EDGEQ_ISA")
    if not name:
        return ffi.NULL
    if name not in isa_names():
        raise UsageError(f"EDGEQ_ISA is {name!r}; this CPU has kernels for {', '.join(isa_names())}")
    return ffi.new("char[]", name.encode())


def _aligned(size: int) -> np.ndarray:
    raw = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size]


class Arena:
    """Working memory that models share when they run one after another, never at the same time."""

    def __init__(self, size_bytes: int) -> None:
        """Reserve memory for models that need up to ``size_bytes`` each. Raises UsageError for a negative size."""
        if size_bytes < 0:
            raise UsageError(f"an arena cannot have {size_bytes} bytes")
        self.memory = _aligned(size_bytes)

    @property
    def size_bytes(self) -> int:
        return int(self.memory.nbytes)

    def check(self, plan: Plan) -> None:
        """Raise UsageError unless a plan fits."""
        if self.size_bytes < plan.arena_bytes:
            raise UsageError(
                f"{plan.name!r} needs an arena of {plan.arena_bytes} bytes, this one has {self.size_bytes}"
            )


class NativeRunner:
    """A model opened by the C runtime, with its arena."""

    def __init__(self, plan: Plan, model_bytes: bytes, *, threads: int = 1, arena: Arena | None = None) -> None:
        """Copy the file to aligned memory and open it, its weights in the order of this CPU's kernels.

        At most ``threads`` (1 to MAX_PARTS) share the steps that the plan divides. ``EDGEQ_ISA`` names other kernels
        than the fastest ones. The arena is the runner's own unless one is given. Raises ModelFormatError with the C
        status when the runtime refuses the file, UsageError when this CPU has no kernels of that name, for another
        number of threads, and for an arena that is too small.
        """
        self._ffi, self._lib = _binding()
        self._plan = plan
        isa = _forced_isa(self._ffi, self._lib)
        if plan.layout != PORTABLE:
            model_bytes = write_model(dataclasses.replace(plan, layout=PORTABLE))
        self._model = self._ffi.new("eq_model *")
        self._runner = self._ffi.new("eq_runner *")
        file = _aligned(len(model_bytes))
        file[:] = np.frombuffer(model_bytes, np.uint8)
        self._open(file)
        repacked_bytes = self._lib.eq_repacked_bytes(self._model, isa)
        if repacked_bytes:
            image = _aligned(repacked_bytes)
            self._lib.eq_model_repack(self._ffi.from_buffer(image), self._model, isa)
            self._open(image)
        if arena is None:
            arena = Arena(self._lib.eq_arena_bytes(self._model))
        arena.check(plan)
        self._arena = arena.memory
        memory = self._ffi.from_buffer(self._arena)
        self._inputs = [self._bytes(port.value) for port in plan.inputs]
        self._outputs = [self._values(port.value, port.shape) for port in plan.outputs]
        self._refuse(self._lib.eq_runner_init(self._runner, self._model, memory, self._arena.nbytes))
        self._refuse(self._lib.eq_runner_use(self._runner, isa))
        self.threads = check_threads(threads)
        if threads > 1:
            pool = self._lib.eq_pool_start(threads)
            if pool == self._ffi.NULL:
                raise InternalError(f"cannot start {threads} threads", hint="ask for fewer")
            self._pool = self._ffi.gc(pool, self._lib.eq_pool_stop)
            self._lib.eq_runner_take_threads(self._runner, self._pool)

    def _open(self, file: np.ndarray) -> None:
        self._file = file
        self._refuse(self._lib.eq_model_open(self._model, self._ffi.from_buffer(file), file.nbytes))

    def _refuse(self, status: int) -> None:
        if status != 0:
            name = self._ffi.string(self._lib.eq_status_name(status)).decode()
            raise ModelFormatError(f"the runtime refuses the model: {name} ({status})")

    @property
    def isa(self) -> str:
        """The name of the kernel table in use."""
        return str(self._ffi.string(self._lib.eq_runner_isa(self._runner)).decode())

    def run(self, inputs: Sequence[np.ndarray], *, crcs: bool = False) -> RunResult:
        """Run one inference on codes, in the shapes and dtypes of the plan's ports."""
        self._feed(inputs)
        step_crcs = []
        if crcs:
            for index in range(len(self._plan.steps)):
                self._lib.eq_run_step(self._runner, index)
                step_crcs.append(int(self._lib.eq_step_crc(self._runner, index)))
        else:
            self._lib.eq_run(self._runner)
        return RunResult(tuple([output.copy() for output in self._outputs]), tuple(step_crcs))

    def tensors(self, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Run one inference and return every named tensor; the model must keep them (``keeps_tensors``)."""
        self._feed(inputs)
        self._lib.eq_run(self._runner)
        return {tensor.name: self._values(tensor.value, tensor.shape).copy() for tensor in self._plan.tensors}

    def time_steps(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Run one inference and return the nanoseconds of each step (int64)."""
        self._feed(inputs)
        times = np.zeros(len(self._plan.steps), np.uint64)
        self._lib.eq_time_steps(self._runner, self._ffi.from_buffer("uint64_t[]", times, require_writable=True))
        return times.astype(np.int64)

    def _feed(self, inputs: Sequence[np.ndarray]) -> None:
        for place, codes in zip(self._inputs, inputs, strict=True):
            place[:] = np.ascontiguousarray(codes).reshape(-1).view(np.uint8)

    def _bytes(self, value: int) -> np.ndarray:
        """The bytes of a value in the arena."""
        placed = self._plan.values[value]
        return self._arena[placed.offset : placed.offset + placed.bytes]

    def _values(self, value: int, shape: tuple[int, ...]) -> np.ndarray:
        """A constant, or a value's elements in the arena."""
        placed = self._plan.values[value]
        codes = placed.data if placed.data is not None else self._bytes(value).view(placed.dtype.numpy)
        return codes.reshape(shape)
