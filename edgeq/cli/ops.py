# SPDX-License-Identifier: Apache-2.0
"""edgeq ops: the operators that can be converted, by the dtypes of their activations."""

from __future__ import annotations

from edgeq.cli._options import JsonOption, QuietOption


def command(json: JsonOption = None, quiet: QuietOption = False) -> None:
    """List the supported operators and the dtypes each takes."""
    from edgeq.analysis.operators import operator_dtypes
    from edgeq.cli._output import emit
    from edgeq.report import table
    from edgeq.report.json_report import ops_report

    operators = operator_dtypes()
    emit(ops_report(operators), lambda: table.show_ops(table.make_console(), operators), json=json, quiet=quiet)
