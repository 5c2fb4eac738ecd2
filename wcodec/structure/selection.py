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
BLOCK: Final = 16
"""The number of channels that kernels of convolutions (oneDNN's) compute at once: 67 of them take the time of 80."""


@dataclass(frozen=True)
class Amount:
    """The fraction of the network that is kept.

    of:      units, parameters or multiply-adds.
    part:    more than 0, at most 1.
    uniform: the same fraction of every group of units, instead of the best units of all groups.
    blocks:  every group keeps a multiple of a power of two, at most BLOCK and a quarter of the group.
    """

    of: Literal["width", "params", "macs"]
    part: float
    uniform: bool = False
    blocks: bool = False


def select(graph: Graph, scores: Float64, amount: Amount) -> Mask:
    """bool[graph.count]: the kept units.

    scores: float64[graph.count], comparable between groups; units with NaN are kept.
    Raises: BudgetError if the units that must stay exceed the amount.
    """
    order = _order_removable(graph, scores, amount.uniform)

    def keep_after(count: int) -> Mask:
        kept = _remove(graph, order, count)
        return _round_to_blocks(graph, order, kept) if amount.blocks else kept

    if amount.of == "width":
        asked = _measure_size(graph, np.ones(graph.count, bool), "width") * (1 - amount.part)
        return keep_after(min(round(asked), len(order)))
    whole = _measure_size(graph, np.ones(graph.count, bool), amount.of)
    low, high = 0, len(order)
    if (least := _measure_size(graph, keep_after(high), amount.of) / whole) > amount.part:
        raise BudgetError(
            f"{graph.model.name}: expected {amount.part:g} of the {amount.of}, "
            f"the least that the layers allow is {least:.3f}"
        )
    while low < high:
        middle = (low + high) // 2
        if _measure_size(graph, keep_after(middle), amount.of) <= amount.part * whole:
            high = middle
        else:
            low = middle + 1
    return keep_after(low)


def _measure_size(graph: Graph, kept: Mask, of: str) -> float:
    if of == "width":
        return float((kept & graph.removable).sum())
    cost = cost_of(graph, kept)
    return cost.parameters if of == "params" else cost.macs


def _order_removable(graph: Graph, scores: Float64, uniform: bool) -> npt.NDArray[np.intp]:
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


def _round_to_blocks(graph: Graph, order: npt.NDArray[np.intp], kept: Mask) -> Mask:
    """The nearest mask in which every group has whole blocks, as far as its removable units allow."""
    rounded, may_go = kept.copy(), np.zeros(graph.count, bool)
    may_go[order] = True
    rank = np.zeros(graph.count, np.intp)
    rank[order] = np.arange(len(order))
    for group in graph.groups:
        block = min(BLOCK, 1 << max(0, (len(group) // 4).bit_length() - 1))
        wanted = max(block, round(int(kept[group].sum()) / block) * block)
        going = group[may_go[group]]
        going = going[np.argsort(rank[going])]
        rounded[going] = True
        rounded[going[: max(0, len(group) - wanted)]] = False
    return rounded
