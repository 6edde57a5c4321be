# SPDX-License-Identifier: Apache-2.0
"""Say at the end how much was compared with the optional files; in CI they must not be present and unused."""

from __future__ import annotations

import os

import pytest

_compared: dict[str, int] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        for name, value in report.user_properties:
            if name.startswith("shared: "):
                _compared[name] = _compared.get(name, 0) + int(str(value))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not os.environ.get("EDGEQ_SHARED"):
        terminalreporter.write_line("shared: absent")
        return
    total = sum(_compared.values())
    terminalreporter.write_line(f"shared: present, {total} cases")
    if total == 0 and os.environ.get("CI"):
        terminalreporter.write_line("failed: in CI a run with EDGEQ_SHARED must compare some of its cases")
    for name, count in sorted(_compared.items()):
        terminalreporter.write_line(f"  {count:6} {name.removeprefix('shared: ')}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    present = bool(os.environ.get("EDGEQ_SHARED")) and bool(os.environ.get("CI"))
    if present and not hasattr(session.config, "workerinput") and not _compared and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
