# SPDX-License-Identifier: Apache-2.0
"""The command line: every module of this folder without a leading underscore is a command of its name."""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeq.errors import EdgeqError, StorageError, UsageError

# typer carries click inside or depends on it, by version; every error of a command line derives from this class of it
_COMMAND_LINE_ERROR: Any = typer.BadParameter.__mro__[2]
_INTERRUPTED = 130


def command_names() -> tuple[str, ...]:
    """List the commands."""
    return tuple(sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_")))


def application() -> typer.Typer:
    """Build the typer application from the modules of this folder."""
    app = typer.Typer(
        name="edgeq",
        help="Trained models to verified integer-only programs on edge devices.",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in command_names():
        command = importlib.import_module(f"{__name__}.{name}").command
        app.command(name, short_help=command.__doc__.strip().splitlines()[0])(command)
    app.callback(invoke_without_command=True)(_start)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing is raised.

    Errors go to standard error as ``error: ...``; a traceback is shown only with EDGEQ_DEBUG=1.
    """
    _prepare_streams()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = _run(sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()
        return code
    except EdgeqError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", _INTERRUPTED)
    except BrokenPipeError:
        _drop_output()
        return StorageError.exit_code
    except OSError as error:
        if error.filename is None:
            _drop_output()
        name = "" if error.filename is None else f" {error.filename!r}"
        return _fail(f"cannot read or write{name}: {error.strerror or error}", StorageError.exit_code)
    except Exception as error:
        detail = str(error).splitlines()[0][:300] if str(error) else "no message"
        return _fail(
            f"edgeq failed in a way it should not: {type(error).__name__}: {detail}; please report it, with the "
            "command and the output it gives under EDGEQ_DEBUG=1",
            EdgeqError.exit_code,
        )


def _prepare_streams() -> None:
    """Let names of files and tensors hold any character, and let a stream that was closed at the start take all."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - open as long as the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _run(arguments: list[str]) -> int:
    command = typer.main.get_command(application())
    try:
        with command.make_context("edgeq", arguments) as context:
            command.invoke(context)
    except typer.Exit as exit_request:
        return int(exit_request.exit_code)
    except _COMMAND_LINE_ERROR as error:
        where = getattr(getattr(error, "ctx", None), "command_path", "edgeq")
        raise UsageError(error.format_message().rstrip("."), hint=f"see {where} --help") from None
    return 0


def _start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False,
) -> None:
    if version:
        from edgeq import __version__

        print(f"edgeq {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        from edgeq.cli._connected import show_connected

        show_connected()
        raise typer.Exit
    from edgeq.cli._config import option_defaults

    context.default_map = option_defaults(context.command)


def _fail(message: str, code: int) -> int:
    """Print an error, with a traceback where that is asked, and return the code."""
    if os.environ.get("EDGEQ_DEBUG") == "1" and sys.exc_info()[0] is not None:
        traceback.print_exc()
    _tell(f"error: {message}")
    return code


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """Print what edgeq warns of; libraries' remarks on arithmetic or deprecation are not for users."""
    if issubclass(category, UserWarning):
        _tell(f"warning: {message}")


def _tell(message: str) -> None:
    """Print to standard error; control characters, which names from files may hold, are spelled out."""
    shown = "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in message)
    with contextlib.suppress(OSError):  # a closed standard error leaves nobody to tell
        print(shown, file=sys.stderr, flush=True)


def _drop_output() -> None:
    """Send what is still buffered for standard output nowhere, so that the interpreter's exit stays quiet."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
