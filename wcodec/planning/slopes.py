"""The choice of one coding for each tensor: the least total loss for a number of bits, by equal slopes.

The codings of each tensor are points (bits, loss). On the lower convex hulls the next bits are spent where they reduce
the loss most, until the budget is used (Shoham and Gersho 1988): then all tensors have about the same slope.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wcodec.model.dataclass import dataclass

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """The codings of a tensor. bits, losses: float64[codings], of the whole tensor, in any order."""

    bits: Floats
    losses: Floats


def find_hull(curve: Curve) -> list[int]:
    """The codings on the lower convex hull, from the fewest bits on, each with less loss than the one before."""
    hull: list[int] = []
    for way in np.lexsort((curve.losses, curve.bits)).tolist():
        if hull and curve.losses[way] >= curve.losses[hull[-1]]:
            continue
        while len(hull) > 1 and _compute_slope(curve, hull[-2], hull[-1]) <= _compute_slope(curve, hull[-2], way):
            hull.pop()
        hull.append(way)
    return hull


def choose_ways(curves: Sequence[Curve], budget: float) -> list[int] | None:
    """One coding for each tensor, with a total within the budget; None if the smallest ones exceed it."""
    hulls = [find_hull(curve) for curve in curves]
    places = [0] * len(curves)
    spent = sum(float(curve.bits[hull[0]]) for curve, hull in zip(curves, hulls, strict=True))
    if spent > budget:
        return None
    open_ = set(range(len(curves)))
    while open_:
        gains = {
            one: _compute_slope(curves[one], hulls[one][places[one]], hulls[one][places[one] + 1])
            for one in open_
            if places[one] + 1 < len(hulls[one])
        }
        if not gains:
            break
        best = max(sorted(gains), key=gains.__getitem__)
        ways = hulls[best]
        more = float(curves[best].bits[ways[places[best] + 1]] - curves[best].bits[ways[places[best]]])
        if spent + more > budget:
            open_.discard(best)  # another tensor's smaller step may still fit
            continue
        open_ = {one for one in open_ if one in gains}
        places[best] += 1
        spent += more
    return [hull[place] for hull, place in zip(hulls, places, strict=True)]


def _compute_slope(curve: Curve, first: int, then: int) -> float:
    """The reduction of the loss for each bit between two codings."""
    bits = float(curve.bits[then] - curve.bits[first])
    return float(curve.losses[first] - curve.losses[then]) / bits if bits > 0 else float("inf")
