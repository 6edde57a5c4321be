# SPDX-License-Identifier: Apache-2.0
"""Inputs for the optional real models: random ones, and every sample that exists in tensor form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeq.api import Model

INT8_MODELS = (
    "kws_ref_int8",
    "vww_96_int8",
    "resnet8_int8",
    "ad01_int8",
    "str_ww_int8",
    "person_detect_int8",
    "micro_speech_int8",
    "hello_world_int8",
    "mobilenet_v2_1.0_224_int8",
)


def random_inputs(model: Model, count: int) -> list[np.ndarray]:
    """Draw inputs over the whole range of the model's only input."""
    (port,) = model.inputs
    low, high = port.dtype.limits
    rng = np.random.default_rng(2024)
    return [rng.integers(low, high + 1, port.shape).astype(port.dtype.numpy) for _ in range(count)]


def sample_inputs(model: Model, folder: Path, name: str) -> list[np.ndarray]:
    """Return the real samples of a model as its inputs; none for models without samples in tensor form."""
    shape = model.inputs[0].shape
    return [np.ascontiguousarray(sample).reshape(shape) for sample in _samples(model, folder, name)]


def _samples(model: Model, folder: Path, name: str) -> Iterator[np.ndarray]:
    if name == "kws_ref_int8":
        yield np.load(folder / "kws_input_int8.npy", allow_pickle=False)
    elif name in ("vww_96_int8", "resnet8_int8"):
        file = "vww_96x96x3.npz" if name == "vww_96_int8" else "cifar10_test_300.npz"
        for picture in np.load(folder / file, allow_pickle=False)["x"]:
            yield (picture.astype(np.int16) - 128).astype(np.int8)
    elif name == "ad01_int8":
        frames = np.fromfile(folder / "ad01_normal_id_01_00000000_hist_librosa.bin", "<f4").reshape(-1, 128)
        for start in range(len(frames) - 4):
            yield model.encode([frames[start : start + 5].reshape(1, 640)])[0]
    elif name == "str_ww_int8":
        for spectrum in np.load(folder / "str_ww_calibration_samples.npz", allow_pickle=False)["specs"]:
            yield model.encode([spectrum.astype(np.float32).reshape(model.inputs[0].shape)])[0]
    elif name == "person_detect_int8":
        for file in sorted(folder.glob("person_detect_*_96x96_grey.bmp")):
            rows = np.frombuffer(file.read_bytes()[-96 * 96 :], np.uint8).reshape(96, 96)[::-1]
            yield (rows.astype(np.int16) - 128).astype(np.int8)
    elif name == "mobilenet_v2_1.0_224_int8":
        for file in sorted(folder.glob("imagenet_224x224x3_*.rgb")):
            yield np.fromfile(file, np.uint8)
