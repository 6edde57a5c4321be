# SPDX-License-Identifier: Apache-2.0
"""Explaining a loss: planted causes are named, and what is said of a remedy comes true."""

from __future__ import annotations

import dataclasses
import json
import math
import re

import numpy as np
import pytest
from graphbuilder import Builder, normal
from shared_files import shared

from edgeq.analysis.explain import Explanation, Finding, explain
from edgeq.analysis.layer_errors import likeness, measure_layers, run_decided
from edgeq.compile.planner import make_plan
from edgeq.errors import BadInputError
from edgeq.ir.graph import ABSENT, Graph
from edgeq.ops.base import Activation, Rounding
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.logistic import Logistic
from edgeq.ops.mean import Mean
from edgeq.pipeline import read_source
from edgeq.quantize.recipe import Recipe
from edgeq.quantize.static import decide, quantize_static
from edgeq.report.explanation import explain_report, explanation_page, show_explanation
from edgeq.report.json_report import to_text
from edgeq.report.table import make_console
from edgeq.rewrite.simplify import simplify_float

PLAIN = Recipe(observer="minmax", transforms=())


def network(gains: np.ndarray | None = None) -> Graph:
    """Three layers; gains (8,) spread the weights of the depthwise one, and the last layer divides them out."""
    gains = np.ones(8, np.float32) if gains is None else gains
    build = Builder()
    x = build.input(1, 8, 8, 2)
    y = build.node(Conv2d(activation=Activation.RELU), x, build.constant(normal(8, 1, 1, 2)), build.constant(normal(8)))
    weights = build.constant(normal(1, 3, 3, 8, seed=1) * gains)
    y = build.node(DepthwiseConv2d(activation=Activation.RELU), y, weights, ABSENT)
    last = build.constant(normal(5, 1, 1, 8, seed=2) / gains)
    return build.graph(build.node(Mean((1, 2)), build.node(Conv2d(), y, last, ABSENT)))


SAMPLES = normal(64, 8, 8, 2, seed=3)


def kinds(explanation: Explanation) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for finding in explanation.findings:
        found.setdefault(finding.cause.kind, []).append(finding.layer)
    return found


def finding(explanation: Explanation, kind: str) -> Finding:
    return next(one for one in explanation.findings if one.cause.kind == kind)


def test_a_network_that_loses_little_has_nothing_to_explain():
    found = explain(network(), [SAMPLES], Recipe(activations="int16", transforms=(), weights="int8"))
    assert found.output_db > 35
    assert found.inputs == ()
    assert found.score > 0.95
    assert {layer.error.name for layer in found.layers} == {node.name for node in network().nodes}


def test_channels_of_unequal_size_under_one_scale_are_named_with_what_brings_them_back():
    gains = np.float32([1, 1, 1, 1, 1, 1, 1, 60])
    graph = network(gains)
    found = explain(graph, [SAMPLES], Recipe(observer="minmax", transforms=(), weights="int8:per=tensor"))
    one = finding(found, "range disparity")
    assert one.layer == graph.nodes[1].name
    assert 20 < one.cause.measure < 120
    best = one.counterfactuals[0]
    assert best.output_db[1] > best.output_db[0] + 10
    again = explain(graph, [SAMPLES], best.recipe)
    assert again.output_db == pytest.approx(best.output_db[1], abs=0.01)
    assert again.score == best.score[1]


def test_outliers_of_activations_are_named_and_int16_takes_them():
    build = Builder()
    x = build.input(1, 64)
    graph = build.graph(build.node(Logistic(), x))
    data = normal(64, 64, seed=5)
    data[7, 7] = 900
    found = explain(graph, [data], PLAIN)
    assert kinds(found)["fixed scale"] == [graph.nodes[0].name]
    build = Builder()
    x = build.input(1, 4, 4, 8)
    graph = build.graph(build.node(Conv2d(), x, build.constant(np.eye(8).reshape(8, 1, 1, 8)), ABSENT))
    found = explain(graph, [data.reshape(-1, 4, 4, 8)[:128]], PLAIN)
    one = finding(found, "outliers")
    assert one.cause.measure > 100
    assert one.counterfactuals[0].output_db[1] > one.counterfactuals[0].output_db[0] + 20


def test_values_beyond_the_range_are_named_as_saturation():
    graph = network()
    small = make_plan(quantize_static(graph, [[SAMPLES / 3]], PLAIN), rounding=Rounding.NATIVE)
    found = explain(graph, [SAMPLES], PLAIN, plan=small)
    assert "saturation" in kinds(found)
    assert [check.kind for check in found.inputs] == ["wrong range"]
    assert re.search(r"the data lie in .* are clipped; are they scaled as in training", found.inputs[0].text)


@pytest.mark.parametrize(("data", "kind"), [(SAMPLES / 100, "wrong range"), (np.ones_like(SAMPLES), "constant")])
def test_data_that_the_model_does_not_expect_are_named(data, kind):
    graph = network()
    plan = make_plan(quantize_static(graph, [[SAMPLES]], PLAIN), rounding=Rounding.NATIVE)
    assert [check.kind for check in explain(graph, [data], PLAIN, plan=plan).inputs] == [kind]


