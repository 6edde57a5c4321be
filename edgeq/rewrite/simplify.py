# SPDX-License-Identifier: Apache-2.0
"""Run all passes that keep a float graph's meaning and make it smaller."""

from __future__ import annotations

from edgeq.ir.graph import Graph
from edgeq.rewrite.activations import fuse_activations
from edgeq.rewrite.constants import fold_constants
from edgeq.rewrite.dead import remove_dead
from edgeq.rewrite.identities import remove_identities
from edgeq.rewrite.padding import fuse_padding
from edgeq.rewrite.scales import fold_scales

PASSES = (fold_constants, remove_identities, fold_scales, fuse_activations, fuse_padding, remove_dead)


def simplify_float(graph: Graph) -> Graph:
    """Run the passes in order until none of them removes a node any more."""
    while True:
        before = len(graph.nodes)
        for rewrite in PASSES:
            graph = rewrite(graph)
        if len(graph.nodes) == before:
            return graph
