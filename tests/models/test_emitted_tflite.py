# SPDX-License-Identifier: Apache-2.0
"""Real float models, quantized and emitted as .tflite: LiteRT's reference kernels give our integers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from needs import needs_module
from shared_files import shared

from edgeq.api import Model, convert
from edgeq.quantize.recipe import Recipe
from edgeq.runtime.litert import ReferenceInterpreter

SAMPLES = 40  # real ones, and as many random ones
CALIBRATED = 4  # samples: the ranges need not be good
QUICK = Recipe(observer="minmax", transforms=(), rounding="tflite")
TWIN = 3  # of each sort go through the NumPy twin, too


def _rows(file: str, array: str, *shape: int, scale: float = 1.0) -> np.ndarray:
    rows = np.load(shared(file), allow_pickle=False)[array][:SAMPLES].astype(np.float32)
    return np.asarray(rows.reshape(-1, *shape) * np.float32(scale))


def _machine_sound() -> np.ndarray:
    frames = np.fromfile(shared("models/samples/ad01_normal_id_01_00000000_hist_librosa.bin"), "<f4").reshape(-1, 128)
    return np.stack([frames[start : start + 5].reshape(640) for start in range(SAMPLES)])


def _keyword() -> np.ndarray:
    """Return the one sample, which is stored in codes of the int8 model, louder and softer."""
    codes = np.load(shared("models/samples/kws_input_int8.npy"), allow_pickle=False).astype(np.float32)
    return (codes.reshape(1, 49, 10, 1) - 83) * np.linspace(0.3, 0.9, SAMPLES, dtype=np.float32).reshape(-1, 1, 1, 1)


MODELS: dict[str, Callable[[], np.ndarray]] = {
    "models/ad01_float": _machine_sound,
    "models/kws_ref_float": _keyword,
    "models/resnet8_float": lambda: _rows("models/samples/cifar10_test_300.npz", "x", 32, 32, 3),
    "models/vww_96_float": lambda: _rows("models/samples/vww_96x96x3.npz", "x", 96, 96, 3, scale=1 / 255),
    "models_trained/fashion_mbnet": lambda: _rows("data/fashion_mnist.npz", "train_x", 28, 28, 1, scale=1 / 255),
    "models_trained/kws_dscnn": lambda: _rows("data/spoken_digits_mfcc.npz", "calib_x", 49, 10, 1),
    "models_trained/wand_gru32": lambda: _rows("data/wand_digits.npz", "train_x", 64, 2),
}
SLOW = {"models/resnet8_float", "models/vww_96_float", "models_trained/wand_gru32"}
models = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in MODELS]
)


def _inputs(model: Model, samples: np.ndarray) -> list[list[np.ndarray]]:
    """Return the codes of real samples and of random ones, over the whole range."""
    (port,) = model.inputs
    dtype, rng = model.plan.values[port.value].dtype, np.random.default_rng(2024)
    drawn = [rng.integers(*dtype.limits, port.shape, dtype.numpy, endpoint=True) for _ in range(SAMPLES)]
    return [model.encode([sample.reshape(port.shape)]) for sample in samples] + [[codes] for codes in drawn]


@models
def test_the_emitted_file_equals_our_engines(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    needs_module("ai_edge_litert")
    source, samples = shared(f"{name}.tflite"), MODELS[name]()
    model = convert(source, data=[[samples[:CALIBRATED]]], recipe=QUICK)
    path = tmp_path / "emitted.tflite"
    path.write_bytes(model.tflite())
    litert, again, inputs = ReferenceInterpreter(path), convert(path), _inputs(model, samples)
    differing: dict[str, list[int]] = {"native": [], "twin": [], "converted again": []}
    for place, codes in enumerate(inputs):
        expected = litert.run(codes)
        found = {"native": model.run_codes(codes), "converted again": again.run_codes(codes)}
        if place < TWIN or place >= len(inputs) - TWIN:
            found["twin"] = model.run_codes(codes, engine="reference")
        for who, result in found.items():
            if not all(np.array_equal(a, b) for a, b in zip(result.outputs, expected, strict=True)):
                differing[who].append(place)
    assert differing == {"native": [], "twin": [], "converted again": []}
    record_property(f"shared: inputs of {name}, quantized and emitted, equal to LiteRT", len(inputs))
