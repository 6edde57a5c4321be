# SPDX-License-Identifier: Apache-2.0
"""Recipe: how a float model is quantized; it is written as a TOML file that can be edited and used again."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeq.errors import UsageError
from edgeq.ops.base import Rounding
from edgeq.ops.dynamic_rows import RowRange
from edgeq.quantize.declared import Around, Declared, Within
from edgeq.quantize.dynamic import Rows
from edgeq.quantize.methods import parse
from edgeq.quantize.methods.base import Method
from edgeq.quantize.methods.compensation import Compensation
from edgeq.quantize.methods.transform import Transform
from edgeq.quantize.methods.weights import WeightFormat

ACTIVATIONS = ("int8", "int16")
SCALES = ("asymmetric", "symmetric", "pot")
RANGES = ("data", "synthetic", "propagated")
RUN_TIME_SCALES = ("none", *(rows.value for rows in Rows))
RUN_TIME_RANGES = tuple(row_range.name.lower() for row_range in RowRange)


@dataclass(frozen=True)
class Scope:
    """Other choices for the nodes whose name and operator match the two patterns, which may hold * and ?.

    None leaves a choice as it is; where several scopes match, the last one that makes it counts. A scope that matches
    nothing is an error unless it is ``optional``.
    """

    nodes: str = "*"
    operator: str = "*"
    weights: str | None = None
    activations: str | None = None
    compensation: tuple[str, ...] | None = None
    optional: bool = False


@dataclass(frozen=True)
class Recipe:
    """How every part of a model is quantized; methods are named as quantize/methods registers them.

    ``observer`` chooses the ranges of activations, such as ``percentile:99.99``. ``weights`` is the format of weights,
    such as ``int:bits=4,group=64``, and ``compensation`` what makes up for its errors, in order. ``transforms`` rewrite
    the float model first, in order. ``activations`` is int8 or int16, and ``scales`` how their codes cover a range:
    "asymmetric", "symmetric", or "pot" for scales that are powers of two, also those of weights, and zero points 0, so
    that a device rescales by shifts. ``ranges`` come from "data", or without any from "synthetic" samples or from
    moments "propagated" through the model, which also correct biases; then ``inputs`` says what is known of the model's
    inputs, for each or once for all: a range ("0..1"), or a mean and a standard deviation ("0+-1").
    ``run_time_scales`` gives each "tensor", or each "token" of one, that a layer with int8 weights reads a scale of its
    own while the model runs, from its ``run_time_ranges``: "symmetric", "asymmetric" or "mean_std".
    ``share_repeats`` lets tensors that the same weights compute again and again, in an unrolled recurrent network,
    share one range, with ``share_states`` also the states of its cells, so that all steps have the same constants.
    ``rounding`` names whose integers are computed; None leaves it to the kind of source model.
    """

    name: str = "int8"
    observer: str = "mse"
    weights: str = "int8"
    activations: str = "int8"
    scales: str = "asymmetric"
    ranges: str = "data"
    run_time_scales: str = "none"
    run_time_ranges: str = "asymmetric"
    transforms: tuple[str, ...] = ("equalize",)
    compensation: tuple[str, ...] = ()
    share_repeats: bool = True
    share_states: bool = False
    rounding: str | None = None
    inputs: tuple[str, ...] = ()
    scopes: tuple[Scope, ...] = ()

    def __post_init__(self) -> None:
        parse(self.observer, Method)
        choices: tuple[Recipe | Scope, ...] = (self, *self.scopes)
        for choice in choices:
            if choice.weights is not None:
                parse(choice.weights, WeightFormat)
            for text in choice.compensation or ():
                parse(text, Compensation)
            if choice.activations is not None:
                _require_one(choice.activations, ACTIVATIONS, "activations")
        for text in self.transforms:
            parse(text, Transform)
        _require_one(self.scales, SCALES, "scales")
        _require_one(self.ranges, RANGES, "ranges")
        _require_one(self.run_time_scales, RUN_TIME_SCALES, "run_time_scales")
        _require_one(self.run_time_ranges, RUN_TIME_RANGES, "run_time_ranges")
        if self.rounding is not None:
            _require_one(self.rounding, tuple(rounding.value for rounding in Rounding), "rounding")
        for text in self.inputs:
            parse_declared(text)
        if self.inputs and self.ranges == "data":
            raise UsageError(
                f"recipe {self.name!r} finds ranges in data, inputs {', '.join(self.inputs)} would change nothing",
                hint='leave the inputs out, or set ranges to "synthetic" or "propagated", as the recipe datafree does',
            )

    def to_toml(self) -> str:
        """Return the recipe as a file that ``read_recipe`` takes, as TOML."""
        lines = ["# how edgeq quantized the model beside this file; pass it to --recipe to repeat or change the run"]
        lines += _lines({field: value for field, value in _fields(self).items() if field != "scopes"})
        for scope in self.scopes:
            lines += ["", "[[scopes]]", *_lines(_fields(scope))]
        return "\n".join(lines) + "\n"


def _require_one(value: str, allowed: tuple[str, ...], what: str) -> None:
    if value not in allowed:
        raise UsageError(f"{what} must be {', '.join(allowed[:-1])} or {allowed[-1]}, not {value!r}")


def parse_declared(text: str) -> Declared:
    """Return what a text says of an input. Raises UsageError for one that is neither a range nor mean and deviation."""
    try:
        if ".." in text:
            low, high = (float(part) for part in text.split(".."))
            if math.isfinite(high - low) and low < high:
                return Within(low, high)
        elif "+-" in text:
            mean, std = (float(part) for part in text.split("+-"))
            if math.isfinite(mean) and math.isfinite(std) and std > 0:
                return Around(mean, std)
    except ValueError:
        pass
    raise UsageError(f"inputs: {text!r} is neither a range like 0..1 nor a mean and a deviation like 0+-1")


def _fields(entry: Recipe | Scope) -> dict[str, Any]:
    return {field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}


def _lines(values: Mapping[str, Any]) -> list[str]:
    """Spell keys and values as TOML; JSON spells texts, numbers, truth values and lists of texts in the same way."""
    return [
        f"{key} = {json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)}"
        for key, value in values.items()
        if value is not None
    ]


def read_recipe(values: dict[str, Any], base: Recipe) -> Recipe:
    """Return ``base`` with the values of a TOML file. Raises UsageError for unknown keys and values not to be meant."""
    recipe: Recipe = _read(values, base, "the recipe")
    return recipe


def _read(values: dict[str, Any], base: Any, where: str) -> Any:
    known = {field.name: field for field in dataclasses.fields(base)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise UsageError(f"{where} has unknown keys {', '.join(unknown)}", hint=f"known are {', '.join(sorted(known))}")
    read: dict[str, Any] = {}
    for key, value in values.items():
        if key == "scopes":
            if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
                raise UsageError("scopes must be tables, [[scopes]]")
            read[key] = tuple(_read(entry, Scope(), "a scope") for entry in value)
        else:
            read[key] = _of_kind(value, str(known[key].type), f"{where}: {key}")
    return dataclasses.replace(base, **read)


def _of_kind(value: Any, kind: str, what: str) -> Any:
    """Return a value in the type that a field's annotation names."""
    if kind.startswith("tuple"):
        if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            return tuple(value)
        raise UsageError(f"{what} must be a list of texts in quotes")
    if kind == "bool":
        if isinstance(value, bool):
            return value
        raise UsageError(f"{what} must be true or false")
    if isinstance(value, str):
        return value
    raise UsageError(f"{what} must be text in quotes")
