# SPDX-License-Identifier: Apache-2.0
"""What users call: convert, load, connect, and Model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import overload

import numpy as np

from edgeq.analysis.accuracy import Accuracy, Subject
from edgeq.analysis.accuracy import evaluate as measure
from edgeq.analysis.fit import require_fit
from edgeq.analysis.samples import Runner, leading_size, one_by_one
from edgeq.board import Board, load_board
from edgeq.compile.plan import Plan, PlanPort
from edgeq.device.device import Device
from edgeq.device.device import connect as connect_device
from edgeq.emit.tflite import write_tflite
from edgeq.errors import BadInputError, InvalidValueError, UsageError
from edgeq.format.read import is_model
from edgeq.format.write import write_model
from edgeq.ir.boundary import dequantize, quantize_real
from edgeq.ir.graph import Graph
from edgeq.ir.result import Profile, RunResult
from edgeq.ops.execute import run_float
from edgeq.paths import read_bytes, write_bytes
from edgeq.pipeline import convert_graph, is_quantized, read_plan, read_source
from edgeq.quantize.data import InputSpec, input_specs, load_data, of_arrays
from edgeq.quantize.labels import load_labels, with_labels
from edgeq.quantize.recipe import Recipe
from edgeq.quantize.recipes import parse_recipe
from edgeq.rewrite.batch import evaluation_batch
from edgeq.runtime.native import Arena, NativeRunner, check_threads
from edgeq.runtime.reference import reference_tensors, run_reference

Arrays = Sequence[np.ndarray] | Mapping[str, np.ndarray]
ENGINES = ("native", "reference")


class Model:
    """A converted model: an integer program that runs here, or on a board through ``connect``."""

    def __init__(self, plan: Plan, data: bytes, *, recipe: Recipe | None = None, graph: Graph | None = None) -> None:
        """Wrap a plan and its file; use ``convert`` or ``load`` instead."""
        self.plan = plan
        self.data = data
        self.recipe = recipe
        self._graph = graph
        self._threads = 1
        self._arena: Arena | None = None

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def inputs(self) -> tuple[PlanPort, ...]:
        """The model's inputs: name, shape and the dtype that the source model declares."""
        return self.plan.inputs

    @property
    def outputs(self) -> tuple[PlanPort, ...]:
        return self.plan.outputs

    @cached_property
    def native(self) -> NativeRunner:
        """The C runtime with this model open."""
        return NativeRunner(self.plan, self.data, threads=self._threads, arena=self._arena)

    @property
    def threads(self) -> int:
        """How many threads may share an inference here, 1 to 4; the integers are the same for any number.

        Models converted for a board with several cores, or for "host", have steps to share.
        """
        return self._threads

    @threads.setter
    def threads(self, count: int) -> None:
        if check_threads(count) != self._threads:
            self._threads = count
            self.__dict__.pop("native", None)

    @property
    def arena(self) -> Arena | None:
        """The memory that the native engine works in when it is shared with other models; None: the model's own.

        Models with the same arena must not run at the same time. Raises UsageError when it is set to one that is too
        small.
        """
        return self._arena

    @arena.setter
    def arena(self, arena: Arena | None) -> None:
        if arena is not None:
            arena.check(self.plan)
        self._arena = arena
        self.__dict__.pop("native", None)

    def save(self, path: str | Path) -> None:
        """Write the .eqm file, whole or not at all. Raises StorageError naming the path."""
        write_bytes(Path(path), self.data)

    def tflite(self) -> bytes:
        """Return the quantized model as a .tflite file, which LiteRT runs to the same integers.

        Its inputs and outputs are the program's own codes, also where the source declares float32. Raises UsageError
        for a model that was loaded, or converted with another rounding than tflite, and UnsupportedError for what the
        format cannot say.
        """
        if self._graph is None:
            raise UsageError(
                f"{self.name!r} was loaded from a model file, which keeps no scales of operators",
                hint="convert it from its source model",
            )
        if self.plan.rounding != "tflite":
            raise UsageError(
                f"{self.name!r} has {self.plan.rounding} rounding, a .tflite that of LiteRT",
                hint="convert it with tflite rounding",
            )
        return write_tflite(self._graph)

    @overload
    def run(self, inputs: Sequence[np.ndarray], *, engine: str = "native") -> list[np.ndarray]: ...
    @overload
    def run(self, inputs: Mapping[str, np.ndarray], *, engine: str = "native") -> dict[str, np.ndarray]: ...
    def run(self, inputs: Arrays, *, engine: str = "native") -> list[np.ndarray] | dict[str, np.ndarray]:
        """Run one inference on arrays in the dtypes and shapes that the source model declares.

        A list gives a list in the model's order, a dict of input names a dict of output names. A float input also takes
        integers, which mean real values; an integer one also floats, which are quantized with its own scale.
        ``engine`` is "native" (C) or "reference" (the NumPy twin, the same integers).

        Raises BadInputError for arrays of another shape or dtype, InvalidValueError for NaN or infinity.
        """
        outputs = self.decode(self.run_codes(self.encode(inputs), engine=engine).outputs)
        if isinstance(inputs, Mapping):
            return {port.name: array for port, array in zip(self.outputs, outputs, strict=True)}
        return outputs

    def run_codes(self, codes: Sequence[np.ndarray], *, engine: str = "native", crcs: bool = False) -> RunResult:
        """Run one inference on the integers that the program itself works with, as ``encode`` makes them."""
        if engine == "native":
            return self.native.run(codes, crcs=crcs)
        if engine == "reference":
            return run_reference(self.plan, codes, crcs=crcs)
        raise UsageError(f"there is no engine {engine!r}", hint=f"engines are {', '.join(ENGINES)}")

    def tensors(self, inputs: Arrays, *, engine: str = "native") -> dict[str, np.ndarray]:
        """Run one inference and return the codes of every tensor by its name in the source model.

        Raises UsageError when the native engine is asked and the model was not converted with ``keep_tensors``.
        """
        codes = self.encode(inputs)
        if engine == "reference":
            return reference_tensors(self.plan, codes)
        if not self.plan.keeps_tensors:
            raise UsageError(f"{self.name!r} shares memory between tensors", hint="convert it with keep_tensors")
        return self.native.tensors(codes)

    def encode(self, inputs: Arrays) -> list[np.ndarray]:
        """Turn arrays as users pass them into the integer codes of the program's inputs."""
        return [self._encode_one(port, array) for port, array in zip(self.inputs, self._ordered(inputs), strict=True)]

    def decode(self, codes: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Turn the program's output codes into arrays of the dtypes that the source model declares."""
        return [self._decode_one(port, array) for port, array in zip(self.outputs, codes, strict=True)]

    def reals(self, codes: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Turn the program's output codes into real numbers, also those that the source model declares as integers.

        Integers without a scale, such as indices, stay as they are.
        """
        quants = [self.plan.values[port.value].quant for port in self.outputs]
        return [
            array if quant is None else dequantize(array, quant) for array, quant in zip(codes, quants, strict=True)
        ]

    def _ordered(self, inputs: Arrays) -> list[np.ndarray]:
        names = [port.name for port in self.inputs]
        if isinstance(inputs, np.ndarray):
            raise BadInputError("inputs must be a list or dict of arrays, one array found", hint="pass [x]")
        if isinstance(inputs, Mapping):
            if set(inputs) != set(names):
                raise BadInputError(f"inputs {sorted(inputs)} given, the model has {sorted(names)}")
            return [np.asarray(inputs[name]) for name in names]
        if len(inputs) != len(names):
            raise BadInputError(f"{len(inputs)} inputs given, the model has {len(names)}: {', '.join(names)}")
        return [np.asarray(array) for array in inputs]

    def _encode_one(self, port: PlanPort, array: np.ndarray) -> np.ndarray:
        value = self.plan.values[port.value]
        if array.shape != port.shape:
            raise BadInputError(
                f"input {port.name!r} has shape {list(array.shape)}, the model takes {list(port.shape)}"
            )
        if array.dtype == value.dtype.numpy == port.dtype.numpy:
            return np.ascontiguousarray(array)
        if value.quant is None or array.dtype.kind not in ("fiu" if port.dtype.is_float else "f"):
            raise BadInputError(f"input {port.name!r} is {array.dtype}, the model takes {port.dtype.numpy.name}")
        try:
            return quantize_real(array.astype(np.float32), value.quant, value.dtype)
        except InvalidValueError as error:
            raise InvalidValueError(f"input {port.name!r}: {error}") from None

    def _decode_one(self, port: PlanPort, codes: np.ndarray) -> np.ndarray:
        value = self.plan.values[port.value]
        if port.dtype.is_float and value.quant is not None:
            return dequantize(codes, value.quant)
        return codes


class Session:
    """A device with a model on it; made by ``connect``."""

    def __init__(self, device: Device, *, built_for: Board | None = None) -> None:
        """Wrap an open device; ``built_for`` is the board that firmware is built for when a model is loaded."""
        self._device = device
        self._built_for = built_for
        self._model: Model | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._device.close()

    def load(self, model: Model) -> None:
        """Put a model on the device. Raises DoesNotFitError before anything is built that would not fit."""
        if self._built_for is not None:
            require_fit(model.plan, model.data, self._built_for)
        self._device.load(model.plan, model.data)
        self._model = model

    @property
    def model(self) -> Model:
        """The loaded model; raises UsageError when there is none."""
        if self._model is None:
            raise UsageError("no model is loaded on the device", hint="call load(model) first")
        return self._model

    @overload
    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]: ...
    @overload
    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]: ...
    def run(self, inputs: Arrays) -> list[np.ndarray] | dict[str, np.ndarray]:
        """Run one inference on the device; arguments and result as in ``Model.run``."""
        outputs = self.model.decode(self._device.run(self.model.encode(inputs)).outputs)
        if isinstance(inputs, Mapping):
            return {port.name: array for port, array in zip(self.model.outputs, outputs, strict=True)}
        return outputs

    def run_codes(self, codes: Sequence[np.ndarray], *, crcs: bool = False) -> RunResult:
        """Run one inference on the program's own integers."""
        return self._device.run(codes, crcs=crcs)

    def run_many(self, samples: Sequence[Sequence[np.ndarray]], *, crcs: bool = False) -> list[RunResult]:
        """Run one inference on the program's own integers for each sample, with as few exchanges as fit."""
        return self._device.run_many(samples, crcs=crcs)

    def profile(self, inputs: Arrays | None = None, *, inferences: int = 20) -> Profile:
        """Measure where the work goes, per layer; zeros are fed when no inputs are given."""
        model = self.model
        zeros = [np.zeros(port.shape, model.plan.values[port.value].dtype.numpy) for port in model.inputs]
        codes = zeros if inputs is None else model.encode(inputs)
        return self._device.profile(codes, inferences=inferences)


def convert(
    source: str | Path,
    *,
    data: str | Path | Iterable[Sequence[np.ndarray]] | None = None,
    recipe: str | Recipe = "int8",
    board: str | None = None,
    rounding: str | None = None,
    keep_tensors: bool = False,
    fit: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Model:
    """Convert a source model (.tflite) to an integer-only program.

    ``data`` is what a float model is calibrated with: a path (.npz or .py) or batches, each a list of one array per
    input with samples along the first axis. ``recipe`` is a built-in name or a TOML path; ``rounding`` overrides its
    rounding. With ``keep_tensors`` every tensor stays readable; with ``fit`` the arena is as small as it gets, at the
    cost of time. ``progress`` is called with the samples seen so far.

    Raises StorageError, BadInputError, UnsupportedError (naming every node), DoesNotFitError, UsageError.
    """
    if rounding is not None and rounding not in ("native", "tflite", "tflm"):
        raise UsageError(f"rounding is native, tflite or tflm, not {rounding!r}")
    chosen = parse_recipe(recipe) if isinstance(recipe, str) else recipe
    if rounding is not None:
        chosen = dataclasses.replace(chosen, rounding=rounding)
    profile = None if board is None else load_board(board)
    graph = read_source(Path(source))
    batches = load_data(Path(data), graph).batches() if isinstance(data, (str, Path)) else data
    converted = convert_graph(
        graph, recipe=chosen, batches=batches, board=profile, keep_tensors=keep_tensors, fit=fit, progress=progress
    )
    data_bytes = write_model(converted.plan, board_class=0 if profile is None else profile.board_class)
    if profile is not None:
        require_fit(converted.plan, data_bytes, profile)
    return Model(converted.plan, data_bytes, recipe=converted.recipe, graph=converted.graph)


def load(path: str | Path) -> Model:
    """Open a .eqm file. Raises StorageError or ModelFormatError, each naming the path."""
    data = read_bytes(Path(path))
    return Model(read_plan(data, Path(path)), data)


def connect(
    board: str,
    *,
    port: str | None = None,
    ssh: str | None = None,
    toolchain: str | None = None,
    threads: int = 1,
) -> Session:
    """Open a board: its emulator, or the real one. Use it as a context manager.

    A real microcontroller is at ``port``, a serial device or a URL that pyserial opens; Linux boards are reached by
    ``ssh`` ("user@host[:port]"), where at most ``threads`` (1 to 4) share an inference. Raises UsageError for an
    unknown board, DeviceError when nothing answers; it never falls back to this machine.
    """
    profile = load_board(board)
    device = connect_device(profile, port=port, ssh=ssh, toolchain=toolchain, threads=check_threads(threads))
    return Session(device, built_for=profile if port is None else None)


def evaluate(
    model: Model | str | Path,
    data: str | Path | Sequence[np.ndarray],
    *,
    labels: str | Path | np.ndarray | None = None,
    metric: str | None = None,
    source: Model | str | Path | None = None,
    device: Session | None = None,
    progress: Callable[[int], None] | None = None,
) -> Accuracy:
    """Measure a model's accuracy on labelled samples, with a 95 % interval.

    ``model`` and ``source`` are a Model, or the path of an .eqm file or a source model; a float one runs in float. With
    ``source``, the result's ``against`` has that model's accuracy on the same samples and how far the two differ.
    ``data`` is a path (.npz or .py) or one array (n, ...) per input; ``labels`` an array, or the path of an .npy, .npz
    or .csv file, for data without labels ``y``. ``metric`` is top1 (any number), f1, f1:micro, f1:weighted, f1:binary,
    auc, mse, nats, perplexity or FILE.py:FUNCTION, as ``analysis/metrics.py`` and ``analysis/user_metric.py`` define
    them; if not named, top1 for integer labels and mse for others. The model runs here, or on ``device``, where it must
    be loaded already. The first output counts, as real numbers. ``progress`` is called with the samples seen so far.

    Raises BadInputError for data and labels that do not go together or with the model, InvalidValueError for NaN or
    infinity in them, UsageError for an unknown metric or a float model on a device, StorageError for files.
    """
    run = None
    if device is not None:
        if not isinstance(model, Model) or device.model is not model:
            raise UsageError("the device runs the model that it has loaded", hint="pass that one as the model")
        run = runner(model, device.run_many)
    subject = subject_of(model, data, labels=labels, run=run)
    original = None if source is None else subject_of(source, data, labels=labels)
    return measure(subject, metric=metric, source=original, progress=progress)


def subject_of(
    model: Model | str | Path,
    data: str | Path | Sequence[np.ndarray],
    *,
    labels: str | Path | np.ndarray | None = None,
    run: Runner | None = None,
) -> Subject:
    """Open a model and its samples to be measured; with ``run``, that runs it. Arguments as in ``evaluate``."""
    opened = model if isinstance(model, Model) else _open(Path(model))
    if isinstance(opened, Model):
        specs = tuple(InputSpec(port.name, port.shape, port.dtype) for port in opened.inputs)
        size = leading_size([spec.shape for spec in specs])
        run = run or runner(opened, lambda feeds: [opened.run_codes(codes) for codes in feeds])
    else:
        specs = input_specs(opened)
        several, size = evaluation_batch(opened, 32)
        run = one_by_one(lambda feed: run_float(several, feed))
    samples = load_data(Path(data), specs) if isinstance(data, (str, Path)) else of_arrays(data, specs)
    if isinstance(labels, (str, Path)):
        samples = with_labels(samples, load_labels(Path(labels)), source=str(labels))
    elif labels is not None:
        samples = with_labels(samples, labels)
    return Subject(run, size, samples)


def runner(model: Model, run: Callable[[list[list[np.ndarray]]], Sequence[RunResult]]) -> Runner:
    """Make a runner, from real inputs to real outputs, of what runs the model's codes for many inferences at once."""
    return lambda feeds: [model.reals(result.outputs) for result in run([model.encode(feed) for feed in feeds])]


def _open(path: Path) -> Model | Graph:
    """Load an .eqm file or convert an integer model; of a float one, return the graph."""
    if is_model(read_bytes(path)):
        return load(path)
    graph = read_source(path)
    return convert(path) if is_quantized(graph) else graph
