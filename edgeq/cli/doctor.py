# SPDX-License-Identifier: Apache-2.0
"""edgeq doctor: which compilers, emulators and packages are here, what each is for, and how to get the rest."""

from __future__ import annotations

from edgeq.cli._options import JsonOption, QuietOption


def command(json: JsonOption = None, quiet: QuietOption = False) -> None:
    """Look for toolchains, emulators and Python packages.

    Ends with exit code 6 when the native runtime is missing or unusable; everything else is optional.
    """
    from edgeq.analysis.environment import examine
    from edgeq.cli._output import emit
    from edgeq.errors import ToolchainError
    from edgeq.report import table
    from edgeq.report.json_report import doctor_report

    checks = [dict(vars(check)) for check in examine()]
    emit(doctor_report(checks), lambda: table.show_doctor(table.make_console(), checks), json=json, quiet=quiet)
    missing = [check for check in checks if check["required"] and not check["found"]]
    if missing:
        raise ToolchainError(f"{missing[0]['name']} is missing: {missing[0]['detail']}", hint=missing[0]["hint"])
