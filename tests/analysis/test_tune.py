# SPDX-License-Identifier: Apache-2.0
"""The search for a recipe: what it measures of layers, that it keeps budgets on real files, and that it can go on."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from graphbuilder import Builder, normal

from edgeq.analysis.search import Option, nondominated, selection_of
from edgeq.analysis.sensitivity import MENU, Layer, find_layers, measure_choice, scopes_of, stored_bytes
from edgeq.analysis.trials import Store, build, prepare, run_choices
from edgeq.analysis.tune import MIXED, OBSERVERS, Budgets, Options, Tuning, _promote, tune
from edgeq.board import load_board
from edgeq.compile.plan import Plan
from edgeq.compile.planner import make_plan
from edgeq.errors import BadInputError, UsageError
from edgeq.format.write import write_model
from edgeq.ir.graph import ABSENT, Graph, Node
from edgeq.ops.base import Activation, Rounding
from edgeq.ops.fully_connected import FullyConnected
from edgeq.pipeline import convert_graph
from edgeq.quantize.recipe import Recipe, Scope
from edgeq.quantize.static import quantize_static

PI = load_board("raspberry-pi-4")
ROWS = normal(160, 24, seed=9)
MENU_USED = ("int8", "int4", "ternary")
QUICK = Options(menu=MENU_USED, samples=32, points=3)


def layers_of_48() -> Graph:
    """Return dense layers 24 -> 48 -> 48 -> 48 -> 48 with weights of -1, 0 or 1 that two bits hold, but for the last:
    there each row has one large weight, at a place of its own, and small ones that matter as much together."""
    build = Builder()
    value = build.input(1, 24)
    for place, (depth, rows) in enumerate(itertools.pairwise((24, 48, 48, 48, 48))):
        weights = np.random.default_rng(place).integers(-1, 2, (rows, depth)) / np.sqrt(depth)
        if place == 3:
            weights = normal(rows, depth, seed=place) / 30
            weights[np.arange(rows), np.random.default_rng(7).integers(0, depth, rows)] = 0.6
        op = FullyConnected(Activation.NONE if place == 3 else Activation.RELU)
        value = build.node(op, value, build.constant(weights.astype(np.float32)), ABSENT)
    return build.graph(value)


GRAPH = layers_of_48()
PLANTED = GRAPH.nodes[3].name


@pytest.fixture(scope="module")
def int8_bytes() -> int:
    converted = convert_graph(GRAPH, recipe=Recipe(), batches=[[ROWS]], board=PI)
    return len(write_model(converted.plan))


@pytest.fixture(scope="module")
def tuned(int8_bytes: int, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tuning, Path]:
    """A search for a file of three quarters of the int8 one's bytes, and its state."""
    path = tmp_path_factory.mktemp("tune") / "state.json"
    return tune(GRAPH, [ROWS], board=PI, budgets=_budgets(int8_bytes), options=QUICK, store=Store(path)), path


