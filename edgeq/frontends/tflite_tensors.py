# SPDX-License-Identifier: Apache-2.0
"""Turn the tensors of a .tflite file into tensors of a Graph: names, shapes, dtypes, codes and scales.

Three things change on the way, none of them a value: legacy uint8 becomes int8 (codes and zero points minus 128),
4-bit weights are unpacked to int8, and float16 weights widen to float32.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

import numpy as np
from tflite.TensorType import TensorType

from edgeq.errors import BadInputError, GraphError, InvalidValueError, UnsupportedError
from edgeq.frontends.tflite_schema import RawTensor
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import SMALLEST_SCALE, QuantParams

MAX_RANK = 6
MAX_ELEMENTS = 2**31 - 1
_MAX_NAME = 1024
_TYPE_NAMES = {code: name.lower() for name, code in vars(TensorType).items() if not name.startswith("_")}
DTYPES = {
    TensorType.FLOAT32: DType.F32,
    TensorType.INT32: DType.S32,
    TensorType.UINT8: DType.U8,
    TensorType.INT64: DType.S64,
    TensorType.BOOL: DType.BOOL,
    TensorType.INT16: DType.S16,
    TensorType.INT8: DType.S8,
}


def readable_name(raw: bytes, index: int) -> str:
    """Return a tensor's name as printable text of bounded length.

    Bytes that are not UTF-8 and control characters are escaped; a long name keeps its end, behind a hash of the whole.
    """
    if not raw:
        return f"tensor_{index}"
    if len(raw) > _MAX_NAME:
        digest = hashlib.sha256(raw).hexdigest()[:8]
        raw = f"{digest}~".encode() + raw[9 - _MAX_NAME :]
    text = raw.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def unique_names(names: Iterable[str]) -> list[str]:
    """Add _2, _3 ... to names that are already taken, in order."""
    taken: set[str] = set()
    count: dict[str, int] = {}
    result = []
    for name in names:
        candidate = name
        while candidate in taken:
            count[name] = count.get(name, 1) + 1
            candidate = f"{name}_{count[name]}"
        taken.add(candidate)
        result.append(candidate)
    return result


def has_open_size(raw: RawTensor) -> bool:
    """Whether the file leaves a size of this tensor open; an old converter then writes no shape at all."""
    return not raw.shape or any(size < 0 for size in raw.signature)


def check_input_shape(raw: RawTensor, name: str) -> None:
    """Refuse an input with an open size, save an open batch: a model is then read for a batch of one."""
    signature = raw.signature if len(raw.signature) == len(raw.shape) else raw.shape
    if -1 in raw.shape or any(size < 0 for size in signature[1:]) or (signature[:1] == (-1,) and raw.shape[0] != 1):
        raise GraphError(
            f'input "{name}" has shape {list(signature)}: its sizes must be known before conversion',
            hint="convert the model again with a fixed input shape",
        )


def is_unsigned(raw: RawTensor) -> bool:
    """Whether the file holds uint8 codes, which ``convert_tensor`` makes int8."""
    return bool(raw.type_code == TensorType.UINT8)


def convert_tensor(raw: RawTensor, name: str) -> Tensor:
    """Make the Graph tensor.

    Raises GraphError for shapes that no tensor may have, UnsupportedError for dtypes and storage that edgeq does not
    read, BadInputError for data of the wrong size, InvalidValueError for weights or scales that are not legal numbers.
    """
    if raw.shape == (0,) and raw.type_code in (TensorType.INT32, TensorType.INT64):
        # an empty list of axes or sizes is a constant without bytes
        dtype = DTYPES[raw.type_code]
        return Tensor(name, raw.shape, dtype, data=np.zeros(0, dtype.numpy))
    _check_shape(raw, name)
    if raw.is_variable:
        raise UnsupportedError(f'tensor "{name}" keeps its value between inferences, which edgeq does not do')
    if raw.is_sparse:
        raise UnsupportedError(f'tensor "{name}" is stored sparse', hint="convert the model with dense weights")
    if raw.has_custom_quantization:
        raise UnsupportedError(f'tensor "{name}" has custom quantization details')
    dtype, data = _storage(raw, name)
    quant = _quantization(raw, name, dtype)
    if dtype is DType.U8:
        dtype = DType.S8
        data = None if data is None else (data ^ np.uint8(0x80)).view(np.int8)
        quant = None if quant is None else shift_zero_points(quant, -128)
    return Tensor(name, raw.shape, dtype, quant, data)


def shift_zero_points(quant: QuantParams, by: int) -> QuantParams:
    """Return the parameters of the same values when every code changes by ``by``."""
    return QuantParams(quant.scales, tuple(zero + by for zero in quant.zero_points), quant.axis)


def _check_shape(raw: RawTensor, name: str) -> None:
    if len(raw.shape) > MAX_RANK:
        raise GraphError(f'tensor "{name}" has {len(raw.shape)} dimensions, {MAX_RANK} are the most')
    if any(size <= 0 for size in raw.shape):
        raise GraphError(f'tensor "{name}" has shape {list(raw.shape)}, every size must be 1 or more')
    if math.prod(raw.shape) > MAX_ELEMENTS:
        raise GraphError(f'tensor "{name}" of shape {list(raw.shape)} has more than {MAX_ELEMENTS} elements')


def _storage(raw: RawTensor, name: str) -> tuple[DType, np.ndarray | None]:
    """Return the dtype, and the constant's array (a view of the file where the dtype is kept) or None."""
    constant = raw.data.size > 0
    elements = math.prod(raw.shape)
    if constant and raw.type_code == TensorType.INT4:
        packed = _sized(raw, name, (elements + 1) // 2)
        nibbles = np.stack([packed << 4, packed], axis=-1).reshape(-1)[:elements]  # low nibble first
        return DType.S8, (nibbles.view(np.int8) >> 4).reshape(raw.shape)
    if constant and raw.type_code == TensorType.FLOAT16:
        halves = _sized(raw, name, 2 * elements).view("<f2")
        return DType.F32, halves.reshape(raw.shape).astype(np.float32)
    if raw.type_code not in DTYPES:
        found = _TYPE_NAMES.get(raw.type_code, f"type {raw.type_code}")
        raise UnsupportedError(
            f'tensor "{name}" is {found}', hint="edgeq reads float32, int8, uint8, int16 and int32 tensors"
        )
    dtype = DTYPES[raw.type_code]
    if not constant:
        return dtype, None
    stored = _sized(raw, name, elements * dtype.bytes).view(dtype.numpy.newbyteorder("<"))
    return dtype, stored.reshape(raw.shape)


def _sized(raw: RawTensor, name: str, expected: int) -> np.ndarray:
    """Return the constant's bytes, which must be as many as expected."""
    if raw.data.size != expected:
        raise BadInputError(
            f'tensor "{name}" of shape {list(raw.shape)} needs {expected} bytes, its buffer has {raw.data.size}'
        )
    return raw.data


def _quantization(raw: RawTensor, name: str, dtype: DType) -> QuantParams | None:
    count = len(raw.scales)
    if count == 0 or dtype.is_float or dtype is DType.BOOL:
        return None
    if dtype in (DType.S32, DType.S64) and not _are_normal(raw.scales):
        return None  # the scale of a bias is implied by input and weights, that of an index has no meaning
    if len(raw.zero_points) != count:
        raise InvalidValueError(f'tensor "{name}" has {count} scales and {len(raw.zero_points)} zero points')
    for index, zero in enumerate(raw.zero_points):
        low, high = (-8, 7) if raw.type_code == TensorType.INT4 else dtype.limits
        if not low <= zero <= high:
            raise InvalidValueError(
                f'tensor "{name}" has zero point {zero} at index {index}, {low} to {high} is the range of its dtype'
            )
    axis = _channel_axis(raw, name) if count > 1 else None
    try:
        return QuantParams(
            tuple(float(scale) for scale in raw.scales), tuple(int(zero) for zero in raw.zero_points), axis
        )
    except InvalidValueError as error:
        raise InvalidValueError(f'tensor "{name}": {error}') from error


def _are_normal(scales: np.ndarray) -> bool:
    return bool(np.all(np.isfinite(scales) & (scales >= SMALLEST_SCALE)))


def _channel_axis(raw: RawTensor, name: str) -> int:
    # one dimension leaves no choice, and real files (the TFLM person detector) name the axis of the weights instead
    axis = 0 if len(raw.shape) == 1 else raw.axis
    if not 0 <= axis < len(raw.shape):
        raise InvalidValueError(f'tensor "{name}" has {len(raw.shape)} dimensions, its scales belong to number {axis}')
    if raw.shape[axis] != len(raw.scales):
        raise InvalidValueError(
            f'tensor "{name}": per-channel scales have {len(raw.scales)} entries, dimension {axis} of shape '
            f"{list(raw.shape)} has {raw.shape[axis]} channels"
        )
    return axis
