# SPDX-License-Identifier: Apache-2.0
"""Firmware is linked with the ways of running a convolution that its steps take: Python and C know the same ones."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from edgeq.emit.ways import DSP_LANES, RARE_DEPTHWISE, WAYS, takes_rare_depthwise, ways_of
from edgeq.ir.fixed_point import Mode
from edgeq.ops.conv2d import Conv2dStep
from edgeq.ops.depthwise_conv2d import DepthwiseConv2dStep
from edgeq.ops.packing import PORTABLE, layout_code
from edgeq.paths import native_dir

PACKED = layout_code("c2k4")


def _fields(
    channels: int, *, kernel: tuple[int, int], stride: int = 1, size: int = 6, depth: int = 16
) -> dict[str, object]:
    out = (size - kernel[0]) // stride + 1, (size - kernel[1]) // stride + 1
    return {
        "input_zero": 0, "weights_zero": 0, "output_zero": 0, "act_min": -128, "act_max": 127, "mode": Mode.SINGLE,
        "input": (1, size, size, depth), "output": (1, *out, channels), "kernel": kernel, "stride": (stride, stride),
        "dilation": (1, 1), "padding": (0, 0), "bias": np.zeros(channels, np.int32),
        "multipliers": np.full(channels, 1 << 30, np.int32), "shifts": np.full(channels, -2, np.int8),
    }  # fmt: skip


def _conv2d(kernel: tuple[int, int], *, stride: int = 1, depth: int = 16, groups: int = 1) -> Conv2dStep:
    fields = _fields(4, kernel=kernel, stride=stride, depth=depth)
    weights = np.ones((4, *kernel, depth // groups), np.int8)
    return Conv2dStep(groups=groups, weights=weights, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("step", "ways"),
    [
        (_conv2d((1, 1)), {"eq_run_conv2d_product"}),
        (_conv2d((1, 1), depth=12), {"eq_run_conv2d_pixels"}),
        (_conv2d((1, 1), stride=2), {"eq_run_conv2d_pixels"}),
        (_conv2d((1, 1), groups=2), {"eq_run_conv2d_pixels"}),
        (_conv2d((3, 3)), {"eq_run_conv2d_windows", "eq_run_strips"}),
        (_conv2d((3, 3), depth=3), {"eq_run_conv2d_windows", "eq_run_patches"}),
        (dataclasses.replace(_conv2d((1, 1)), weights_zero=3), {"eq_run_conv2d_rows"}),
    ],
)
def test_shapes_decide_the_way(step: Conv2dStep, ways: set[str]) -> None:
    assert ways_of(step, PACKED) == ways
    assert ways_of(step, PORTABLE) == {"eq_run_conv2d_rows"}


def test_few_channels_and_other_weights_are_left_to_the_scalar_kernel() -> None:
    def step(channels: int) -> DepthwiseConv2dStep:
        fields = _fields(channels, kernel=(3, 3), depth=channels)
        return DepthwiseConv2dStep(weights=np.ones((3, 3, channels), np.int8), **fields)  # type: ignore[arg-type]

    assert not takes_rare_depthwise(step(DSP_LANES))
    assert takes_rare_depthwise(step(DSP_LANES - 1))
    assert takes_rare_depthwise(dataclasses.replace(step(DSP_LANES), weights_zero=1))
    source = (native_dir() / "kernels/dsp/depthwise_s8_dsp.c").read_text()
    assert "channels < LANES) {\n    eq_depthwise_s8_rare(" in source
    assert f"eq_depthwise_s8_fn {RARE_DEPTHWISE};" in source


@pytest.mark.parametrize("name", WAYS)
def test_the_tables_have_the_members_that_c_has(name: str) -> None:
    header = (native_dir() / "ops/conv2d.h").read_text()
    table = re.search(rf"typedef struct eq_{name}_table {{(.*?)}} eq_{name}_table;", header, re.DOTALL)
    assert table is not None
    assert tuple(re.findall(r"^  eq_\w+ \*(\w+);", table[1], re.MULTILINE)) == tuple(WAYS[name])
    source = (native_dir() / "ops/conv2d.c").read_text()
    for member, function in WAYS[name].items():
        assert f".{member} = {function}" in source
