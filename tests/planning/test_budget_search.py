"""The search for a size estimates it from samples, encodes, and corrects the estimate."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wcodec.planning.budget_search import EncodingMeasure, Sizes, meet_target
from wcodec.planning.rate_control import Target

COUNTS = {0: 1_000_000, 2: 60_000, 3: 60_000, 5: 250_000, 7: 300_000, 8: 9_000}
SPREADS = {0: 1.0, 2: 2.0, 3: 2.0, 5: 0.7, 7: 1.3, 8: 4.0}


def bytes_of(number: int, size: float) -> float:
    """Bytes, with about half a bit less a weight for each doubling of the error; never below 0."""
    return COUNTS[number] / 8 * math.log2(1 + 12 * SPREADS[number] / size)


def errors_of(number: int, size: float) -> float:
    return COUNTS[number] * min(size * size / 12, SPREADS[number]) / 1e9


class Model:
    """Tensors with exact measures and estimates that are off by a factor; the model counts the encodings."""

    def __init__(self, wrong: float, by_error: bool) -> None:
        self.wrong, self.amount = wrong, errors_of if by_error else bytes_of
        self.coded, self.tries = 0, list[float]()
        self.last: Mapping[int, float] = {}

    def estimate(self, sizes: Sizes) -> dict[int, float]:
        return {n: self.amount(n, size) * (1 + self.wrong * math.cos(n)) for n, size in sizes.items()}

    def measure(self, sizes: Sizes) -> EncodingMeasure:
        self.coded += sum(COUNTS[n] for n, size in sizes.items() if self.last.get(n) != size)
        self.last = dict(sizes)
        amounts = {n: self.amount(n, size) for n, size in sizes.items()}
        self.tries.append(sum(amounts.values()) + (0 if self.amount is errors_of else 3000))
        return EncodingMeasure(self.tries[-1], amounts, {n: errors_of(n, size) for n, size in sizes.items()})


@given(st.floats(80_000, 900_000), st.floats(-0.05, 0.05))
def test_a_size_is_met_within_one_percent_in_fewer_than_two_encodings(bound: float, wrong: float) -> None:
    model = Model(wrong, by_error=False)
    assert meet_target(Target("file bytes", bound, 0.99, -0.3), COUNTS, 1.0, 2000, model.estimate, model.measure)
    assert 0.99 * bound <= model.tries[-1] <= bound
    assert model.coded <= 1.8 * sum(COUNTS.values())


@given(st.floats(1e-6, 1e-3), st.floats(-0.05, 0.05))
def test_an_error_is_met_within_one_percent_in_about_two_encodings(bound: float, wrong: float) -> None:
    model = Model(wrong, by_error=True)
    if meet_target(Target("error", bound, 0.99, 2.0), COUNTS, 1.0, 0, model.estimate, model.measure):
        assert 0.99 * bound <= model.tries[-1] <= bound
    assert model.coded <= 2.2 * sum(COUNTS.values())


@pytest.mark.parametrize("bound", [10, 1e9])
def test_a_target_that_no_step_meets_is_refused_without_an_encoding(bound: float) -> None:
    model = Model(0.0, by_error=False)
    assert not meet_target(Target("file bytes", bound, 0.99, -0.3), COUNTS, 1.0, 2000, model.estimate, model.measure)
    assert not model.tries
