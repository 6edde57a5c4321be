# SPDX-License-Identifier: Apache-2.0
"""Call one step's C functions on guarded buffers, straight from a shared library built of native/."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from edgeq.board import load_board
from edgeq.device.build import library_objects
from edgeq.device.toolchain import compile_sources, find_compiler, link_library, native_includes
from edgeq.format.params import ConstantPool, pack_step
from edgeq.ops.base import Step
from edgeq.ops.packing import PORTABLE

GUARD = 64
FENCED = 1 << 24  # bytes of an arena at most
PROT_NONE = 0


@cache
def library() -> ctypes.CDLL:
    """Link native/, from the objects that programs for this machine are made of, into a shared library and load it."""
    compiler = find_compiler(load_board("host"))
    sources = [Path(__file__).parent / "native/packed_reference.c"]
    objects = [*library_objects(compiler), *compile_sources(compiler, sources, includes=native_includes())]
    loaded = ctypes.CDLL(str(link_library(compiler, objects, "stepcall.so")))
    for function in (loaded.eq_kernels_select, loaded.eq_kernels_for_layout, loaded.eq_reference_kernels):
        function.restype = ctypes.c_void_p
    return loaded


class _Table(ctypes.Structure):
    """The head of a kernel table."""

    _fields_ = (("isa", ctypes.c_char_p), ("layout", ctypes.c_uint32))


def layout_of(isa: str) -> int:
    """Return the order of packed weights that an ISA of this CPU reads."""
    return ctypes.cast(_kernels(isa), ctypes.POINTER(_Table)).contents.layout


def _kernels(isa: str) -> ctypes.c_void_p:
    table = library().eq_kernels_select(ctypes.c_char_p(isa.encode()))
    assert table, f"this CPU has no kernels called {isa!r}"
    return ctypes.c_void_p(table)


class _Io(ctypes.Structure):
    _fields_ = (
        ("constants", ctypes.c_void_p),
        ("arena", ctypes.c_void_p),
        ("locations", ctypes.c_void_p),
        ("operands", ctypes.c_void_p),
        ("n_inputs", ctypes.c_uint32),
        ("n_outputs", ctypes.c_uint32),
        ("scratch", ctypes.c_void_p),
        ("scratch_bytes", ctypes.c_uint32),
        ("kernels", ctypes.c_void_p),
        ("layout", ctypes.c_uint32),
        ("part", ctypes.c_uint32),
        ("parts", ctypes.c_uint32),
    )


class _Check(ctypes.Structure):
    _fields_ = (
        ("constants", ctypes.c_void_p),
        ("constants_bytes", ctypes.c_uint32),
        ("tensor_bytes", ctypes.c_void_p),
        ("operands", ctypes.c_void_p),
        ("n_inputs", ctypes.c_uint32),
        ("n_outputs", ctypes.c_uint32),
        ("scratch_bytes", ctypes.c_uint32),
        ("layout", ctypes.c_uint32),
    )


def _aligned(size: int) -> np.ndarray:
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


@cache
def _fence() -> mmap.mmap:
    """Memory whose last page faults when it is touched."""
    memory = mmap.mmap(-1, FENCED + mmap.PAGESIZE)
    last = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + FENCED
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(last), mmap.PAGESIZE, PROT_NONE) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    return memory


def _fenced(size: int) -> np.ndarray:
    """Return this many bytes in front of memory that faults; the same ones at every call."""
    assert size <= FENCED
    return np.frombuffer(_fence(), np.uint8, size, FENCED - size)


def call_step(
    step: Step,
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    *,
    layout: int = PORTABLE,
    parts: int = 1,
    isa: str | None = None,
) -> list[np.ndarray]:
    """Check and run ``step`` in C. ``outputs`` give shapes and dtypes. Fails on a refusal or a touched guard byte.

    The inputs come last: a read beyond them, rounded up to 16 bytes, is a fault. Weights are packed in the layout. The
    kernels are those of ``isa``; without one they are the fastest, or with a layout reference code that reads it as
    vector kernels may. Parts run one after another, the last one first.
    """
    lib = library()
    pool = ConstantPool()
    params = pack_step(step.packed(layout), pool)
    constants = _aligned(len(pool.data) + 16)
    constants[: len(pool.data)] = np.frombuffer(bytes(pool.data), np.uint8)
    scratch_bytes = step.scratch_bytes()

    sizes = [array.nbytes for array in [*inputs, *outputs]] + [scratch_bytes]
    offsets, end = [0] * len(sizes), GUARD
    for i in [*range(len(inputs), len(sizes)), *range(len(inputs))]:
        offsets[i] = end
        end += -(-sizes[i] // 16) * 16 + GUARD
    arena = _fenced(end - (GUARD if inputs else 0))
    arena[:] = 0xA5
    for array, offset in zip(inputs, offsets, strict=False):
        arena[offset : offset + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    before = arena.copy()

    locations = np.array(offsets[:-1], np.uint32)
    operands = np.arange(len(inputs) + len(outputs), dtype=np.uint16)
    tensor_bytes = np.array(sizes[:-1], np.uint32)
    parameters = _aligned(len(params))
    parameters[:] = np.frombuffer(params, np.uint8)
    check = _Check(
        constants.ctypes.data, len(pool.data), tensor_bytes.ctypes.data, operands.ctypes.data,
        len(inputs), len(outputs), scratch_bytes, layout,
    )  # fmt: skip
    if isa is None:
        kernels = lib.eq_reference_kernels(layout) if layout else lib.eq_kernels_select(None)
    else:
        kernels = _kernels(isa)
    pointer = ctypes.c_void_p(parameters.ctypes.data)
    status = getattr(lib, f"eq_check_{step.name}")(ctypes.byref(check), pointer)
    assert status == 0, f"eq_check_{step.name} refused a legal step: {status}: {step}"
    for part in reversed(range(parts)):
        io = _Io(
            constants.ctypes.data, arena.ctypes.data, locations.ctypes.data, operands.ctypes.data,
            len(inputs), len(outputs), arena.ctypes.data + offsets[-1], scratch_bytes, kernels, layout,
            part, parts,
        )  # fmt: skip
        getattr(lib, f"eq_op_{step.name}")(ctypes.byref(io), pointer)

    results = []
    for array, offset in zip(outputs, offsets[len(inputs) : -1], strict=True):
        raw = arena[offset : offset + array.nbytes].copy()
        results.append(raw.view(array.dtype).reshape(array.shape))
        before[offset : offset + array.nbytes] = raw
    start = offsets[-1]
    before[start : start + scratch_bytes] = arena[start : start + scratch_bytes]
    touched = np.flatnonzero(before != arena)
    assert touched.size == 0, f"eq_op_{step.name} wrote outside its buffers at arena offset {touched[:4]}: {step}"
    return results