def test_errors_with_a_mean_are_named_and_bias_correction_takes_it_back():
    build = Builder()
    weights = np.full((4, 1, 1, 16), 0.4, np.float32)  # all but the first round down to nothing
    weights[:, ..., 0] = 1
    graph = build.graph(build.node(Conv2d(), build.input(1, 3, 3, 16), build.constant(weights), ABSENT))
    data = np.abs(normal(64, 3, 3, 16, seed=6))
    found = explain(graph, [data], Recipe(observer="minmax", transforms=(), weights="int:bits=2,clip=minmax"))
    one = finding(found, "mean shift")
    assert one.cause.measure > 0.5
    assert one.counterfactuals[0].remedy == "compensation bias_correction"
    assert one.counterfactuals[0].output_db[1] > one.counterfactuals[0].output_db[0] + 3


def test_low_bit_weights_are_named():
    found = explain(network(), [SAMPLES], Recipe(observer="minmax", transforms=(), weights="ternary"))
    one = finding(found, "low-bit weights")
    assert one.cause.measure == 2
    assert {tried.remedy for tried in one.counterfactuals} == {"int8 weights here", "compensation gptq"}


def test_alone_and_accumulated_are_what_they_say():
    graph = network()
    decisions = decide(graph, [[SAMPLES]], PLAIN)
    errors = measure_layers(decisions, [SAMPLES])
    first, last = errors[0], errors[-1]
    assert first.accumulated == first.both
    assert first.weights.sqnr_db > first.both.sqnr_db
    assert last.weights is None
    assert last.accumulated.sqnr_db < last.both.sqnr_db
    exact, found = run_decided(decisions, [SAMPLES])
    assert likeness([exact], [found]) == last.accumulated


def test_likeness_of_equal_empty_and_opposite_values():
    ones = np.ones(4, np.float32)
    assert likeness([ones], [ones]).sqnr_db == math.inf
    assert likeness([0 * ones], [ones]).sqnr_db == -math.inf
    assert likeness([ones], [-ones]).cosine == -1
    assert likeness([ones], [ones * 0.9]).sqnr_db == pytest.approx(20, abs=1e-4)


def test_a_model_of_another_network_is_refused():
    build = Builder()
    other = build.graph(build.node(Logistic(), build.input(1, 4)))
    other = other.replace(tensors=[dataclasses.replace(one, name=f"own {one.name}") for one in other.tensors])
    plan = make_plan(quantize_static(other, [[normal(8, 4)]], PLAIN), rounding=Rounding.NATIVE)
    with pytest.raises(BadInputError, match="computes no tensor of 'test'"):
        explain(network(), [SAMPLES], PLAIN, plan=plan)


def test_reports_say_the_same_as_table_json_and_page(capsys):
    labels = np.arange(64) % 5
    found = explain(network(), [SAMPLES], Recipe(observer="minmax", transforms=(), weights="ternary"), labels=labels)
    report = json.loads(to_text(explain_report(found)))
    assert report["schema"] == "edgeq.explain/1"
    assert report["metric"] == "top1"
    assert [layer["name"] for layer in report["layers"]] == [layer.error.name for layer in found.layers]
    tried = report["findings"][0]["counterfactuals"][0]
    assert tried["recipe"].startswith("# how edgeq quantized")
    show_explanation(make_console(), found)
    shown = capsys.readouterr().out
    page = explanation_page(found)
    for text in (tried["remedy"], report["findings"][0]["cause"]):
        assert text in shown
        assert text in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<polyline") >= 2


def test_pictures_of_images_are_shown_before_and_after():
    build = Builder()
    x = build.input(1, 6, 5, 3)
    graph = build.graph(build.node(Conv2d(), x, build.constant(normal(4, 1, 1, 3)), ABSENT))
    page = explanation_page(explain(graph, [normal(8, 6, 5, 3)], PLAIN))
    assert page.count('src="data:image/png;base64,iVBOR') == 2


@pytest.mark.slow
def test_a_real_networks_uneven_channels_are_named():
    graph = simplify_float(read_source(shared("models_trained/fashion_mbnet.tflite")))
    with np.load(shared("data/fashion_mnist.npz")) as data:
        samples, labels = data["train_x"][:48, ..., np.newaxis].astype(np.float32) / 255, data["train_y"][:48]
    found = explain(
        graph, [samples], Recipe(observer="minmax", transforms=(), weights="int8:per=tensor"), labels=labels
    )
    disparities = [one for one in found.findings if one.cause.kind == "range disparity"]
    assert max(one.cause.measure for one in disparities) > 20
    everywhere = next(
        tried for one in disparities for tried in one.counterfactuals if tried.remedy == "per-channel weights"
    )
    assert everywhere.output_db[1] > everywhere.output_db[0] + 15
