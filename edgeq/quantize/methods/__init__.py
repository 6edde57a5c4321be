# SPDX-License-Identifier: Apache-2.0
"""The registry of calibration methods: every module of this folder is read, every Method in it is known by name."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from functools import cache
from typing import Any

from edgeq.errors import InternalError, UsageError
from edgeq.quantize.methods.base import Method


@cache
def methods() -> dict[str, type[Method]]:
    """Return every method class by name, in alphabetical order."""
    found: dict[str, type[Method]] = {}
    for module_info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        for _, member in sorted(inspect.getmembers(module, inspect.isclass)):
            if member.__module__ == module.__name__ and issubclass(member, Method) and hasattr(member, "name"):
                if member.name in found:
                    raise InternalError(f"two calibration methods share the name {member.name!r}")
                found[member.name] = member
    return dict(sorted(found.items()))


def parse(text: str) -> Method:
    """Make a method from ``name``, ``name:value`` or ``name:option=value,...``, as in ``percentile:99.9``.

    Values without a name fill the options in order. Raises UsageError for a name, option or value that does not exist.
    """
    name, _, options = text.partition(":")
    if name not in methods():
        raise UsageError(f"calibration method {name!r} is unknown", hint=f"known: {', '.join(methods())}")
    fields = dataclasses.fields(methods()[name])
    values: dict[str, Any] = {}
    for position, part in enumerate(options.split(",") if options else ()):
        given, equals, value = part.partition("=")
        if not equals:
            given, value = (fields[position].name if position < len(fields) else "", part)
        matching = [field for field in fields if field.name == given.strip()]
        if not matching or matching[0].name in values:
            known = ", ".join(field.name for field in fields) or "none"
            raise UsageError(f"calibration method {text!r}: {part!r} sets no option of its own", hint=f"known: {known}")
        values[matching[0].name] = _convert(text, value.strip(), matching[0].default)
    return methods()[name](**values)


def spell(method: Method) -> str:
    """Return the text from which ``parse`` makes the method again, every option named."""
    values = ((field.name, getattr(method, field.name)) for field in dataclasses.fields(method))
    options = ",".join(f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values)
    return f"{method.name}:{options}" if options else method.name


def _convert(text: str, value: str, default: Any) -> Any:
    """Turn an option's text into the type of its default."""
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[value.lower()]
        return type(default)(value)
    except (KeyError, ValueError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}[type(default)]
        raise UsageError(f"calibration method {text!r}: {value!r} given, {kind} expected") from None
