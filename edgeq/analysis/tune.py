# SPDX-License-Identifier: Apache-2.0
"""Find the recipe for a board's budgets: a sequence of recipes first, then a choice for each layer.

The sequence is that of AIMET's AutoQuant; the choice a multiple-choice knapsack over the noise of each layer alone, as
in HAWQ-V3 (Yao et al., arXiv 2011.10680). Every recipe that counts is built and measured whole.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeq.analysis.predict import cost_table
from edgeq.analysis.search import (
    Option,
    Selection,
    choose_exact,
    choose_greedy,
    front,
    nondominated,
)
from edgeq.analysis.sensitivity import MENU, ChoiceCosts, find_layers, scopes_of
from edgeq.analysis.trials import (
    Built,
    Data,
    Failed,
    Store,
    Work,
    open_data,
    prepare,
    run_builds,
    run_choices,
    run_noises,
)
from edgeq.board import Board
from edgeq.errors import UsageError
from edgeq.ir.graph import Graph
from edgeq.quantize.recipe import Recipe
from edgeq.quantize.repeats import find_repeats
from edgeq.rewrite.simplify import simplify_float

# Recipes of one width, from the plainest on; those of int8 differ in accuracy alone.
SEQUENCE: tuple[tuple[str, Recipe], ...] = (
    ("int8, ranges by minmax", Recipe(observer="minmax", transforms=())),
    ("int8, better ranges", Recipe(transforms=())),
    ("int8, equalized, biases corrected", Recipe(compensation=("bias_correction",))),
    ("int8, rounded by gptq", Recipe(compensation=("gptq", "bias_correction"))),
    ("int16 activations", Recipe(activations="int16", observer="minmax", transforms=())),
)
MIXED = Recipe(name="tuned", compensation=("gptq", "bias_correction"))
MOST_ROWS = 4096  # samples on which models are scored
OBSERVERS = ("mse", "minmax", "percentile:99.99", "kl")  # that compete where int8 loses too much
POOL = 1024  # first samples of the data, from which those for the layers are drawn


@dataclass(frozen=True)
class Budgets:
    """What a model may take, None for no limit; ``drop`` is in the metric's own units."""

    flash_bytes: int | None = None
    ram_bytes: int | None = None
    ms: float | None = None
    drop: float | None = None


@dataclass(frozen=True)
class Options:
    """How thorough the search is: ``samples`` measure a layer, ``rounds`` of mixed recipes are built for the budgets,
    and ``points`` more of the predicted front."""

    menu: tuple[str, ...] = tuple(MENU)
    samples: int = 64
    rounds: int = 6
    points: int = 4
    jobs: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Tuning:
    """What was found. ``trail`` are the recipes in the order of their trial, with what each missed of the budgets;
    ``chosen`` is the first that met them, ``best`` all that no other beats in flash, RAM, time and drop at once.

    ``exact_score`` is the float model's. ``choices`` are the costs of each choice of the menu for every layer, empty
    where the sequence was enough. ``advice`` says what to relax where nothing met the budgets.
    """

    name: str
    board: str
    metric: str
    is_fraction: bool
    samples: int
    exact_score: float
    budgets: Budgets
    trail: tuple[tuple[Built, tuple[str, ...]], ...]
    chosen: Built | None
    best: tuple[Built, ...]
    choices: Mapping[str, ChoiceCosts] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()


def tune(
    graph: Graph,
    data: Data,
    *,
    board: Board,
    budgets: Budgets,
    validation: Data | None = None,
    options: Options | None = None,
    store: Store | None = None,
    progress: Callable[[str], None] | None = None,
) -> Tuning:
    """Find a recipe for a float graph that keeps the budgets on a board.

    ``data`` calibrate, and ``validation`` scores, the data themselves if it is not given; up to 4096 samples. Without
    labels the score is the share of samples with the float model's argmax. The same arguments give the same result.
    ``progress`` is called with what is done next. Raises UsageError for a time budget on a core whose costs are not
    known, BadInputError for data without samples, and what reading them raises.
    """
    options = options or Options()
    unknown = sorted(set(options.menu) - set(MENU))
    if unknown:
        raise UsageError(f"there is no choice {unknown[0]!r}", hint=f"choices are {', '.join(MENU)}")
    if budgets.ms is not None and (cost_table(board.cpu) is None or board.clock_hz is None):
        raise UsageError(f"the cycles of {board.cpu} are not known, so no time can be predicted for {board.name}")
    work = prepare(graph, data, board, validation=validation, few=_few(graph, data, options), most=MOST_ROWS)
    tell = progress or (lambda text: None)
    return _Search(work, budgets, options, Store() if store is None else store, tell).run()


