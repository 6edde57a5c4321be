# SPDX-License-Identifier: Apache-2.0
"""Defaults of options from files: edgeq.toml in the current folder over the user's own file."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from edgeq.errors import BadInputError
from edgeq.paths import read_bytes


def config_paths() -> tuple[Path, ...]:
    """Return the files that are read when they exist; a later one wins."""
    folder = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(folder) / "edgeq" / "config.toml", Path("edgeq.toml")


def option_defaults(group: Any) -> dict[str, dict[str, Any]]:
    """Return, for each command of the click ``group``, the options that the files set.

    A file has one table per command whose keys are its options' long names without dashes in front. Raises
    BadInputError naming the file for one that is not TOML, or sets what is no command, no option or no plain value.
    """
    defaults: dict[str, dict[str, Any]] = {}
    for path in config_paths():
        if path.is_file():
            for command, values in _read(path, group).items():
                defaults.setdefault(command, {}).update(values)
    return defaults


def _read(path: Path, group: Any) -> dict[str, dict[str, Any]]:
    try:
        tables = tomllib.loads(read_bytes(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path} is not TOML: {error}") from None
    found: dict[str, dict[str, Any]] = {}
    for command, table in tables.items():
        if command not in group.commands or not isinstance(table, dict):
            raise BadInputError(
                f"{path}: [{command}] is no table of a command", hint=f"commands are {', '.join(group.commands)}"
            )
        options = _options(group.commands[command])
        unknown = sorted(set(table) - set(options))
        if unknown:
            raise BadInputError(
                f"{path}: [{command}] has unknown keys {', '.join(unknown)}",
                hint=f"known are {', '.join(sorted(options))}",
            )
        wrong = sorted(key for key, value in table.items() if not isinstance(value, (str, int, float)))
        if wrong:
            raise BadInputError(f"{path}: [{command}] {', '.join(wrong)} must be text, a number or true or false")
        found[command] = {options[key]: value for key, value in table.items()}
    return found


def _options(command: Any) -> dict[str, str]:
    """Map an option's long name to the name of its parameter."""
    return {
        option[2:]: parameter.name
        for parameter in command.params
        if parameter.param_type_name == "option"
        for option in parameter.opts
        if option.startswith("--") and parameter.name != "help"
    }
