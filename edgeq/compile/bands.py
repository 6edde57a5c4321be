# SPDX-License-Identifier: Apache-2.0
"""Run the first layers of a graph in bands of rows, so that their large results never exist as a whole.

Every band is cut from the model's input, goes through the layers with the padding that its place asks for, and ends in
its rows of the last layer's result. Rows that two bands need are computed twice; the integers are the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from edgeq.ir.graph import ABSENT, Graph, Node, Tensor
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.convolution import Window, pair_of, slide
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.linear import Pair
from edgeq.ops.pool import AveragePool2d, MaxPool2d
from edgeq.ops.slice import Slice

MAX_EXTRA_MACS = 0.25  # of the graph's products may be computed twice
MAX_LAYERS = 12
_WINDOWED = (Conv2d, DepthwiseConv2d, AveragePool2d, MaxPool2d)


@dataclass(frozen=True)
class Bands:
    """A way to run the first ``layers`` nodes of a chain: the rows of the last one's result, band by band."""

    layers: int
    rows: tuple[Pair, ...]  # (first, end) of each band
    peak_bytes: int  # an estimate, from the sizes of tensors alone


@dataclass(frozen=True)
class Chain:
    """Windowed layers one after the other, from a model input on; nothing else reads what lies between."""

    nodes: tuple[Node, ...]
    windows: tuple[Window, ...]
    tensors: tuple[int, ...]  # the input, then the result of each layer


def find_chain(graph: Graph) -> Chain | None:
    """Return the longest chain of windowed layers on one image that begins at a model input, None without any."""
    consumers = graph.consumers()
    outputs = {port.tensor for port in graph.outputs}
    best: Chain | None = None
    for port in graph.inputs:
        nodes: list[Node] = []
        windows: list[Window] = []
        tensors = [port.tensor]
        while len(nodes) < MAX_LAYERS and tensors[-1] not in outputs and len(consumers.get(tensors[-1], [])) == 1:
            node = consumers[tensors[-1]][0]
            window = _window(graph, node, tensors[-1])
            if window is None:
                break
            nodes.append(node)
            windows.append(window)
            tensors.append(node.outputs[0])
        if nodes and (best is None or len(nodes) > len(best.nodes)):
            best = Chain(tuple(nodes), tuple(windows), tuple(tensors))
    return best


def _window(graph: Graph, node: Node, source: int) -> Window | None:
    """Return the window of a layer that slides over one image, None for any other node."""
    if not isinstance(node.op, _WINDOWED) or node.inputs[0] != source or node.inputs.count(source) != 1:
        return None
    shape = graph.tensors[source].shape
    if len(shape) != 4 or shape[0] != 1 or any(i != ABSENT and graph.tensors[i].data is None for i in node.inputs[1:]):
        return None
    if isinstance(node.op, (AveragePool2d, MaxPool2d)):
        kernel, dilation = node.op.kernel, (1, 1)
    else:
        kernel, dilation = pair_of(graph.tensors[node.inputs[1]].shape[1:3]), node.op.dilation
    window = slide(pair_of(shape[1:3]), kernel, stride=node.op.stride, padding=node.op.padding, dilation=dilation)
    last = (window.output[0] - 1) * window.stride[0] - window.before[0]
    return window if last < shape[1] else None  # every row of windows touches the image


