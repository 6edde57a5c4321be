# SPDX-License-Identifier: Apache-2.0
"""One adapter over the two Python packages that run .tflite files: ai-edge-litert and its predecessor tflite-runtime.

It serves as the reference that edgeq's integers are compared with (``reference_kernels``) and as a peer to be timed
against. Facts that it hides: tflite-runtime needs numpy < 2, both packages fail with bare ValueError and RuntimeError.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edgeq.errors import BadInputError, ToolchainError, UsageError
from edgeq.paths import read_bytes

# distribution -> module; the first that works is taken
_PACKAGES = {"ai-edge-litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}


@dataclass(frozen=True)
class Detail:
    """A tensor of the interpreter; scale 0 where it has none, that of the first channel where it has several."""

    name: str
    index: int
    shape: tuple[int, ...]
    dtype: np.dtype
    scale: float
    zero_point: int


class ReferenceInterpreter:
    """A .tflite model opened by LiteRT.

    ``reference_kernels`` picks the plain C++ kernels whose integers edgeq reproduces, else the optimised ones with
    XNNPACK. ``keep_tensors`` keeps every intermediate tensor for ``tensor``. ``package`` insists on one of the two
    distributions. Raises ToolchainError when no package is installed and BadInputError when LiteRT refuses the model.
    """

    def __init__(
        self,
        model: bytes | Path,
        *,
        reference_kernels: bool = True,
        keep_tensors: bool = False,
        threads: int = 1,
        package: str | None = None,
    ) -> None:
        self.package, module = _load(package)
        self.version = importlib.metadata.version(self.package)
        kinds = module.OpResolverType
        content = read_bytes(model) if isinstance(model, Path) else model
        try:
            self._interpreter: Any = module.Interpreter(
                model_content=content,
                num_threads=threads,
                experimental_op_resolver_type=kinds.BUILTIN_REF if reference_kernels else kinds.AUTO,
                experimental_preserve_all_tensors=keep_tensors,
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BadInputError(f"{self.package} {self.version} refuses the model: {_brief(error)}") from error
        self.inputs = tuple(_detail(found) for found in self._interpreter.get_input_details())
        self.outputs = tuple(_detail(found) for found in self._interpreter.get_output_details())

    def run(self, inputs: Sequence[np.ndarray] | Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run one inference on arrays in order, or by tensor name, in the inputs' own dtypes and shapes."""
        for detail, array in zip(self.inputs, self._in_order(inputs), strict=True):
            if array.shape != detail.shape or array.dtype != detail.dtype:
                raise UsageError(
                    f"input {detail.name!r} is {detail.dtype} {list(detail.shape)}, "
                    f"{array.dtype} {list(array.shape)} was given"
                )
            self._interpreter.set_tensor(detail.index, array)
        try:
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise BadInputError(f"{self.package} {self.version} cannot run the model: {_brief(error)}") from error
        return [self.tensor(detail.index) for detail in self.outputs]

    def tensor(self, index: int) -> np.ndarray:
        """Return a tensor by its index in the file; an intermediate one needs ``keep_tensors``."""
        try:
            return np.array(self._interpreter.get_tensor(index))
        except ValueError as error:
            raise UsageError(f"tensor {index} cannot be read: {_brief(error)}") from error

    def tensors(self) -> tuple[Detail, ...]:
        """Describe every tensor of the model, temporary ones included."""
        return tuple(_detail(found) for found in self._interpreter.get_tensor_details())

    def _in_order(self, inputs: Sequence[np.ndarray] | Mapping[str, np.ndarray]) -> list[np.ndarray]:
        names = [detail.name for detail in self.inputs]
        if isinstance(inputs, Mapping):
            if set(inputs) != set(names):
                raise UsageError(f"the model's inputs are {names}, {sorted(inputs)} were given")
            return [np.asarray(inputs[name]) for name in names]
        if len(inputs) != len(names):
            raise UsageError(f"the model has {len(names)} inputs, {len(inputs)} were given")
        return [np.asarray(array) for array in inputs]


def installed_package() -> str | None:
    """Return the distribution that would be used, or None."""
    try:
        return _load(None)[0]
    except ToolchainError:
        return None


def _load(package: str | None) -> tuple[str, ModuleType]:
    if package is not None and package not in _PACKAGES:
        raise UsageError(f"package {package!r} is not known, one of {', '.join(_PACKAGES)} expected")
    hint = "pip install ai-edge-litert"
    problems = []
    for distribution, module in _PACKAGES.items():
        if package in (None, distribution):
            # under numpy 2 its extension prints a page of warnings before it fails
            if distribution == "tflite-runtime" and int(np.__version__.split(".")[0]) >= 2:
                problems.append(f"tflite-runtime needs numpy < 2, {np.__version__} is installed")
                hint = 'pip install "numpy<2" tflite-runtime' if package else hint
                continue
            try:
                return distribution, importlib.import_module(module)
            except ImportError as error:
                problems.append(f"{distribution} cannot be imported ({error})")
    raise ToolchainError(f"no package that runs .tflite files: {'; '.join(problems)}", hint=hint)


def _detail(found: Mapping[str, Any]) -> Detail:
    scale, zero_point = found["quantization"]
    if scale == 0.0 and len(found["quantization_parameters"]["scales"]) > 0:
        scale = found["quantization_parameters"]["scales"][0]
        zero_point = found["quantization_parameters"]["zero_points"][0]
    return Detail(
        str(found["name"]),
        int(found["index"]),
        tuple(int(size) for size in found["shape"]),
        np.dtype(found["dtype"]),
        float(scale),
        int(zero_point),
    )


def _brief(error: Exception) -> str:
    """Return the first line of a message; LiteRT appends its own source positions."""
    return str(error).strip().split("\n")[0]
