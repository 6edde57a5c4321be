# SPDX-License-Identifier: Apache-2.0
"""Recipes that do what other toolchains do by default, so that a project moved from one of them finds its method.

The codes are edgeq's in all of them: what a preset shares with a toolchain is how ranges are found and what is done to
the weights.

- tensorrt: entropy clips, zero points 0, weights per channel by their largest magnitude. Migacz, "8-bit inference with
  TensorRT", GTC 2017.
- ncnn: the same search and the same codes.
- ppq: squared error, per tensor.
- qualcomm: SNPE's and AIMET's "tf-enhanced" squared error, ranges that hold zero and are at least 0.01 wide, weights
  per tensor after cross-layer equalization, and bias correction.
- horizon: for each tensor the best of the full range, the 99.99th percentile and the entropy clip. A copy with
  ``scales = "pot"`` has the chip's form, which rescales by shifts alone.
- cambricon: the largest magnitude, zero points 0. Its scale 2^position / scale, with position = floor(log2(largest)) -
  (bits - 2) and scale = 2^position * (2^(bits - 1) - 1) / largest, is that of symmetric int8; with scale 1 it is
  ``scales = "pot"``.
- hisilicon: weights in the chip's logarithmic codes of 8 bits. Its activations in the same codes are left out, which
  only the chip itself computes with; here they are int8.
"""

from __future__ import annotations

from edgeq.quantize.recipe import Recipe

PRESETS = (
    Recipe(name="tensorrt", observer="kl", scales="symmetric", transforms=()),
    Recipe(name="ncnn", observer="kl", scales="symmetric", transforms=()),
    Recipe(name="ppq", observer="mse", transforms=()),
    Recipe(
        name="qualcomm",
        observer="mse:least_width=0.01",
        weights="int8:per=tensor",
        transforms=("cle",),
        compensation=("bias_correction",),
    ),
    Recipe(name="horizon", observer="best", transforms=()),
    Recipe(name="cambricon", observer="minmax", scales="symmetric", transforms=()),
    Recipe(name="hisilicon", observer="minmax", weights="log8", transforms=()),
)
