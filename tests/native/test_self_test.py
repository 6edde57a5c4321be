# SPDX-License-Identifier: Apache-2.0
"""The self-test that a model file may carry."""

from __future__ import annotations

import ctypes
import struct

import numpy as np
import pytest
from loader import header_offsets, mended
from small_models import small_plan
from stepcall import library
from store_sim import simulator, status_name

from edgeq.format.write import write_model
from edgeq.runtime.reference import run_reference

PLAN = small_plan()
INPUT = np.random.default_rng(1).integers(-128, 128, (1, 6, 6, 2)).astype(np.int8)
CRCS = run_reference(PLAN, [INPUT], crcs=True).step_crcs
RIGHT = struct.pack(f"<{len(CRCS)}I", *CRCS) + INPUT.tobytes()


def _self_test(golden: bytes) -> str:
    bare = write_model(PLAN)
    bare += bytes(-len(bare) % 16)
    data = bytearray(bare + golden + bytes(-len(golden) % 16))
    offsets = header_offsets()
    sizes = {"file_bytes": len(data), "golden_offset": len(bare), "golden_size": len(golden)}
    for name, value in {**sizes, "signature_offset": len(data)}.items():
        struct.pack_into("<I", data, offsets[name][0], value)
    memory = np.zeros(16384, np.uint8)
    start = -memory.ctypes.data % 16
    memory[start : start + len(data)] = list(mended(data))
    model, runner = ctypes.create_string_buffer(256), ctypes.create_string_buffer(64)
    address = memory.ctypes.data + start
    runtime = library()
    arguments = (model, ctypes.c_void_p(address), ctypes.c_size_t(len(data)))
    assert status_name(runtime.eq_model_open(*arguments)) == "EQ_OK"
    arena = ctypes.c_void_p(address + 8192)
    assert status_name(runtime.eq_runner_init(runner, model, arena, ctypes.c_size_t(8000))) == "EQ_OK"
    return status_name(simulator().eq_self_test(runner))


def test_a_model_that_computes_what_its_file_says_passes() -> None:
    assert _self_test(RIGHT) == "EQ_OK"
    assert _self_test(b"") == "EQ_OK"


@pytest.mark.parametrize("golden", [RIGHT[:-1], RIGHT + b"\0", bytes(4) + RIGHT[4:], RIGHT[:-72] + bytes(72)])
def test_any_other_result_or_size_fails(golden: bytes) -> None:
    assert _self_test(golden) == "EQ_ERR_SELF_TEST"