def candidates(graph: Graph, chain: Chain) -> Iterator[Bands]:
    """Yield ways to divide the chain that compute few enough rows twice."""
    heights = [graph.tensors[index].shape[1] for index in chain.tensors]
    macs = [_macs_per_row(graph, node) * height for node, height in zip(chain.nodes, heights[1:], strict=True)]
    for layers in range(2, len(chain.nodes) + 1):
        height = heights[layers]
        for rows_each in sorted({-(-height // count) for count in range(2, height + 1)}):
            rows = tuple((first, min(first + rows_each, height)) for first in range(0, height, rows_each))
            needed = [_needed(chain, heights, layers, band) for band in rows]
            extra = sum(
                macs[i] * (sum(end - first for first, end in (band[i + 1] for band in needed)) / heights[i + 1] - 1)
                for i in range(layers)
            )
            if extra <= MAX_EXTRA_MACS * sum(macs):
                yield Bands(layers, rows, _peak_bytes(graph, chain, needed, layers))


def _macs_per_row(graph: Graph, node: Node) -> int:
    if node.op.weight_input is None:
        return 0
    _, _, width, channels = graph.tensors[node.outputs[0]].shape
    shape = graph.tensors[node.inputs[node.op.weight_input]].shape
    depth = shape[3] if isinstance(node.op, Conv2d) else 1
    return int(width * channels * shape[1] * shape[2] * depth)


def _needed(chain: Chain, heights: list[int], layers: int, band: Pair) -> list[Pair]:
    """Return the rows (first, end) that a band needs of the input and of the result of each layer."""
    rows = [band]
    for window, height in zip(reversed(chain.windows[:layers]), reversed(heights[:layers]), strict=True):
        first, end = _reach(window, rows[0])
        rows.insert(0, (max(0, first), min(height, end)))
    return rows


def _reach(window: Window, rows: Pair) -> Pair:
    """Return the rows (first, end) under the windows of some output rows, those outside the image included."""
    span = (window.kernel[0] - 1) * window.dilation[0] + 1
    first = rows[0] * window.stride[0] - window.before[0]
    return first, (rows[1] - 1) * window.stride[0] - window.before[0] + span


def _peak_bytes(graph: Graph, chain: Chain, needed: list[list[Pair]], layers: int) -> int:
    """Estimate the arena: what is left of the input, what there is of the result, and two layers' bands."""
    row_bytes = [graph.tensors[index].bytes // graph.tensors[index].shape[1] for index in chain.tensors]
    peak = 0
    for number, band in enumerate(needed):
        later = needed[number + 1 :]
        source = (band[0][1] if not later else needed[-1][0][1]) - (later[0][0][0] if later else band[0][1])
        kept = source * row_bytes[0] + (band[layers][0]) * row_bytes[layers]
        for layer in range(layers):
            sizes = [(band[i][1] - band[i][0]) * row_bytes[i] for i in (layer, layer + 1)]
            fresh = max(
                0, sizes[0] - (0 if layer else (band[0][1] - (later[0][0][0] if later else band[0][1])) * row_bytes[0])
            )
            peak = max(peak, kept + fresh + sizes[1])
    for node in graph.nodes:
        if node not in chain.nodes[:layers]:
            read = [graph.tensors[i].bytes for i in node.inputs if i != ABSENT and graph.tensors[i].data is None]
            peak = max(peak, *read, *(graph.tensors[i].bytes for i in node.outputs))
    return peak


def in_bands(graph: Graph, chain: Chain, bands: Bands) -> Graph:
    """Return the graph with the chain's first layers run band by band."""
    tensors = list(graph.tensors)
    heights = [graph.tensors[index].shape[1] for index in chain.tensors]
    cuts: list[Node] = []
    layers: list[Node] = []
    pieces: list[int] = []

    def rows_of(index: int, rows: Pair, number: int) -> int:
        """Add a tensor for some rows of another one."""
        tensor = graph.tensors[index]
        shape = (1, rows[1] - rows[0], *tensor.shape[2:])
        tensors.append(Tensor(f"{tensor.name}/band{number}", shape, tensor.dtype, tensor.quant))
        return len(tensors) - 1

    for number, band in enumerate(bands.rows):
        needed = _needed(chain, heights, bands.layers, band)
        source = graph.tensors[chain.tensors[0]]
        current = rows_of(chain.tensors[0], needed[0], number)
        cut = Slice((0, needed[0][0], 0, 0), tensors[current].shape)
        cuts.append(Node(f"{source.name}/band{number}", cut, (chain.tensors[0],), (current,)))
        for layer in range(bands.layers):
            node, window = chain.nodes[layer], chain.windows[layer]
            op = dataclasses.replace(
                node.op, padding=_padding(window, needed[layer + 1], tensors[current].shape, heights[layer])
            )
            result = rows_of(chain.tensors[layer + 1], needed[layer + 1], number)
            layers.append(Node(f"{node.name}/band{number}", op, (current, *node.inputs[1:]), (result,)))
            current = result
        pieces.append(current)
    joined = chain.tensors[bands.layers]
    join = Node(f"{graph.tensors[joined].name}/bands", Concatenation(1), tuple(pieces), (joined,))
    replaced = chain.nodes[: bands.layers]
    return graph.replace(
        tensors=tensors, nodes=[*cuts, *layers, join, *(node for node in graph.nodes if node not in replaced)]
    )


def _padding(window: Window, rows: Pair, shape: tuple[int, ...], height: int) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right) for the output rows of a band, given the shape of its input."""
    first, end = _reach(window, rows)
    span = (window.kernel[1] - 1) * window.dilation[1] + 1
    right = (window.output[1] - 1) * window.stride[1] + span - window.before[1] - shape[2]
    return max(0, -first), max(0, end - height), window.before[1], max(0, right)
