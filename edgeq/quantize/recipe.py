# SPDX-License-Identifier: Apache-2.0
"""Recipe: how a float model is quantized, as a built-in name or a TOML file that can be edited and used again."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path

from edgeq.errors import BadInputError, UsageError
from edgeq.ops.base import Rounding
from edgeq.paths import read_bytes
from edgeq.quantize.methods import parse
from edgeq.quantize.methods.base import Method

BUILT_IN = ("int8",)


@dataclass(frozen=True)
class Recipe:
    """``int8``: weights per channel, activations per tensor with ranges from ``observer``.

    ``observer`` is a method of quantize/methods with options after a colon, such as ``percentile:99.99``.
    ``rounding`` names whose integers are computed; None leaves the choice to the kind of source model.
    """

    name: str = "int8"
    observer: str = "mse"
    rounding: str | None = None

    def to_toml(self) -> str:
        """Return the recipe as a file that ``parse_recipe`` reads."""
        lines = ["# how edgeq quantized the model beside this file; pass it to --recipe to repeat or change the run"]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                lines.append(f'{field.name} = "{value}"')
        return "\n".join(lines) + "\n"


def parse_recipe(text: str) -> Recipe:
    """Return a recipe from a built-in name or the path of a .toml file.

    Raises UsageError for an unknown name, BadInputError for a file with unknown keys or values of another type.
    """
    if not text.endswith(".toml"):
        if text not in BUILT_IN:
            raise UsageError(
                f"there is no recipe {text!r}", hint=f"built in are {', '.join(BUILT_IN)}, or name a .toml file"
            )
        return Recipe(name=text)
    try:
        values = tomllib.loads(read_bytes(Path(text)).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInputError(f"recipe {text!r} is not TOML: {error}") from None
    known = {field.name for field in dataclasses.fields(Recipe)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise BadInputError(
            f"recipe {text!r} has unknown keys {', '.join(unknown)}", hint=f"known are {', '.join(sorted(known))}"
        )
    wrong = sorted(key for key, value in values.items() if not isinstance(value, str))
    if wrong:
        raise BadInputError(f"recipe {text!r}: {', '.join(wrong)} must be text in quotes")
    recipe = Recipe(**values)
    if recipe.name not in BUILT_IN:
        raise BadInputError(
            f"recipe {text!r}: there is no method {recipe.name!r}", hint=f"known are {', '.join(BUILT_IN)}"
        )
    try:
        parse(recipe.observer, Method)
    except UsageError as error:
        raise BadInputError(f"recipe {text!r}: {error}") from None
    if recipe.rounding is not None and recipe.rounding not in {rounding.value for rounding in Rounding}:
        raise BadInputError(f"recipe {text!r}: rounding must be native, tflite or tflm, not {recipe.rounding!r}")
    return recipe