def _few(graph: Graph, data: Data, options: Options) -> list[np.ndarray]:
    """Draw the samples on which layers are measured."""
    arrays, _ = open_data(data, graph).first(POOL)
    rng = np.random.default_rng(options.seed)
    taken = np.sort(rng.choice(len(arrays[0]), min(options.samples, len(arrays[0])), replace=False))
    return [array[taken] for array in arrays]


class _Search:
    """The state of one search."""

    def __init__(
        self, work: Work, budgets: Budgets, options: Options, store: Store, tell: Callable[[str], None]
    ) -> None:
        self.work, self.budgets, self.options, self.store, self.tell = work, budgets, options, store, tell
        self.graph = simplify_float(work.graph)
        self.layers = find_layers(self.graph)
        self.trail: list[tuple[Built, tuple[str, ...]]] = []
        # shared states save flash, and cost a little accuracy; they are no question where no cell is unrolled
        recurrent = find_repeats(self.graph, states=True) != find_repeats(self.graph)
        self.mixed = dataclasses.replace(MIXED, share_states=recurrent)
        self.choices: dict[str, ChoiceCosts] = {}
        self.noises: dict[str, float] = {}
        self.notes: list[str] = []

    def run(self) -> Tuning:
        chosen = self.try_sequence() or self.try_mixed()
        if self.options.points:
            self.build_front()
        metric = self.work.scorer()
        built = [found for found, _ in self.trail]
        kept = nondominated([(b.flash_bytes, b.ram_bytes, b.ms or 0.0, b.drop) for b in built])
        labels = self.work.labels
        return Tuning(
            name=self.work.graph.name,
            board=self.work.board.name,
            metric=self.work.metric,
            is_fraction=metric.is_fraction,
            samples=len(labels),
            exact_score=metric.estimate(metric.keep(self.work.exact, labels)).value,
            budgets=self.budgets,
            trail=tuple(self.trail),
            chosen=chosen,
            best=tuple(sorted((built[place] for place in kept), key=lambda found: found.flash_bytes)),
            choices=self.choices,
            notes=tuple(self.notes),
            advice=() if chosen is not None else tuple(self.advice(built)),
        )

    # ------------------------------------------------------------------------------------ recipes of one width

    def try_sequence(self) -> Built | None:
        """Return the first of the sequence that keeps the budgets, None if there is none."""
        int8: Built | None = None
        for label, recipe in SEQUENCE:
            wide = recipe.activations != "int8"
            if int8 is not None and not wide and self.missed(int8, drop=False):
                continue  # the recipes of int8 take the same memory and time
            if int8 is not None and wide and self.missed(int8, drop=False):
                break  # and int16 takes more
            if int8 is not None and not wide:
                recipe = dataclasses.replace(recipe, observer=self.best_observer())
            built = self.build(label, recipe)
            if built is not None and not self.missed(built):
                return built
            int8 = int8 or built
        return None

    def best_observer(self) -> str:
        """Return the observer whose ranges make the least noise at the output, and keep it for mixed recipes."""
        if not self.noises:
            self.tell("comparing observers")
            recipes = {name: dataclasses.replace(SEQUENCE[1][1], observer=name) for name in OBSERVERS}
            self.noises = run_noises(self.work, recipes, self.store, jobs=self.options.jobs)
            self.mixed = dataclasses.replace(self.mixed, observer=min(self.noises, key=self.noises.__getitem__))
        return self.mixed.observer

    def build(self, label: str, recipe: Recipe) -> Built | None:
        """Build a recipe and add it to the trail; a recipe that cannot be is noted and gives None."""
        self.tell(label)
        return self.enter(label, run_builds(self.work, [(label, recipe)], self.store)[0])

    def enter(self, label: str, found: Built | Failed) -> Built | None:
        if isinstance(found, Failed):
            self.notes.append(f"{label}: {found.reason}")
            return None
        found = dataclasses.replace(found, label=label)
        if any(found.recipe == before.recipe for before, _ in self.trail):
            return found
        self.trail.append((found, tuple(self.missed(found))))
        return found

    def missed(self, built: Built, *, drop: bool = True) -> list[str]:
        """List the budgets that a model does not keep."""
        budgets = self.budgets
        pairs = [
            ("flash", built.flash_bytes, budgets.flash_bytes),
            ("RAM", built.ram_bytes, budgets.ram_bytes),
            ("ms", built.ms, budgets.ms),
            *([("drop", built.drop, budgets.drop)] if drop else []),
        ]
        return [name for name, value, limit in pairs if value is not None and limit is not None and value > limit]

    # ------------------------------------------------------------------------------------ a choice for each layer

    def build_base(self) -> Built | None:
        """Build the int8 model that mixed recipes start from."""
        label = "int8, states share ranges" if self.mixed.share_states else SEQUENCE[3][0]
        return self.build(label, dataclasses.replace(self.mixed, name="int8"))

    def measure(self) -> bool:
        """Measure every choice of the menu, once; say whether there is anything to choose from."""
        if not self.choices:
            self.tell("measuring the layers")
            names = [name for name in MENU if name in {*self.options.menu, "int8"}]
            self.choices = run_choices(self.work, self.mixed, names, self.store, jobs=self.options.jobs)
            self.notes += [f"{name} is no choice for this model" for name in names if name not in self.choices]
        return bool(self.layers) and "int8" in self.choices and any(name in self.choices for name in self.options.menu)

    def instance(self) -> list[list[tuple[str, Option]]]:
        """Return the options of each layer, by name, with their noise, bytes and cycles."""
        found = []
        for layer in self.layers:
            measured = [
                (name, costs.layers[layer.name]) for name, costs in self.choices.items() if name in self.options.menu
            ]
            found.append([(name, Option(m.noise, (float(m.bytes), m.cycles or 0.0))) for name, m in measured])
        return found

    def try_mixed(self) -> Built | None:
        """Return the first mixed recipe that keeps the budgets, None if there is none within the rounds.

        The first has the least noise that the budgets allow. One that takes more than was predicted leads to a tighter
        search; one that loses too much to a search in which the noisiest layer gets something better.
        """
        base = self.build_base()
        if base is None or not self.missed(base):
            return base
        if self.budgets.ram_bytes is not None and base.ram_bytes > self.budgets.ram_bytes:
            self.notes.append("weights of other formats need no less RAM, no mixed recipe was tried")
            return None
        if not self.measure():
            return None
        instance, limits = self.instance(), self.limits(base)
        for round_number in range(self.options.rounds):
            picked = _search([[option for _, option in options] for options in instance], limits)
            if picked is None:
                self.notes.append("no choice of formats is predicted to keep the budgets")
                return None
            names = [options[pick][0] for options, pick in zip(instance, picked.picks, strict=True)]
            built = self.build(f"mixed {round_number + 1}", self.recipe(names))
            if built is None:
                return None
            missed = self.missed(built)
            if not missed:
                return built
            if "flash" in missed or "ms" in missed:
                limits = self.tightened(limits, built, picked, base)
            elif not _promote(instance, picked):
                return None
        return None

    def limits(self, base: Built) -> tuple[float, float]:
        """Return the bytes and cycles that the layers may take: the budgets less what is not theirs."""
        own = [self.choices["int8"].layers[layer.name] for layer in self.layers]
        flash, time, clock = self.budgets.flash_bytes, self.budgets.ms, self.work.board.clock_hz
        room = math.inf if flash is None else flash - (base.flash_bytes - sum(m.bytes for m in own))
        if time is None or clock is None or base.ms is None:
            return room, math.inf
        return room, (time - base.ms) * clock / 1000 + sum(m.cycles or 0.0 for m in own)

    def tightened(
        self, limits: tuple[float, float], built: Built, picked: Selection, base: Built
    ) -> tuple[float, float]:
        """Return the limits less what a model takes over the prediction."""
        flash, time = limits
        if self.budgets.flash_bytes is not None and built.flash_bytes > self.budgets.flash_bytes:
            flash = min(flash, picked.costs[0]) - (built.flash_bytes - self.budgets.flash_bytes)
        if self.budgets.ms is not None and built.ms is not None and built.ms > self.budgets.ms:
            clock = self.work.board.clock_hz or 0
            time = min(time, picked.costs[1]) - (built.ms - self.budgets.ms) * clock / 1000
        return flash, time

    def recipe(self, names: Sequence[str]) -> Recipe:
        """Return the recipe with a choice for each layer; the commonest weights need no scopes."""
        common = Counter(MENU[name].weights for name in names).most_common(1)[0][0]
        assert common is not None
        scopes = [
            scope
            for layer, name in zip(self.layers, names, strict=True)
            if MENU[name].weights != common or MENU[name].activations is not None
            for scope in scopes_of(self.graph, layer, MENU[name])
        ]
        return dataclasses.replace(self.mixed, weights=common, scopes=tuple(scopes))

    def build_front(self) -> None:
        """Build some recipes of the predicted front of flash and noise, evenly from the least noise to the most."""
        if self.build_base() is None or not self.measure():
            return
        instance = self.instance()
        found = front([[option for _, option in options] for options in instance])
        places = np.unique(np.linspace(0, len(found) - 1, self.options.points).astype(int))
        wanted: list[tuple[str, Recipe]] = []
        for place in places:
            picks = found[place].picks
            recipe = self.recipe([options[pick][0] for options, pick in zip(instance, picks, strict=True)])
            wanted.append((f"front {len(wanted) + 1}", recipe))
        self.tell("building the front")
        results = run_builds(self.work, wanted, self.store, jobs=self.options.jobs)
        for (label, _), result in zip(wanted, results, strict=True):
            self.enter(label, result)

    # ------------------------------------------------------------------------------------ advice

    def advice(self, built: Sequence[Built]) -> list[str]:
        """Return for each budget what it would have to be for a model that was built to keep all budgets."""
        found = []
        budgets = self.budgets
        for name, key, attribute in (
            ("--max-flash", "flash", "flash_bytes"),
            ("--max-ram", "RAM", "ram_bytes"),
            ("--max-ms", "ms", "ms"),
            ("--max-drop", "drop", "drop"),
        ):
            fitting = [getattr(model, attribute) for model in built if set(self.missed(model)) == {key}]
            if fitting:
                found.append(f"{name} {_spelled(min(fitting), key)} would be met")
        if budgets.ram_bytes is not None and any(model.ram_bytes > budgets.ram_bytes for model in built):
            found.append("edgeq convert --fit may need less RAM, at the cost of time")
        if not found:
            found.append("several budgets are missed at once by every model that was built; relax more than one")
        return found


def _spelled(value: float, key: str) -> str:
    """Write a bound as the command line takes it, rounded up."""
    if key in ("flash", "RAM"):
        return str(int(value))
    return f"{math.ceil(value * 1e4) / 1e4:g}"


def _search(layers: Sequence[Sequence[Option]], limits: tuple[float, float]) -> Selection | None:
    """Return the least noise within limits of bytes and cycles; exact where only one of them limits."""
    for cost in range(2):
        if math.isinf(limits[1 - cost]):
            return choose_exact(layers, limits[cost], cost=cost)
    return choose_greedy(layers, limits)


def _promote(instance: list[list[tuple[str, Option]]], picked: Selection) -> bool:
    """Take from the noisiest layer all options that are no better than what it got; False if no layer has better."""
    taken = [options[pick][1].noise for options, pick in zip(instance, picked.picks, strict=True)]
    for place in sorted(range(len(taken)), key=lambda place: -taken[place]):
        better = [(name, option) for name, option in instance[place] if option.noise < taken[place]]
        if better:
            instance[place] = better
            return True
    return False
