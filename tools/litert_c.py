# SPDX-License-Identifier: Apache-2.0
"""Drive LiteRT through the C interface that libLiteRt.so of the ai-edge-litert package exports (checked with 2.3)."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

_CPU = 1  # kLiteRtHwAcceleratorCpu
_HOST_MEMORY = 1  # kLiteRtTensorBufferTypeHostMemory
_READ, _WRITE = 0, 1  # kLiteRtTensorBufferLockMode...
_TYPE_BYTES = 128  # at least sizeof(LiteRtRankedTensorType), which is 72
_Pointer = ctypes.c_void_p


class CompiledModel:
    """A .tflite file compiled for the CPU, which means XNNPACK with its default of one thread, and its buffers.

    Raises ImportError when the package or its library is missing, RuntimeError when a call fails.
    """

    def __init__(self, path: Path) -> None:
        """Compile the model."""
        self._library = ctypes.CDLL(str(_library()))
        self.run_address = ctypes.cast(self._library.LiteRtRunCompiledModel, _Pointer).value
        self._environment, model, options = _Pointer(), _Pointer(), _Pointer()
        self._call("LiteRtCreateEnvironment", ctypes.c_int(0), None, ctypes.byref(self._environment))
        name = ctypes.c_char_p(str(path).encode())
        self._call("LiteRtCreateModelFromFile", self._environment, name, ctypes.byref(model))
        self._call("LiteRtCreateOptions", ctypes.byref(options))
        self._call("LiteRtSetOptionsHardwareAccelerators", options, ctypes.c_int(_CPU))
        self.compiled = _Pointer()
        self._call("LiteRtCreateCompiledModel", self._environment, model, options, ctypes.byref(self.compiled))
        signature = _Pointer()
        self._call("LiteRtGetModelSignature", model, ctypes.c_size_t(0), ctypes.byref(signature))
        self.inputs, self._input_bytes = self._buffers(signature, "Input")
        self.outputs, self._output_bytes = self._buffers(signature, "Output")

    def feed(self, index: int, array: np.ndarray) -> None:
        """Copy an input in."""
        assert array.nbytes == self._input_bytes[index]
        ctypes.memmove(self._lock(self.inputs[index], _WRITE), np.ascontiguousarray(array).ctypes.data, array.nbytes)
        self._call("LiteRtUnlockTensorBuffer", _Pointer(self.inputs[index]))

    def run(self) -> int:
        """Run one inference and return LiteRT's status, 0 when all is well."""
        sizes = [ctypes.c_size_t(len(handles)) for handles in (self.inputs, self.outputs)]
        run = self._library.LiteRtRunCompiledModel
        run.restype = ctypes.c_int
        status: int = run(self.compiled, ctypes.c_size_t(0), sizes[0], self.inputs, sizes[1], self.outputs)
        return status

    def output(self, index: int) -> bytes:
        """Copy an output out."""
        found = ctypes.string_at(self._lock(self.outputs[index], _READ), self._output_bytes[index])
        self._call("LiteRtUnlockTensorBuffer", _Pointer(self.outputs[index]))
        return found

    def _buffers(self, signature: _Pointer, kind: str) -> tuple[Any, list[int]]:
        number = ctypes.c_size_t()
        self._call(f"LiteRtGetNumSignature{kind}s", signature, ctypes.byref(number))
        handles, sizes = (_Pointer * number.value)(), []
        for index in range(number.value):
            at = ctypes.c_size_t(index)
            tensor, needs, buffer = _Pointer(), _Pointer(), _Pointer()
            self._call(f"LiteRtGetSignature{kind}TensorByIndex", signature, at, ctypes.byref(tensor))
            tensor_type, size = (ctypes.c_uint8 * _TYPE_BYTES)(), ctypes.c_size_t()
            self._call("LiteRtGetRankedTensorType", tensor, ctypes.byref(tensor_type))
            requirements = f"LiteRtGetCompiledModel{kind}BufferRequirements"
            self._call(requirements, self.compiled, ctypes.c_size_t(0), at, ctypes.byref(needs))
            self._call("LiteRtGetTensorBufferRequirementsBufferSize", needs, ctypes.byref(size))
            memory = ctypes.c_int(_HOST_MEMORY)
            wanted = (self._environment, memory, ctypes.byref(tensor_type), size, ctypes.byref(buffer))
            self._call("LiteRtCreateManagedTensorBuffer", *wanted)
            handles[index] = buffer.value
            sizes.append(size.value)
        return handles, sizes

    def _lock(self, handle: int, mode: int) -> int:
        address = _Pointer()
        self._call("LiteRtLockTensorBuffer", _Pointer(handle), ctypes.byref(address), ctypes.c_int(mode))
        assert address.value is not None
        return address.value

    def _call(self, name: str, *arguments: object) -> None:
        function = getattr(self._library, name)
        function.restype = ctypes.c_int
        status = function(*arguments)
        if status != 0:
            raise RuntimeError(f"{name} of {self._library._name} returns {status}")


def _library() -> Path:
    found = importlib.util.find_spec("ai_edge_litert")
    for folder in [] if found is None else found.submodule_search_locations or []:
        path = Path(folder) / "libLiteRt.so"
        if path.is_file():
            return path
    raise ImportError("libLiteRt.so is missing: pip install ai-edge-litert")
