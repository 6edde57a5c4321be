# SPDX-License-Identifier: Apache-2.0
"""Random models of one operator: what is drawn (Draw) and the file that comes of it (Draft)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from frontends.tflite_builder import Model, O, T, build

Shape = tuple[int, ...]
LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
ACTIVATIONS = (0, 1, 2, 3)  # NONE, RELU, RELU_N1_TO_1, RELU6


@dataclass(frozen=True)
class Quant:
    """The scale and zero point of an activation."""

    scale: float
    zero: int = 0


class Draw:
    """Random choices, with the edges of each range more often than chance would have them."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def one(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def integer(self, low: int, high: int) -> int:
        """Return an integer in [low, high]."""
        return int(self.rng.integers(low, high, endpoint=True))

    def sizes(self, count: int, low: int = 1, high: int = 12) -> Shape:
        return tuple(self.integer(low, high) for _ in range(count))

    def shape(self, low: int = 1, high: int = 5) -> Shape:
        """Return the shape of an activation: mostly an image, else any rank from low to high."""
        if low <= 4 <= high and self.chance(0.6):
            return (self.one(1, 1, 2, 3), *self.sizes(2), self.channels())
        rank = self.integer(low, high)
        return self.sizes(rank, 1, {1: 300, 2: 60, 3: 20}.get(rank, 6))

    def channels(self) -> int:
        return int(self.one(1, 2, 3, 8, 16, self.integer(1, 40)))

    def scale(self, low: float = -12.0, high: float = 2.0) -> float:
        """Return a float32 scale, 2^low to 2^high by its logarithm."""
        return float(np.float32(2.0 ** self.rng.uniform(low, high)))

    def zero(self, dtype: str = "int8") -> int:
        if dtype == "int16":
            return 0
        low, high = LIMITS[dtype]
        return int(self.one(low, high, (low + high + 1) // 2, self.integer(low, high), self.integer(low, high)))

    def quant(self, dtype: str = "int8", low: float = -12.0, high: float = 2.0) -> Quant:
        if dtype == "int16":
            low, high = low - 8, high - 8
        return Quant(self.scale(low, high), self.zero(dtype))

    def near(self, scale: float, dtype: str = "int8") -> Quant:
        """Return parameters for results of which one code of an ideal output is worth ``scale``."""
        wide = self.chance(0.15)
        factor = 2.0 ** (self.rng.uniform(-8, 8) if wide else self.rng.uniform(-1.5, 1.5))
        return Quant(float(np.float32(scale * factor)), self.zero(dtype))

    def codes(self, shape: Sequence[int], dtype: str = "int8") -> np.ndarray:
        """Return codes over the whole range, or gathered around a point of it."""
        low, high = LIMITS[dtype]
        if self.chance(0.6):
            found = self.rng.integers(low, high, tuple(shape), endpoint=True)
        else:
            middle, spread = self.rng.uniform(low, high), (high - low) * self.rng.uniform(0.02, 0.3)
            found = np.clip(np.rint(self.rng.normal(middle, spread, tuple(shape))), low, high)
        return np.asarray(found).astype(dtype)

    def activation(self) -> int:
        return int(self.one(0, *ACTIVATIONS))

    def axis(self, rank: int, axis: int) -> int:
        """Return an axis as it may be written: counted from either end."""
        return axis - rank if self.chance(0.4) else axis


class Draft:
    """A model of one operator as it is put together; inputs and codes are drawn on the way."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self._tensors: list[T] = []
        self._operators: list[O] = []
        self._feeds: list[int] = []
        self.arrays: list[np.ndarray] = []
        self.expected: list[np.ndarray] | None = None  # what must come out, where LiteRT cannot be asked

    def tensor(self, shape: Sequence[int], dtype: str, quant: Quant | None = None, **fields: Any) -> int:
        """Add a tensor and return its number."""
        if quant is not None:
            fields = {"scale": quant.scale, "zero": quant.zero, **fields}
        self._tensors.append(T(f"t{len(self._tensors)}", shape, dtype, **fields))
        return len(self._tensors) - 1

    def input(self, shape: Sequence[int], dtype: str = "int8", quant: Quant | None = None) -> int:
        """Add an input of the model with codes to run it on."""
        return self.feed(self.draw.codes(shape, dtype), quant)

    def feed(self, array: np.ndarray, quant: Quant | None = None) -> int:
        """Add an input of the model that the run gets as this array."""
        number = self.tensor(array.shape, array.dtype.name, quant)
        self._feeds.append(number)
        self.arrays.append(array)
        return number

    def constant(self, array: np.ndarray, quant: Quant | None = None, **fields: Any) -> int:
        return self.tensor(array.shape, array.dtype.name, quant, data=array, **fields)

    def integers(self, values: Any) -> int:
        """Add a constant list of shapes, axes and the like."""
        return self.constant(np.asarray(values, self.draw.one(np.int32, np.int32, np.int64)))

    def numbers(self, values: Any) -> int:
        """Add a constant list of int32, where int64 is not allowed."""
        return self.constant(np.asarray(values, np.int32))

    def operand(self, shape: Sequence[int], dtype: str, quant: Quant, *, constant: float = 0.3) -> int:
        """Add an input of the model or, by chance, a constant."""
        if self.draw.chance(constant):
            return self.constant(self.draw.codes(shape, dtype), quant)
        return self.input(shape, dtype, quant)

    def operator(
        self,
        kind: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: tuple[str, dict[str, Any]] | None = None,
        version: int = 2,
    ) -> None:
        self._operators.append(O(kind, inputs, outputs, options, version))

    def is_narrow(self, number: int) -> bool:
        return self._tensors[number].dtype == "int32"

    @property
    def has_inputs(self) -> bool:
        return bool(self._feeds)

    def file(self, outputs: Sequence[int]) -> bytes:
        return build(Model(self._tensors, self._operators, self._feeds, list(outputs)))
