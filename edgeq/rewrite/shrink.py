# SPDX-License-Identifier: Apache-2.0
"""Run all passes that make a quantized graph smaller and keep every code of its outputs, for every input."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from edgeq.errors import EdgeqError
from edgeq.ir.graph import Graph
from edgeq.ops.base import Rounding
from edgeq.rewrite.activations import fuse_activations
from edgeq.rewrite.constant_channels import absorb_constant_channels
from edgeq.rewrite.constant_codes import fold_constant_codes
from edgeq.rewrite.dead import remove_dead
from edgeq.rewrite.duplicates import merge_duplicates
from edgeq.rewrite.folds import Folds
from edgeq.rewrite.identities import remove_identities
from edgeq.rewrite.identity_tables import remove_identity_tables
from edgeq.rewrite.padding import fuse_padding
from edgeq.rewrite.unread_channels import remove_unread_channels
from edgeq.rewrite.zero_taps import trim_zero_taps


@dataclass(frozen=True)
class Shrunk:
    """A graph after shrinking, and the multiply-accumulates before it; None where nothing was looked at."""

    graph: Graph
    source_macs: int | None = None


def shrink(graph: Graph, *, rounding: Rounding) -> Shrunk:
    """Run the passes in order until the graph gets no smaller.

    Ports keep their shapes. A graph with a node that has no integer form is returned as it is: lowering says why.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lowering folds the nodes that are left once more, and warns then
        folds = Folds(rounding)
        if not _all_fold(graph, folds):
            return Shrunk(graph)
        source_macs = folds.macs(graph)
        graph = fuse_activations(fuse_padding(merge_duplicates(remove_identities(graph))))
        graph = remove_dead(graph)
        while True:
            before = _size(graph)
            graph = remove_dead(fold_constant_codes(graph, folds))
            graph = remove_identity_tables(graph, folds)
            graph = absorb_constant_channels(graph, folds)
            graph = remove_dead(remove_unread_channels(graph))
            graph = remove_dead(trim_zero_taps(graph))
            if _size(graph) == before:
                return Shrunk(graph, source_macs)


def _all_fold(graph: Graph, folds: Folds) -> bool:
    try:
        for node in graph.nodes:
            folds.of(graph, node)
    except EdgeqError:
        return False
    return True


def _size(graph: Graph) -> tuple[int, int]:
    return len(graph.nodes), sum(tensor.elements for tensor in graph.tensors)
