"""The search for a step meets its target closely in a few encodings, for measures of any shape."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wcodec.errors import BudgetError
from wcodec.planning.rate_control import Target, find_step


class Counted:
    """A measure with a list of the steps of its calls."""

    def __init__(self, measure: Callable[[float], float]) -> None:
        self.measure, self.steps = measure, list[float]()

    def __call__(self, step: float) -> float:
        self.steps.append(step)
        return self.measure(step)


@given(st.floats(1e-6, 0.5), st.floats(0.5, 2.5), st.floats(1e-6, 10))
def test_an_error_that_is_a_power_of_the_step_is_met_in_a_few_steps(bound: float, power: float, scale: float) -> None:
    measure = Counted(lambda step: scale * step**power)
    step = find_step(measure, 1.0, Target("error", bound, 0.99, 2.0))
    assert 0.98 * bound <= measure.measure(step) <= bound
    assert len(measure.steps) <= 12


@given(st.integers(2_000, 4_000_000))
def test_a_size_with_a_floor_and_a_ceiling_is_met(bound: int) -> None:
    def size(step: float) -> float:
        """The bytes of some million weights: from 4 MB, decreasing with the step, to 1500."""
        return 1500 + 4e6 / (1 + 20 * step) ** 0.8

    measure = Counted(size)
    step = find_step(measure, 1.0, Target("file bytes", bound, 0.985, -0.3))
    assert 0.98 * bound <= size(step) <= bound
    assert step in measure.steps


@given(st.floats(1e-5, 0.1), st.integers(0, 1000))
def test_a_discontinuous_measure_gets_nearly_the_best_step_within_the_bound(bound: float, seed: int) -> None:
    def error(step: float) -> float:
        return math.exp(round(20 * math.log(step**2)) / 20) * (1 + 0.01 * math.sin(seed + 50 * step))

    step = find_step(error, 1.0, Target("error", bound, 0.999, 2.0))
    assert 0.9 * bound <= error(step) <= bound


def test_a_first_encoding_within_the_target_is_the_only_one() -> None:
    measure = Counted(lambda step: 0.995 * step)
    assert find_step(measure, 1.0, Target("error", 1.0, 0.99, 2.0)) == 1.0
    assert measure.steps == [1.0]


def test_a_target_out_of_reach_is_a_budget_error_with_the_best_measure() -> None:
    with pytest.raises(BudgetError, match=r"file bytes: expected at most 100, got 1500 at best"):
        find_step(lambda step: 1500 + 1000 / step, 1.0, Target("file bytes", 100, 0.985, -0.3))


def test_a_constant_measure_is_called_a_few_times_only() -> None:
    measure = Counted(lambda step: 5000.0)
    with pytest.raises(BudgetError, match="got 5000"):
        find_step(measure, 1.0, Target("file bytes", 100, 0.985, -0.3))
    assert len(measure.steps) <= 3
    assert find_step(lambda step: 50.0, 1.0, Target("file bytes", 100, 0.985, -0.3)) > 0
