# SPDX-License-Identifier: Apache-2.0
"""edgeq inspect: what a model file holds."""

from __future__ import annotations

from edgeq.cli._options import JsonOption, ModelArgument, QuietOption


def command(model: ModelArgument, json: JsonOption = None, quiet: QuietOption = False) -> None:
    """Show a model's steps, tensors, their placement and sizes."""
    from edgeq.cli._model import open_model
    from edgeq.cli._output import emit
    from edgeq.cli._paths import require_new_files
    from edgeq.report import table
    from edgeq.report.json_report import inspect_report

    require_new_files([json], inputs=[model])
    opened = open_model(model)
    size = len(opened.data)
    emit(
        inspect_report(opened.plan, file_bytes=size),
        lambda: table.show_plan(table.make_console(), opened.plan, file_bytes=size),
        json=json,
        quiet=quiet,
    )
