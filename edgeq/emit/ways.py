# SPDX-License-Identifier: Apache-2.0
"""Which ways of running a convolution the steps of a plan take: tables of native/ops/conv2d.h hold those alone."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edgeq.ops.base import Step
from edgeq.ops.conv2d import RUN, Conv2dStep
from edgeq.ops.depthwise_conv2d import DepthwiseConv2dStep

WAYS: Mapping[str, Mapping[str, str]] = MappingProxyType(  # functions by the names of tables and of their members
    {
        "conv2d": {name: f"eq_run_conv2d_{name}" for name in ("product", "pixels", "channels", "windows", "rows")},
        "windows": {name: f"eq_run_{name}" for name in ("strips", "patches")},
    }
)
RARE_DEPTHWISE = "eq_depthwise_s8_scalar"  # what a DSP kernel leaves the layers to that it is not for
DSP_LANES = 4  # channels that it takes at a time
ALL_WAYS = frozenset(function for table in WAYS.values() for function in table.values())


def ways_of(step: Step, layout: int) -> frozenset[str]:
    """Return the functions that a step takes where there are no threads, its weights being in a layout.

    The shapes and the order of the weights alone decide that, here as in native/ops/conv2d.c.
    """
    if not isinstance(step, Conv2dStep):
        return frozenset()
    if step.packed(layout) is step:
        return frozenset({"eq_run_conv2d_rows"})
    if not step.is_pointwise:
        return frozenset({"eq_run_conv2d_windows", "eq_run_strips" if step.reads_in_place else "eq_run_patches"})
    steady = all(size == 1 or stride == 1 for size, stride in zip(step.output[1:3], step.stride, strict=True))
    whole = step.input[1:3] == step.output[1:3] and steady and step.groups == 1 and step.input[3] % RUN == 0
    return frozenset({"eq_run_conv2d_product" if whole else "eq_run_conv2d_pixels"})


def takes_rare_depthwise(step: Step) -> bool:
    """Say whether native/kernels/dsp/depthwise_s8_dsp.c leaves a step to RARE_DEPTHWISE."""
    return isinstance(step, DepthwiseConv2dStep) and (step.weights_zero != 0 or step.output[3] < DSP_LANES)
