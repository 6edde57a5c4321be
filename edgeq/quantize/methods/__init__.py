# SPDX-License-Identifier: Apache-2.0
"""The registry of quantization methods: every module of this folder is read, every method in it is known by name.

Four kinds: Method chooses ranges of activations, WeightFormat the values that weights may take, Compensation codes and
biases, Transform rewrites the float graph.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from functools import cache
from typing import Any, TypeVar

from edgeq.errors import InternalError, UsageError
from edgeq.quantize.methods.base import Method
from edgeq.quantize.methods.compensation import Compensation
from edgeq.quantize.methods.transform import Transform
from edgeq.quantize.methods.weights import WeightFormat

Kind = TypeVar("Kind", bound=Method | WeightFormat | Compensation | Transform)
_TITLES: dict[type, str] = {
    Method: "calibration method",
    WeightFormat: "weight format",
    Compensation: "compensation",
    Transform: "transform",
}


def methods(kind: type[Kind]) -> dict[str, type[Kind]]:
    """Return every class of a kind by name, in alphabetical order."""
    found: dict[str, type[Kind]] = {}
    for member in _classes():
        if issubclass(member, kind):
            if member.name in found:
                raise InternalError(f"two of kind {_TITLES[kind]} share the name {member.name!r}")
            found[member.name] = member
    return dict(sorted(found.items()))


@cache
def _classes() -> tuple[type, ...]:
    """Return every class with a name of its own in the modules of this folder."""
    found: list[type] = []
    for module_info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        members = inspect.getmembers(module, inspect.isclass)
        found += [member for _, member in members if member.__module__ == module.__name__ and hasattr(member, "name")]
    return tuple(found)


def parse(text: str, kind: type[Kind]) -> Kind:
    """Make a method from ``name``, ``name:value`` or ``name:option=value,...``, as in ``percentile:99.9``.

    Values without a name fill the options in order. Raises UsageError for a name, option or value that does not exist.
    """
    name, _, options = text.partition(":")
    title = _TITLES[kind]
    if name not in methods(kind):
        raise UsageError(f"{title} {name!r} is unknown", hint=f"known: {', '.join(methods(kind))}")
    fields = dataclasses.fields(methods(kind)[name])
    values: dict[str, Any] = {}
    for position, part in enumerate(options.split(",") if options else ()):
        given, equals, value = part.partition("=")
        if not equals:
            given, value = (fields[position].name if position < len(fields) else "", part)
        matching = [field for field in fields if field.name == given.strip()]
        if not matching or matching[0].name in values:
            known = ", ".join(field.name for field in fields) or "none"
            raise UsageError(f"{title} {text!r}: {part!r} sets no option of its own", hint=f"known: {known}")
        values[matching[0].name] = _convert(f"{title} {text!r}", value.strip(), matching[0].default)
    made: Kind = methods(kind)[name](**values)
    return made


def spell(method: Method | WeightFormat | Compensation | Transform) -> str:
    """Return the text from which ``parse`` makes the method again, every option named."""
    values = ((field.name, getattr(method, field.name)) for field in dataclasses.fields(method))
    options = ",".join(f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values)
    return f"{method.name}:{options}" if options else method.name


def _convert(what: str, value: str, default: Any) -> Any:
    """Turn an option's text into the type of its default."""
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[value.lower()]
        return type(default)(value)
    except (KeyError, ValueError):
        kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
        raise UsageError(f"{what}: {value!r} given, {kinds[type(default)]} expected") from None
