# SPDX-License-Identifier: Apache-2.0
"""Why a layer loses accuracy: what can be measured of its weights and activations, and what could bring it back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.analysis.layer_errors import LayerError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Node, Port
from edgeq.ir.qparams import QuantParams
from edgeq.quantize.layers import weight_rows
from edgeq.quantize.recipe import Recipe, Scope
from edgeq.quantize.static import Decisions

DISPARITY = 4.0  # largest channel over median channel, from which one scale for all costs a bit
TAIL = 4.0  # end of the range over what 99.9 % of the values stay within
CLIPPED = 0.001  # share of values beyond the range
SHIFT = 0.5  # mean of the error over its standard deviation
GOOD_DB = 40.0  # a layer that loses less alone needs no explanation
UNUSED = 8.0  # range of the codes over the range of the data
QUIET = 99.9  # per cent of values that are no outliers


@dataclass(frozen=True)
class Remedy:
    """A change of the recipe that may help."""

    text: str
    change: Callable[[Recipe], Recipe]


@dataclass(frozen=True)
class Cause:
    """A measured reason: ``measure`` is the number that the text speaks of."""

    kind: str
    measure: float
    text: str
    remedies: tuple[Remedy, ...]


def find_causes(decisions: Decisions, layer: LayerError, node: Node, recipe: Recipe) -> list[Cause]:
    """Return what explains the loss of a layer, what weighs most in its kind first; none for one that loses little."""
    if layer.both.sqnr_db >= GOOD_DB:
        return []
    found = [*_of_weights(decisions, layer, node, recipe), *_of_activations(decisions, layer, node, recipe)]
    shift = _mean_shift(layer)
    if shift > SHIFT and "bias_correction" not in recipe.compensation:
        text = f"its errors have a mean of {shift:.2f} times their deviation: they do not cancel"
        found.append(Cause("mean shift", shift, text, (_compensate("bias_correction"),)))
    return found


def _of_weights(decisions: Decisions, layer: LayerError, node: Node, recipe: Recipe) -> list[Cause]:
    rounded = decisions.rounded.get(layer.tensor)
    if rounded is None or layer.weights is None or layer.weights.sqnr_db > layer.activations.sqnr_db + 6:
        return []
    peaks = np.abs(weight_rows(decisions.typed.graph, node)).max(axis=1)
    median = float(np.median(peaks))
    ratio = float(peaks.max()) / median if median > 0 else 1.0
    coding = rounded.grid.coding
    causes = []
    if len(peaks) > 1 and np.ptp(rounded.grid.scales) == 0 and ratio >= DISPARITY:
        text = f"all channels share one scale, and the largest has {ratio:.1f} times the weights of the median one"
        everywhere = Remedy("per-channel weights", lambda recipe: dataclasses.replace(recipe, weights="int8"))
        spread = (_scope(node, "per-channel weights here", weights="int8"), everywhere, _transform("cle"))
        causes.append(Cause("range disparity", ratio, text, spread))
    if coding is not None:
        text = f"its weights have {coding.bits} bits: {layer.weights.sqnr_db:.1f} dB"
        remedies = [_scope(node, "int8 weights here", weights="int8")]
        if "gptq" not in recipe.compensation:
            remedies.append(_compensate("gptq"))
        causes.append(Cause("low-bit weights", float(coding.bits), text, tuple(remedies)))
    return causes


def _of_activations(decisions: Decisions, layer: LayerError, node: Node, recipe: Recipe) -> list[Cause]:
    params = decisions.params[layer.tensor]
    dtype = decisions.typed.dtypes[layer.tensor]
    if dtype is DType.S16 or (layer.weights is not None and layer.activations.sqnr_db > layer.weights.sqnr_db + 6):
        return []
    low, high = reach_of(params, dtype)
    values = layer.spread.exact
    wider = _scope(node, "int16 activations here", activations="int16")
    if decisions.groups.of[layer.tensor] in decisions.groups.fixed:
        text = f"the operator prescribes a scale of {params.scale:g} for its output, whatever values it has"
        return [Cause("fixed scale", params.scale, text, (wider,))]
    clipped = float(np.mean((values < low - params.scale) | (values > high + params.scale)))
    causes = []
    if clipped > CLIPPED:
        text = f"{100 * clipped:.2g} % of its values lie outside [{low:.4g}, {high:.4g}] and are clipped"
        causes.append(Cause("saturation", clipped, text, (_observer("minmax"), wider)))
    quiet = float(np.percentile(np.abs(values), QUIET))
    tail = max(-low, high) / quiet if quiet > 0 else 1.0
    if tail >= TAIL:
        own = max(float(np.abs(values).max()), params.scale)
        shared = max(-low, high) / own
        if shared >= TAIL:
            text = f"it shares its range with tensors {shared:.1f} times as large"
            causes.append(Cause("shared range", shared, text, (wider,)))
        else:
            text = (
                f"{QUIET} % of its values stay within a {tail:.1f}th of its range (kurtosis {_kurtosis(values):.0f}): "
                f"the others leave them {math.log2(256 / tail):.1f} bits"
            )
            others = [_observer(name) for name in ("mse", "percentile:99.99") if name != recipe.observer]
            causes.append(Cause("outliers", tail, text, (wider, *others)))
    return causes


@dataclass(frozen=True)
class InputCheck:
    """What is odd about the data of one input; ``text`` says what was expected and what was found."""

    name: str
    kind: str
    text: str


def check_inputs(
    ports: Sequence[Port], arrays: Sequence[np.ndarray], params: Sequence[tuple[QuantParams, DType] | None]
) -> list[InputCheck]:
    """Compare samples, one array (n, ...) per input, with the ranges that the model quantizes its inputs to."""
    found = []
    for port, array, quantized in zip(ports, arrays, params, strict=True):
        if quantized is None:
            continue
        low, high = reach_of(*quantized)
        least, most = float(array.min()), float(array.max())
        said = f"the data lie in [{least:.4g}, {most:.4g}], the model expects [{low:.4g}, {high:.4g}]"
        outside = float(np.mean((array < low - quantized[0].scale) | (array > high + quantized[0].scale)))
        if least == most:
            found.append(InputCheck(port.name, "constant", f"all values are {least:g}"))
        elif outside > CLIPPED:
            text = f"{said}: {100 * outside:.2g} % are clipped; are they scaled as in training?"
            found.append(InputCheck(port.name, "wrong range", text))
        elif max(-low, high) > UNUSED * max(-least, most):
            text = f"{said}: most codes stay unused; are they scaled as in training?"
            found.append(InputCheck(port.name, "wrong range", text))
    return found


def reach_of(params: QuantParams, dtype: DType) -> tuple[float, float]:
    """Return the lowest and highest real value that codes express."""
    low, high = dtype.limits
    return (low - params.zero_point) * params.scale, (high - params.zero_point) * params.scale


def _mean_shift(layer: LayerError) -> float:
    errors = layer.spread.found.astype(np.float64) - layer.spread.exact
    deviation = float(errors.std())
    return abs(float(errors.mean())) / deviation if deviation > 0 else 0.0


def _kurtosis(values: np.ndarray) -> float:
    centred = values.astype(np.float64) - values.mean()
    variance = float(np.mean(centred**2))
    return float(np.mean(centred**4)) / variance**2 if variance > 0 else 0.0


def _scope(node: Node, text: str, *, weights: str | None = None, activations: str | None = None) -> Remedy:
    name = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in node.name)  # taken as it is
    scope = Scope(name, weights=weights, activations=activations)
    return Remedy(text, lambda recipe: dataclasses.replace(recipe, scopes=(*recipe.scopes, scope)))


def _observer(name: str) -> Remedy:
    return Remedy(f"ranges by {name}", lambda recipe: dataclasses.replace(recipe, observer=name))


def _transform(name: str) -> Remedy:
    def change(recipe: Recipe) -> Recipe:
        return dataclasses.replace(recipe, transforms=(name, *(text for text in recipe.transforms if text != name)))

    return Remedy(f"transform {name}", change)


def _compensate(name: str) -> Remedy:
    return Remedy(
        f"compensation {name}", lambda recipe: dataclasses.replace(recipe, compensation=(*recipe.compensation, name))
    )
