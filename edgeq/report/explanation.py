# SPDX-License-Identifier: Apache-2.0
"""An explanation of lost accuracy as a table, as JSON and as a page with histograms and pictures."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from typing import Any

import numpy as np
from rich.console import Console

from edgeq.analysis.explain import Counterfactual, Explained, Explanation, Finding, Picture
from edgeq.analysis.layer_errors import Likeness, Spread
from edgeq.report.html import facts_table, page, text
from edgeq.report.table import facts, table

BINS = 96
_WIDTH, _HEIGHT = 420, 110  # pixels of a histogram
_SCALE = 6  # pixels on the page for one of a picture, if it is small
_COLUMNS = ("layer", "operator", "weights dB", "activations dB", "both dB", "accumulated dB", "cosine", "output dB")


def explain_report(explanation: Explanation) -> dict[str, Any]:
    """Return the explanation for scripts; decibels are null where two tensors are equal."""
    return {
        "schema": "edgeq.explain/1",
        "model": explanation.name,
        "samples": explanation.samples,
        "metric": explanation.metric,
        "float": explanation.exact_score,
        "quantized": explanation.score,
        "output_db": explanation.output_db,
        "inputs": [{"name": check.name, "kind": check.kind, "text": check.text} for check in explanation.inputs],
        "layers": [_layer(layer) for layer in explanation.layers],
        "findings": [
            {
                "layer": finding.layer,
                "op": finding.op,
                "cause": finding.cause.kind,
                "measure": finding.cause.measure,
                "text": finding.cause.text,
                "counterfactuals": [_counterfactual(tried) for tried in finding.counterfactuals],
            }
            for finding in explanation.findings
        ],
    }


def _layer(layer: Explained) -> dict[str, Any]:
    error = layer.error
    parts = {"weights": error.weights, "activations": error.activations, "both": error.both}
    return {
        "name": error.name,
        "op": error.op,
        "alone": {name: None if part is None else _likeness(part) for name, part in parts.items()},
        "accumulated": _likeness(error.accumulated),
        "output_db": layer.output_db,
    }


def _likeness(part: Likeness) -> dict[str, float]:
    return {"sqnr_db": part.sqnr_db, "cosine": part.cosine}


def _counterfactual(tried: Counterfactual) -> dict[str, Any]:
    return {
        "remedy": tried.remedy,
        "layer_db": list(tried.layer_db),
        "output_db": list(tried.output_db),
        "score": list(tried.score),
        "recipe": tried.recipe.to_toml(),
    }


# ------------------------------------------------------------------------------------------------ table


def show_explanation(console: Console, explanation: Explanation) -> None:
    """Print what was lost, why and what would bring it back, then every layer, the worst first."""
    facts(console, _summary(explanation))
    for check in explanation.inputs:
        console.print(f"\ninput {check.name}: {check.text}")
    for finding in explanation.findings:
        console.print(f"\n{finding.layer} ({finding.op}): {finding.cause.kind}\n  {finding.cause.text}")
        for tried in finding.counterfactuals:
            console.print(f"  {tried.remedy}: {_gain(tried, explanation.metric)}")
    if not explanation.findings:
        console.print("\nno layer loses enough to look for a reason")
    console.print()
    worst = sorted(explanation.layers, key=lambda layer: layer.error.both.sqnr_db)
    table(console, _COLUMNS, [_cells(layer) for layer in worst])


def _summary(explanation: Explanation) -> list[tuple[str, str]]:
    name = {"top1": "accuracy", "agreement": "agreement with the float model"}[explanation.metric]
    return [
        ("model", explanation.name),
        ("samples", str(explanation.samples)),
        (name, f"{100 * explanation.exact_score:.1f} % in float, {100 * explanation.score:.1f} % quantized"),
        ("output", f"{_db(explanation.output_db)} dB"),
    ]


def _cells(layer: Explained) -> tuple[str, ...]:
    error = layer.error
    return (
        error.name,
        error.op,
        "" if error.weights is None else _db(error.weights.sqnr_db),
        _db(error.activations.sqnr_db),
        _db(error.both.sqnr_db),
        _db(error.accumulated.sqnr_db),
        f"{error.accumulated.cosine:.4f}",
        "" if layer.output_db is None else _db(layer.output_db),
    )


def _gain(tried: Counterfactual, metric: str) -> str:
    (layer, better), (output, reached), (score, after) = tried.layer_db, tried.output_db, tried.score
    name = "accuracy" if metric == "top1" else metric
    return (
        f"layer {_db(layer)} -> {_db(better)} dB; output {_db(output)} -> {_db(reached)} dB; "
        f"{name} {100 * score:.1f} -> {100 * after:.1f}"
    )


def _db(value: float) -> str:
    return "equal" if value == math.inf else "?" if math.isnan(value) else f"{value:.1f}"


# ------------------------------------------------------------------------------------------------ page


def explanation_page(explanation: Explanation) -> str:
    """Return a page that needs nothing from elsewhere: findings with histograms, pictures, and every layer."""
    parts = [facts_table(_summary(explanation))]
    parts += [f"<p>Input <b>{text(check.name)}</b>: {text(check.text)}</p>" for check in explanation.inputs]
    by_name = {layer.error.name: layer for layer in explanation.layers}
    parts += [_finding(finding, by_name[finding.layer], explanation.metric) for finding in explanation.findings]
    parts += [_pictures(picture) for picture in explanation.pictures]
    head = "".join(f"<th>{text(column)}</th>" for column in _COLUMNS)
    worst = sorted(explanation.layers, key=lambda layer: layer.error.both.sqnr_db)
    rows = "\n".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in _cells(layer))}</tr>" for layer in worst)
    parts.append(f"<h2>Layers</h2><table><tr>{head}</tr>\n{rows}</table>")
    return page(f"What {explanation.name} loses", parts)


def _finding(finding: Finding, layer: Explained, metric: str) -> str:
    tried = "".join(
        f"<li><b>{text(one.remedy)}</b>: {text(_gain(one, metric))}"
        f"<details><summary>recipe</summary><pre>{text(one.recipe.to_toml())}</pre></details></li>"
        for one in finding.counterfactuals
    )
    error = layer.error
    pictures = [_histogram("values", error.spread)]
    if error.weights_spread is not None:
        pictures.append(_histogram("weights", error.weights_spread))
    return (
        f"<h2>{text(finding.layer)}: {text(finding.cause.kind)}</h2><p>{text(finding.cause.text)}</p>"
        f"<ul>{tried}</ul><p>{' '.join(pictures)}</p>"
    )


def _histogram(title: str, spread: Spread) -> str:
    """Draw how often values occur, on a logarithmic axis: exact ones filled, quantized ones as a line."""
    low = float(min(spread.exact.min(initial=0), spread.found.min(initial=0)))
    high = float(max(spread.exact.max(initial=0), spread.found.max(initial=0)))
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    heights = [np.log1p(np.histogram(values, edges)[0]) for values in (spread.exact, spread.found)]
    top = max(float(height.max()) for height in heights) or 1.0
    step = _WIDTH / BINS
    filled, drawn = (_HEIGHT * height / top for height in heights)
    boxes = "".join(
        f'<rect x="{i * step:.1f}" y="{_HEIGHT - h:.1f}" width="{step:.1f}" height="{h:.1f}"/>'
        for i, h in enumerate(filled)
    )
    points = " ".join(f"{(i + 0.5) * step:.1f},{_HEIGHT - h:.1f}" for i, h in enumerate(drawn))
    line = f'<polyline points="{points}" fill="none" stroke="#d1832f" stroke-width="1.5"/>'
    caption = f"{title}, float (blue) and quantized (orange), from {low:.4g} to {high:.4g}"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img"><title>{text(caption)}</title>'
        f"{boxes}{line}</svg><br>{text(caption)}<br>"
    )


def _pictures(picture: Picture) -> str:
    low, high = float(picture.exact.min()), float(picture.exact.max())
    images = " ".join(
        f'<img alt="{title}" width="{picture.exact.shape[1] * (_SCALE if picture.exact.shape[1] < 64 else 1)}" '
        f'style="image-rendering:pixelated" src="data:image/png;base64,{_png(values, low, high)}">'
        for title, values in (("as it came", picture.exact), ("as the codes show it", picture.found))
    )
    return f"<h2>Input {text(picture.name)}: as it came, and as the model's codes show it</h2><p>{images}</p>"


def _png(values: np.ndarray, low: float, high: float) -> str:
    """Return an image (h, w, 1 or 3), black at low and white at high, as a PNG in base64."""
    scaled = np.clip((values.astype(np.float64) - low) / (high - low if high > low else 1.0), 0, 1)
    pixels = np.round(255 * scaled).astype(np.uint8)
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(data).decode()
