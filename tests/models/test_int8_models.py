# SPDX-License-Identifier: Apache-2.0
"""Real int8 models against LiteRT's reference kernels, integer for integer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from isas import host_isas, opened
from samples import INT8_MODELS, random_inputs, sample_inputs
from shared_files import shared

from edgeq.analysis.cost import analyze, count_parameters
from edgeq.api import Model, convert
from edgeq.pipeline import read_source
from edgeq.runtime.litert import ReferenceInterpreter

# tensors that a conversion with keep_tensors has in common with LiteRT, inputs and outputs included
KEPT_TENSORS = {
    "kws_ref_int8": 14,
    "vww_96_int8": 32,
    "resnet8_int8": 17,
    "ad01_int8": 11,
    "str_ww_int8": 12,
    "person_detect_int8": 32,
    "micro_speech_int8": 5,
    "hello_world_int8": 4,
    "mobilenet_v2_1.0_224_int8": 69,
}

# of shrinking: multiply-accumulates and parameters before, and after
SHRUNK = {
    "kws_ref_int8": (2_656_768, 22_604, 2_656_768, 22_604),
    "vww_96_int8": (7_489_664, 210_850, 3_727_313, 30_080),
    "resnet8_int8": (12_501_632, 77_706, 12_501_632, 77_706),
    "ad01_int8": (264_192, 265_864, 264_192, 265_864),
    "str_ww_int8": (826_368, 46_883, 826_368, 46_883),
    "person_detect_int8": (7_157_888, 210_706, 7_155_582, 210_447),
    "micro_speech_int8": (336_000, 16_652, 336_000, 16_652),
    "hello_world_int8": (288, 321, 220, 249),
    "mobilenet_v2_1.0_224_int8": (300_775_552, 3_489_097, 294_726_208, 3_488_552),
}

models = pytest.mark.parametrize("name", INT8_MODELS)


def _litert_file(path: Path) -> bytes:
    """The file as LiteRT takes it: person_detect's 1-D biases name quantized dimension 3, which LiteRT refuses."""
    data = path.read_bytes()
    if path.stem != "person_detect_int8":
        return data
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data)
    for tensor in model.subgraphs[0].tensors:
        if len(tensor.shape) == 1 and tensor.quantization is not None:
            tensor.quantization.quantizedDimension = 0
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _inputs(model: Model, path: Path, random_count: int) -> list[np.ndarray]:
    return random_inputs(model, random_count) + sample_inputs(model, path.parent / "samples", path.stem)


@models
def test_shrinking_removes_what_it_did(name: str) -> None:
    path = shared(f"models/{name}.tflite")
    cost = analyze(path)
    assert (cost.source_macs, count_parameters(read_source(path)), cost.macs, cost.parameters) == SHRUNK[name]


@models
def test_outputs_equal_litert(name: str, record_property: Callable[[str, object], None]) -> None:
    path = shared(f"models/{name}.tflite")
    model = convert(path)
    litert = ReferenceInterpreter(_litert_file(path))
    inputs = _inputs(model, path, 20)
    expected = [litert.run([x])[0] for x in inputs]
    for isa in host_isas():
        native = opened(model, isa)
        assert [i for i, x in enumerate(inputs) if not np.array_equal(native.run([x])[0], expected[i])] == [], isa
        record_property(f"shared: inputs of {name} equal to LiteRT with {isa}", len(inputs))
    np.testing.assert_array_equal(model.run(inputs[:1], engine="reference")[0], expected[0])


@models
def test_every_tensor_equals_litert(name: str, record_property: Callable[[str, object], None]) -> None:
    path = shared(f"models/{name}.tflite")
    model = convert(path, keep_tensors=True)
    litert = ReferenceInterpreter(_litert_file(path), keep_tensors=True)
    inputs = _inputs(model, path, 20)
    for number, x in enumerate(inputs):
        native = model.tensors([x])
        twin = model.tensors([x], engine="reference") if number in (0, len(inputs) - 1) else native
        litert.run([x])
        compared = 0
        for tensor in litert.tensors():
            if tensor.name in native:
                expected = litert.tensor(tensor.index)
                found = native[tensor.name].reshape(expected.shape)
                np.testing.assert_array_equal(found, expected, f"{name}: {tensor.name}")
                np.testing.assert_array_equal(twin[tensor.name].reshape(expected.shape), expected, tensor.name)
                compared += 1
        assert compared == KEPT_TENSORS[name]
    record_property(f"shared: tensors of {name} equal to LiteRT, on each of {len(inputs)} inputs", compared)
