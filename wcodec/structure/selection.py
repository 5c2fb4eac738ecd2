"""Selection: which units are removed.

Those with the lowest scores go first, until the network has the requested size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from wcodec.errors import BudgetError
from wcodec.structure.cost import cost_of
from wcodec.structure.graph import Graph, Mask
from wcodec.structure.rebuild import keeps

Float64 = npt.NDArray[np.float64]

LEAST: Final = 0.1
"""The fraction of every group that is kept. Without it narrow layers would lose all units."""


@dataclass(frozen=True)
class Amount:
    """The fraction of the network that is kept.

    of:      units, parameters or multiply-adds.
    part:    more than 0, at most 1.
    uniform: the same fraction of every group of units, instead of the best units of all groups.
    """

    of: Literal["width", "params", "macs"]
    part: float
    uniform: bool = False


def select(graph: Graph, scores: Float64, amount: Amount) -> Mask:
    """bool[graph.count]: the kept units.

    scores: float64[graph.count], comparable between groups; units with NaN are kept.
    Raises: BudgetError if the units that must stay exceed the amount.
    """
    order = _order(graph, scores, amount.uniform)
    if amount.of == "width":
        asked = _size(graph, np.ones(graph.count, bool), "width") * (1 - amount.part)
        return _remove(graph, order, min(round(asked), len(order)))
    whole = _size(graph, np.ones(graph.count, bool), amount.of)
    low, high = 0, len(order)
    if _size(graph, _remove(graph, order, high), amount.of) > amount.part * whole:
        least = _size(graph, _remove(graph, order, high), amount.of) / whole
        raise BudgetError(
            f"{graph.model.name}: expected {amount.part:g} of the {amount.of}, "
            f"the least that the layers allow is {least:.3f}"
        )
    while low < high:
        middle = (low + high) // 2
        if _size(graph, _remove(graph, order, middle), amount.of) <= amount.part * whole:
            high = middle
        else:
            low = middle + 1
    return _remove(graph, order, low)


def _size(graph: Graph, kept: Mask, of: str) -> float:
    if of == "width":
        return float((kept & graph.removable).sum())
    cost = cost_of(graph, kept)
    return cost.parameters if of == "params" else cost.macs


def _order(graph: Graph, scores: Float64, uniform: bool) -> npt.NDArray[np.intp]:
    """Units that may be removed, in this order, without the best unit of every group and of every axis."""
    place = np.full(graph.count, np.inf)
    for group in graph.groups:
        known = group[graph.removable[group] & ~np.isnan(scores[group])]
        ranked = known[np.argsort(scores[known], kind="stable")]
        going = ranked[: len(ranked) - max(1, int(np.ceil(LEAST * len(group))))] if len(known) == len(group) else ranked
        place[going] = np.arange(len(going)) / len(group) if uniform else scores[going]
    for one in graph.weights:
        if len(one.units) and not keeps(one.units, ~np.isfinite(place)).any():
            place[one.units[int(np.argmax(place[one.units]))]] = np.inf
    going = np.flatnonzero(np.isfinite(place))
    return going[np.argsort(place[going], kind="stable")]


def _remove(graph: Graph, order: npt.NDArray[np.intp], count: int) -> Mask:
    kept = np.ones(graph.count, bool)
    kept[order[:count]] = False
    return kept
