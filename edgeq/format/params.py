# SPDX-License-Identifier: Apache-2.0
"""Step records to bytes and back: the fields of a Step in order, constants as (offset, bytes) spans."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from edgeq.compile.constants import ConstantPool
from edgeq.errors import InternalError, ModelFormatError
from edgeq.ops.base import Step, step_fields


def pack_step(step: Step, pool: ConstantPool) -> bytes:
    """Return the step's C struct as bytes, its constants placed in the pool.

    Raises InternalError when a field does not fit int32 or an array has another dtype than declared.
    """
    packed = bytearray()
    for name, count, dtype in step_fields(type(step)):
        value = getattr(step, name)
        if dtype is not None:
            if value.dtype != dtype.numpy:
                raise InternalError(f"{step.name}.{name} is {value.dtype}, {dtype.numpy} declared")
            packed += struct.pack("<II", *pool.add(value))
        else:
            values = value if count > 1 else (value,)
            if len(values) != count:
                raise InternalError(f"{step.name}.{name} has {len(values)} values, {count} declared")
            try:
                packed += struct.pack(f"<{count}i", *(int(item) for item in values))
            except struct.error:
                raise InternalError(f"{step.name}.{name} = {value} does not fit int32") from None
    return bytes(packed)


def params_bytes(step: type[Step]) -> int:
    """Return the size of the step's C struct."""
    return sum(8 if dtype is not None else 4 * count for _, count, dtype in step_fields(step))


def unpack_step(step: type[Step], packed: bytes, constants: bytes) -> Step:
    """Rebuild a step from its C struct and the constants section.

    Raises ModelFormatError when the struct is short or a span lies outside the section.
    """
    if len(packed) < params_bytes(step):
        raise ModelFormatError(f"the parameters of a {step.name} step are cut short")
    values: dict[str, Any] = {}
    position = 0
    for name, count, dtype in step_fields(step):
        if dtype is not None:
            offset, size = struct.unpack_from("<II", packed, position)
            position += 8
            if offset + size > len(constants) or size % dtype.bytes:
                raise ModelFormatError(f"{step.name}.{name} lies outside the constants section")
            raw = np.frombuffer(constants, dtype.numpy.newbyteorder("<"), size // dtype.bytes, offset)
            values[name] = raw.astype(dtype.numpy)
        else:
            items = struct.unpack_from(f"<{count}i", packed, position)
            position += 4 * count
            values[name] = items if count > 1 else items[0]
    return step(**values)
