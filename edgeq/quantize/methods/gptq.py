# SPDX-License-Identifier: Apache-2.0
"""GPTQ: round a layer's weights input by input and let the weights to come make up for each error."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import InvalidValueError, UsageError
from edgeq.quantize.methods.base import require_finite
from edgeq.quantize.methods.compensation import Compensation, LayerSamples, Rounded
from edgeq.quantize.methods.moments import by_group, mean_products
from edgeq.quantize.methods.weights import Grid

_BLOCK = 128  # inputs whose errors are carried together to all that follow
_ATTEMPTS = 4


@dataclass(frozen=True)
class Gptq(Compensation):
    """Round to any grid, whose scales stay as they are; a channel keeps its incoming codes unless it gains.

    The Hessian is the mean of products of the inputs (its factor 2 changes nothing), with ``damping`` times its mean
    diagonal added; each group of channels has its own. ``act_order`` takes inputs with large squares first, in one
    order for all groups. ``targets`` chooses what to approach on inputs that carry the errors of the layers before:
    the float layer's ``outputs`` on its own, exact inputs, for which the weights first move to the least-squares
    solution; or, as published, the float ``weights``. Biases are left to bias correction, which should come after.

    Source: Frantar et al., "GPTQ: accurate post-training quantization for generative pre-trained transformers",
    arXiv 2210.17323. Left out: scales of groups chosen on the way.
    """

    name: ClassVar[str] = "gptq"

    damping: float = 0.01
    act_order: bool = True
    target: str = "outputs"

    def __post_init__(self) -> None:
        if not 0 < self.damping < np.inf:
            raise UsageError(f"gptq: damping {self.damping:g} given, a number above 0 expected")
        if self.target not in ("outputs", "weights"):
            raise UsageError(f"gptq: target {self.target!r} given, outputs or weights expected")

    def apply(self, layer: LayerSamples, rounded: Rounded) -> Rounded:
        weights = by_group(layer.weights, layer.groups)
        products = mean_products(layer.inputs, layer.inputs)  # (G, K, K)
        wanted = mean_products(layer.exact, layer.inputs) if self.target == "outputs" else products
        require_finite(products, f"layer {layer.name!r}, products of inputs")
        require_finite(wanted, f"layer {layer.name!r}, products of exact inputs")
        aim = weights @ wanted  # (G, O / G, K): the mean of output times input

        def errors(codes: np.ndarray) -> np.ndarray:
            """Return each channel's mean square error, less the same constant for any codes: (O,)."""
            values = by_group(rounded.grid.values(codes), layer.groups)
            return np.asarray(np.sum((values @ products - 2 * aim) * values, axis=2).reshape(-1))

        squares = np.diagonal(products, axis1=1, axis2=2)  # (G, K)
        order = self._order(squares)
        dead = squares <= 0
        live = np.where(dead[:, np.newaxis], 0.0, weights)[:, :, order]
        hessian = products + dead[:, np.newaxis] * np.eye(len(order))
        factor = self._factor(hessian[:, order][:, :, order], layer.name)
        shift = (aim - weights @ products)[:, :, order] @ (factor.transpose(0, 2, 1) @ factor)
        codes = _round_in_order(live + shift, factor, order, rounded.grid).astype(rounded.codes.dtype)
        gains = errors(codes) < errors(rounded.codes)
        return dataclasses.replace(rounded, codes=np.where(gains[:, np.newaxis], codes, rounded.codes))

    def _order(self, squares: np.ndarray) -> np.ndarray:
        """Return the order (K,) of inputs whose mean squares are (G, K)."""
        if not self.act_order:
            return np.arange(squares.shape[1])
        totals = squares.sum(axis=1, keepdims=True)
        shares = squares / np.where(totals > 0, totals, 1)
        return np.argsort(-shares.sum(axis=0), kind="stable")

    def _factor(self, hessian: np.ndarray, layer: str) -> np.ndarray:
        """Return upper triangles U (G, K, K) with U^T U the inverse of the damped hessian.

        Damping grows tenfold up to three times while the matrices are not positive definite.
        """
        identity = np.eye(hessian.shape[1])
        damping = self.damping * np.trace(hessian, axis1=1, axis2=2)[:, np.newaxis, np.newaxis] / len(identity)
        for attempt in range(_ATTEMPTS):
            damped = hessian + 10.0**attempt * damping * identity
            try:  # from the last row up: damped = R R^T with R upper, and U = R^-1
                return np.linalg.inv(np.linalg.cholesky(damped[:, ::-1, ::-1])[:, ::-1, ::-1])
            except np.linalg.LinAlgError:
                continue
        raise InvalidValueError(
            f"gptq: layer {layer!r}: the products of its {len(identity)} inputs are not positive definite with a "
            f"damping of {self.damping * 10 ** (_ATTEMPTS - 1):g}",
            hint="raise damping, or give more calibration samples",
        )


def _round_in_order(weights: np.ndarray, factor: np.ndarray, order: np.ndarray, grid: Grid) -> np.ndarray:
    """Return codes (O, K) for weights (G, O / G, K) whose column i, as a row of factor's, is input order[i]."""
    groups, channels, depth = weights.shape
    codes = np.empty((groups * channels, depth), np.int16)
    for start in range(0, depth, _BLOCK):
        end = min(start + _BLOCK, depth)
        errors = np.empty((groups, channels, end - start))
        for column in range(start, end):
            place = int(order[column])
            codes[:, place : place + 1] = nearest = grid.nearest(weights[:, :, column].reshape(-1, 1), first=place)
            values = grid.values(nearest, first=place).reshape(groups, channels)
            error = (weights[:, :, column] - values) / factor[:, column, column, np.newaxis]
            weights[:, :, column + 1 : end] -= error[:, :, np.newaxis] * factor[:, column, np.newaxis, column + 1 : end]
            errors[:, :, column - start] = error
        weights[:, :, end:] -= errors @ factor[:, start:end, end:]
    return codes
