"""The cost of a network with some of its units: parameters, and multiply-adds for one example."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wcodec.structure.graph import Graph, Mask
from wcodec.structure.rebuild import keeps


@dataclass(frozen=True)
class Cost:
    """parameters: weights of all kinds; macs: multiply-adds by kernels for one example, without those between
    activations.

    Axes of unknown length count once.
    """

    parameters: int
    macs: float


def cost_of(graph: Graph, kept: Mask) -> Cost:
    """The cost of the network with only the kept units, bool[graph.count]."""
    parameters, macs = 0, 0.0
    for variable in {id(one): one for one in graph.model.weights}.values():
        sizes = list(variable.shape)
        for one in graph.axes_of.get(id(variable), []):
            sizes[one.axis] = int(keeps(one.units, kept).sum())
        count = math.prod(sizes)
        parameters += count
        macs += count * graph.positions.get(id(variable), 0.0)
    return Cost(parameters, macs)