def _budgets(int8_bytes: int) -> Budgets:
    return Budgets(flash_bytes=int8_bytes * 3 // 4, drop=0.06)


def test_a_planted_sensitive_layer_keeps_its_bits(tuned: tuple[Tuning, Path]) -> None:
    found, _ = tuned
    noises = {name: {layer: m.noise for layer, m in costs.layers.items()} for name, costs in found.choices.items()}
    assert max(noises["int4"], key=noises["int4"].__getitem__) == PLANTED
    assert noises["int8"][PLANTED] < noises["int4"][PLANTED] < noises["ternary"][PLANTED]
    assert found.chosen is not None
    assert _weights(found.chosen.recipe)[PLANTED] == "int8"
    assert set(_weights(found.chosen.recipe).values()) != {"int8"}


def _weights(recipe: Recipe) -> dict[str, str]:
    """Return the weights' format of each layer."""
    own = {scope.nodes: scope.weights or "" for scope in recipe.scopes}
    return {node.name: own.get(node.name, recipe.weights) for node in GRAPH.nodes}


def test_budgets_hold_for_the_file_that_convert_writes(tuned: tuple[Tuning, Path], int8_bytes: int) -> None:
    chosen = tuned[0].chosen
    assert chosen is not None
    converted = convert_graph(
        GRAPH, recipe=chosen.recipe, batches=[[ROWS[i : i + 32]] for i in range(0, 160, 32)], board=PI
    )
    assert len(write_model(converted.plan)) == chosen.flash_bytes <= int8_bytes * 3 // 4
    assert converted.plan.arena_bytes == chosen.ram_bytes
    assert chosen.drop <= 0.06
    assert chosen.drop == pytest.approx(1 - chosen.score)  # without labels it is the share that has another argmax
    assert chosen.interval[0] <= chosen.drop <= chosen.interval[1]


def test_what_misses_a_budget_is_in_the_trail_with_the_budget(tuned: tuple[Tuning, Path], int8_bytes: int) -> None:
    for built, missed in tuned[0].trail:
        assert ("flash" in missed) == (built.flash_bytes > int8_bytes * 3 // 4)
        assert ("drop" in missed) == (built.drop > 0.06)
    labels = [built.label for built, _ in tuned[0].trail]
    assert labels[:3] == ["int8, ranges by minmax", "int8, rounded by gptq", "mixed 1"]


def test_the_front_holds_models_that_do_not_beat_each_other(tuned: tuple[Tuning, Path]) -> None:
    found, _ = tuned
    points = [(built.flash_bytes, built.ram_bytes, built.ms or 0.0, built.drop) for built in found.best]
    assert len(points) >= 2
    assert nondominated(points) == list(range(len(points)))
    assert [point[0] for point in points] == sorted(point[0] for point in points)


def test_a_search_that_was_interrupted_goes_on(tuned: tuple[Tuning, Path], int8_bytes: int, tmp_path: Path) -> None:
    found, path = tuned
    held = json.loads(path.read_text())
    results = dict(list(held["results"].items())[:3])
    part = tmp_path / "state.json"
    part.write_text(json.dumps({**held, "results": results}))
    store = Store(part)
    again = tune(GRAPH, [ROWS], board=PI, budgets=_budgets(int8_bytes), options=QUICK, store=store)
    assert again == found
    assert json.loads(part.read_text()) == held


def test_a_finished_search_builds_nothing_again(
    tuned: tuple[Tuning, Path], int8_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, path = tuned
    monkeypatch.setattr("edgeq.analysis.trials.build", None)
    monkeypatch.setattr("edgeq.analysis.trials.measure_choice", None)
    options = dataclasses.replace(QUICK, jobs=2)
    assert tune(GRAPH, [ROWS], board=PI, budgets=_budgets(int8_bytes), options=options, store=Store(path)) == found


def test_several_processes_find_the_same() -> None:
    work = prepare(GRAPH, [ROWS], PI, validation=None, few=[ROWS[:4]], most=4)
    names = ("int8", "ternary")
    alone, together = (run_choices(work, MIXED, names, Store(), jobs=jobs) for jobs in (1, 2))
    assert alone == together
    assert tuple(together) == names


def test_the_state_of_other_inputs_is_refused(tuned: tuple[Tuning, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="another model"):
        Store(tuned[1], inputs="others")
    damaged = tmp_path / "state.json"
    damaged.write_text("[]")
    with pytest.raises(BadInputError, match="holds no results"):
        Store(damaged)


def test_the_first_recipe_that_keeps_the_budgets_ends_the_sequence() -> None:
    found = tune(GRAPH, [ROWS], board=PI, budgets=Budgets(drop=0.5), options=Options(points=0))
    assert [built.label for built, _ in found.trail] == ["int8, ranges by minmax"]
    assert found.chosen is found.trail[0][0]
    assert not found.choices


def test_the_observer_with_the_least_noise_serves_what_follows() -> None:
    store = Store()
    options = Options(menu=("int8",), samples=16, points=0)
    found = tune(GRAPH, [ROWS], board=PI, budgets=Budgets(drop=-1.0), options=options, store=store)
    plain, *better, wide, _ = (built.recipe for built, _ in found.trail)
    assert plain.observer == "minmax"
    noises = {key: result["noise"] for key, result in store.results.items() if key.startswith("noise")}
    assert len(noises) == len(OBSERVERS)
    quietest = min(noises, key=noises.__getitem__)
    assert len(better) == 3
    for recipe in better:
        assert f'observer = "{recipe.observer}"' in quietest
    assert wide.activations == "int16"
    assert found.chosen is None
    assert "every model" in found.advice[0] or "--max-drop" in found.advice[0]


def test_what_cannot_be_met_comes_with_what_could(int8_bytes: int) -> None:
    options = Options(menu=("int8",), samples=16, points=0)
    found = tune(GRAPH, [ROWS], board=PI, budgets=Budgets(flash_bytes=int8_bytes // 2), options=options)
    assert found.chosen is None
    least = min(built.flash_bytes for built, _ in found.trail)
    assert found.advice == (f"--max-flash {least} would be met",)
    assert "no choice of formats is predicted to keep the budgets" in found.notes


def test_a_drop_that_is_missed_gives_the_noisiest_layer_something_better() -> None:
    instance = [
        [("int8", Option(0.1, (8.0,))), ("int4", Option(0.3, (4.0,))), ("ternary", Option(0.5, (2.0,)))],
        [("int8", Option(0.4, (8.0,)))],
    ]
    layers = [[option for _, option in options] for options in instance]
    assert _promote(instance, selection_of(layers, [1, 0]))  # the second layer is noisier and has nothing better
    assert [[name for name, _ in options] for options in instance] == [["int8"], ["int8"]]
    assert not _promote(instance, selection_of([[option for _, option in options] for options in instance], [0, 0]))


def test_rounds_go_on_while_the_drop_is_missed_and_a_layer_has_something_better(
    tuned: tuple[Tuning, Path], int8_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state.json"
    state.write_bytes(tuned[1].read_bytes())
    promoted = []
    monkeypatch.setattr("edgeq.analysis.tune._promote", lambda _, picked: not promoted.append(picked))
    budgets = dataclasses.replace(_budgets(int8_bytes), drop=0.0)
    options = dataclasses.replace(QUICK, rounds=3, points=0)
    found = tune(GRAPH, [ROWS], board=PI, budgets=budgets, options=options, store=Store(state))
    assert len(promoted) == 3
    assert found.chosen is None
    assert any(line.startswith("--max-drop ") for line in found.advice)


def test_a_file_that_is_larger_than_predicted_leads_to_a_tighter_search(
    tuned: tuple[Tuning, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tuned[0].chosen
    assert before is not None

    def too_little(plan: Plan, nodes: Sequence[str]) -> int:
        coded = any(planned.step.name == "coded_conv2d" for planned in plan.steps)
        return stored_bytes(plan, nodes) - 400 * coded

    monkeypatch.setattr("edgeq.analysis.sensitivity.stored_bytes", too_little)
    budgets = Budgets(flash_bytes=before.flash_bytes - 1)
    found = tune(GRAPH, [ROWS], board=PI, budgets=budgets, options=dataclasses.replace(QUICK, points=0))
    mixed = [(built, missed) for built, missed in found.trail if built.label.startswith("mixed")]
    assert mixed[0][1] == ("flash",)
    assert mixed[-1][1] == ()
    assert found.chosen is mixed[-1][0]


def test_labels_score_models_against_the_float_one() -> None:
    labels = np.arange(160) % 48
    work = prepare(GRAPH, [ROWS], PI, validation=None, few=[ROWS[:8]], most=100)
    assert (work.metric, len(work.labels)) == ("agreement", 100)
    labelled = dataclasses.replace(work, labels=labels[:100], metric="top1")
    built = build(labelled, "int8", Recipe())
    exact = float(np.mean(work.exact.argmax(axis=1) == labels[:100]))
    assert built.drop == pytest.approx(exact - built.score)


def test_a_time_needs_known_cycles_and_a_choice_its_name() -> None:
    with pytest.raises(UsageError, match="cycles of arm1176jzf-s are not known"):
        tune(GRAPH, [ROWS], board=load_board("raspberry-pi-zero"), budgets=Budgets(ms=1.0))
    with pytest.raises(UsageError, match="there is no choice 'int5'"):
        tune(GRAPH, [ROWS], board=PI, budgets=Budgets(), options=Options(menu=("int5",)))


def test_a_time_budget_leaves_slow_formats_out(int8_bytes: int) -> None:
    plain = tune(GRAPH, [ROWS], board=PI, budgets=Budgets(), options=Options(points=0)).trail[0][0]
    assert plain.ms is not None
    budgets = Budgets(flash_bytes=int8_bytes - 800, ms=plain.ms * 3.3)
    found = tune(GRAPH, [ROWS], board=PI, budgets=budgets, options=dataclasses.replace(QUICK, points=0))
    assert found.chosen is not None
    assert found.chosen.ms is not None
    assert found.chosen.ms <= plain.ms * 3.3
    assert found.chosen.flash_bytes <= int8_bytes - 800
    assert list(_weights(found.chosen.recipe).values()).count("int8") == 3


# ------------------------------------------------------------------------------------------------ layers


def test_nodes_that_share_weights_are_one_layer() -> None:
    build = Builder()
    x = build.input(1, 8)
    shared, own = build.constant(normal(8, 8, seed=1)), build.constant(normal(4, 8, seed=2))
    first = build.node(FullyConnected(), x, shared, ABSENT)
    second = build.node(FullyConnected(), first, shared, ABSENT)
    graph = build.graph(build.node(FullyConnected(), second, own, ABSENT))
    names = [node.name for node in graph.nodes]
    assert find_layers(graph) == [Layer(names[0], (names[0], names[1])), Layer(names[2], (names[2],))]


@pytest.mark.parametrize(
    ("names", "layer", "patterns"),
    [
        (("cell_1/mul", "cell_12/mul", "cell_1/mul_1"), ("cell_1/mul", "cell_12/mul"), ("cell_1*/mul",)),
        (("a1", "a2", "a3"), ("a1", "a3"), ("a1", "a3")),
        (("a[0]", "a0", "b*"), ("a[0]",), ("a[[]0]",)),
        (("a[0]", "a0", "b*"), ("b*",), ("b[*]",)),
    ],
)
def test_scopes_match_a_layer_and_nothing_else(
    names: tuple[str, ...], layer: tuple[str, ...], patterns: tuple[str, ...]
) -> None:
    nodes = tuple(Node(name, GRAPH.nodes[0].op, GRAPH.nodes[0].inputs, ()) for name in names)
    found = scopes_of(GRAPH.replace(nodes=nodes), Layer(layer[0], layer), MENU["int4"])
    assert tuple(scope.nodes for scope in found) == patterns
    assert {scope.weights for scope in found} == {"int:bits=4"}


def test_bytes_of_a_layer_are_what_its_choice_changes_in_the_file() -> None:
    sizes, stored = [], []
    for weights in ("int8", "int:bits=4"):
        recipe = Recipe(transforms=(), observer="minmax", scopes=(Scope(nodes=PLANTED, weights=weights),))
        plan = make_plan(quantize_static(GRAPH, [[ROWS]], recipe), rounding=Rounding.NATIVE, board=PI)
        sizes.append(len(write_model(plan)))
        stored.append(stored_bytes(plan, [PLANTED]))
    assert stored[0] - stored[1] == pytest.approx(sizes[0] - sizes[1], abs=64)  # sections start at multiples of 16
    assert stored[0] > 48 * 48 > stored[1]


def test_a_layer_alone_makes_the_noise_of_its_weights_and_codes() -> None:
    plain = dataclasses.replace(MIXED, transforms=(), compensation=(), observer="minmax")
    costs = {name: measure_choice(GRAPH, [ROWS[:32]], plain, MENU[name], board=PI) for name in ("int8", "int16x8")}
    noises = [[m.noise for m in c.layers.values()] for c in costs.values()]
    assert all(0 < noise < 1e-2 for noise in noises[0])
    assert noises[1][-1] < noises[0][-1]  # int16 codes are what the model gives
    assert noises[1][1] == pytest.approx(noises[0][1], rel=0.5)  # and become int8 again where the next layer reads them
    bare = load_board("raspberry-pi-zero")
    assert all(
        m.cycles is None for m in measure_choice(GRAPH, [ROWS[:8]], plain, MENU["int8"], board=bare).layers.values()
    )
