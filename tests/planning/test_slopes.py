"""The choice of one point on the curve of each tensor, against all possible choices."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wcodec.planning.slopes import Curve, choose_ways, find_hull

POINTS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 50)), min_size=1, max_size=5)


def curve_of(points: list[tuple[int, int]]) -> Curve:
    return Curve(*np.array(points, np.float64).T)


@given(POINTS)
def test_no_point_is_below_the_hull(points: list[tuple[int, int]]) -> None:
    curve = curve_of(points)
    hull = find_hull(curve)
    bits, losses = curve.bits[hull], curve.losses[hull]
    assert (np.diff(bits) > 0).all()
    assert (np.diff(losses) < 0).all()
    for x, y in points:
        assert x < bits[0] or y >= np.interp(x, bits, losses) - 1e-9


@given(st.lists(POINTS, min_size=1, max_size=4), st.integers(1, 160))
def test_the_choice_is_within_the_bits_and_its_loss_within_one_step_of_the_optimum(
    every: list[list[tuple[int, int]]], budget: int
) -> None:
    curves = [curve_of(points) for points in every]
    ways = choose_ways(curves, budget)
    sums = [(sum(p[0] for p in picked), sum(p[1] for p in picked)) for picked in product(*every)]
    if ways is None:
        assert min(bits for bits, _ in sums) > budget
        return
    spent = sum(curve.bits[way] for curve, way in zip(curves, ways, strict=True))
    lost = sum(curve.losses[way] for curve, way in zip(curves, ways, strict=True))
    assert spent <= budget
    assert lost >= min(loss for bits, loss in sums if bits <= budget)
    # The loss is at most the largest difference on one curve above the optimum.
    largest = max(float(np.ptp(curve.losses)) for curve in curves)
    assert lost <= min(loss for bits, loss in sums if bits <= budget) + largest
