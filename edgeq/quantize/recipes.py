# SPDX-License-Identifier: Apache-2.0
"""The recipes that have a name, and how to name one: by it, or by the path of a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path

from edgeq.errors import BadInputError, UsageError
from edgeq.paths import read_bytes
from edgeq.quantize.presets import PRESETS
from edgeq.quantize.recipe import Recipe, Scope, read_recipe

# depthwise layers hold few weights, and have few products in which errors could average out
_DEPTHWISE = (Scope(operator="depthwise_conv2d", weights="int8", optional=True),)
_LOW_BIT = {
    "w4": "int:bits=4,signed_max=true",
    "w4-group": "int:bits=4,group=64,signed_max=true",
    "log4": "pot:bits=4",
    "apot4": "apot:bits=4",
    "ternary": "ternary",
    "codebook4": "codebook:bits=4",
    "nf4": "nf4:clip=mse",
    "fp4": "fp4:clip=mse",
    "fp8": "fp8:clip=mse",
}


_MEANS = ("bias_correction",)


def _low_bit(name: str, weights: str) -> Recipe:
    return Recipe(name=name, weights=weights, compensation=("gptq", *_MEANS), scopes=_DEPTHWISE)


def _at_run_time(name: str, scales: str) -> Recipe:
    return Recipe(name=name, activations="int16", observer="minmax", compensation=_MEANS, run_time_scales=scales)


BUILT_IN: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="int8", compensation=_MEANS),
        Recipe(name="int8-pot", scales="pot", compensation=_MEANS),
        Recipe(name="int16x8", activations="int16", observer="minmax", transforms=(), compensation=_MEANS),
        Recipe(name="datafree", ranges="synthetic", observer="minmax", transforms=(), compensation=_MEANS),
        _at_run_time("dynamic", "tensor"),
        _at_run_time("dynamic-token", "token"),
        *(_low_bit(name, weights) for name, weights in _LOW_BIT.items()),
        *PRESETS,
    )
}


def parse_recipe(text: str) -> Recipe:
    """Return a recipe from a built-in name or the path of a .toml file.

    A file starts from the built-in recipe that its ``name`` names, or else from int8. Raises UsageError for an unknown
    name, BadInputError for a file with unknown keys or values that cannot be meant.
    """
    if not text.endswith(".toml"):
        if text not in BUILT_IN:
            raise UsageError(
                f"there is no recipe {text!r}", hint=f"built in are {', '.join(BUILT_IN)}, or name a .toml file"
            )
        return BUILT_IN[text]
    try:
        values = tomllib.loads(read_bytes(Path(text)).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInputError(f"recipe {text!r} is not TOML: {error}") from None
    try:
        return read_recipe(values, BUILT_IN.get(str(values.get("name")), BUILT_IN["int8"]))
    except UsageError as error:
        raise BadInputError(f"recipe {text!r}: {error}") from None
