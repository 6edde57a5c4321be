# SPDX-License-Identifier: Apache-2.0
"""Print accuracy and size of trained models by recipe: calibrated on training rows, measured once on test rows.

usage: recipe_table.py [--models M,...] [--recipes R,...] [--rows N]
EDGEQ_SHARED names the folder that holds models_trained/ and data/.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import edgeq
from edgeq.analysis.estimates import wilson_interval
from edgeq.pipeline import read_source
from edgeq.quantize.calibrate import run_batches
from edgeq.quantize.recipes import BUILT_IN, parse_recipe

CALIBRATION_ROWS = 256


@dataclass(frozen=True)
class Rows:
    """Inputs to calibrate with, inputs and labels to measure on, and what could be said of the inputs without data."""

    calibration: np.ndarray
    test: np.ndarray
    labels: np.ndarray
    known: str


def _fashion(folder: Path) -> Rows:
    data = np.load(folder / "fashion_mnist.npz")

    def real(pixels: np.ndarray) -> np.ndarray:
        return pixels[..., np.newaxis].astype(np.float32) / 255

    return Rows(real(data["train_x"][:CALIBRATION_ROWS]), real(data["test_x"]), data["test_y"], "0..1")


def _digits(folder: Path) -> Rows:
    data = np.load(folder / "spoken_digits_mfcc.npz")
    calibration, test = (data[name].transpose(0, 2, 3, 1) for name in ("calib_x", "test_x"))
    return Rows(calibration[:CALIBRATION_ROWS], test, data["test_y"], "0+-1")


def _wand(folder: Path) -> Rows:
    data = np.load(folder / "wand_digits.npz")
    return Rows(data["train_x"][:CALIBRATION_ROWS], data["test_x"], data["test_y"], "-0.5..0.5")


MODELS: dict[str, Callable[[Path], Rows]] = {"fashion_mbnet": _fashion, "kws_dscnn": _digits, "wand_gru32": _wand}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--recipes", default=",".join(BUILT_IN), help="names of recipes or .toml files")
    parser.add_argument("--rows", type=int, help="measure on the first test rows only")
    arguments = parser.parse_args()
    shared = Path(os.environ["EDGEQ_SHARED"])
    print("| model | recipe | accuracy | 95 % interval | drop | output SQNR | file | weights |")
    print("|---|---|---|---|---|---|---|---|")
    for name in arguments.models.split(","):
        rows = MODELS[name](shared / "data")
        test, labels = rows.test[: arguments.rows], rows.labels[: arguments.rows]
        source = shared / "models_trained" / f"{name}.tflite"
        expected = np.concatenate([part[0] for part in run_batches(read_source(source), [[test]])])
        print(f"| {name} | float | {_score(expected, labels)} | - | - | {source.stat().st_size:,} | |", flush=True)
        exact = float((expected.argmax(axis=1) == labels).mean())
        for recipe in arguments.recipes.split(","):
            model = _convert(source, recipe, rows)
            found = np.concatenate([model.run([sample[np.newaxis]])[0] for sample in test])
            drop = 100 * (exact - float((found.argmax(axis=1) == labels).mean()))
            noise = _sqnr(expected, found)
            print(
                f"| {name} | {recipe} | {_score(found, labels)} | {drop:+.2f} | {noise:.1f} dB | "
                f"{len(model.data):,} | {_weight_bytes(model):,} |",
                flush=True,
            )


def _convert(source: Path, recipe: str, rows: Rows) -> edgeq.Model:
    chosen = parse_recipe(recipe)
    if chosen.ranges == "data":
        return edgeq.convert(source, data=[[rows.calibration]], recipe=chosen)
    return edgeq.convert(source, recipe=dataclasses.replace(chosen, inputs=(rows.known,)))


def _score(outputs: np.ndarray, labels: np.ndarray) -> str:
    hits = int((outputs.argmax(axis=1) == labels).sum())
    low, high = wilson_interval(hits, len(labels))
    return f"{100 * hits / len(labels):.2f} % | {100 * low:.1f} - {100 * high:.1f}"


def _sqnr(expected: np.ndarray, found: np.ndarray) -> float:
    error = np.sum((expected.astype(np.float64) - found) ** 2)
    return float(10 * np.log10(np.sum(expected.astype(np.float64) ** 2) / error))


def _weight_bytes(model: edgeq.Model) -> int:
    """Return the bytes of all weights, tables and scales of groups, each shared one counted once."""
    blobs: dict[bytes, int] = {}
    for planned in model.plan.steps:
        for field in ("weights", "codes", "levels", "group_scales", "group_zeros"):
            constant = getattr(planned.step, field, None)
            if isinstance(constant, np.ndarray):
                blobs[constant.tobytes()] = constant.nbytes
    return sum(blobs.values())


if __name__ == "__main__":
    main()
