"""What a trained network loses by the labels, and when a budget allows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.small_problem import make_examples
from wcodec.calibration.budget import AccuracyBudget
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.model_loader import load_model
from wcodec.training.candidate import Candidate
from wcodec.training.validation import ExampleScores, OutputScore, ValidationSet, limit_held_out


def judge(*originals: ExampleScores) -> ValidationSet:
    return ValidationSet(Examples((np.zeros((10, 1)),)), (), originals)


def test_every_output_has_its_own_bound() -> None:
    classes = ExampleScores(np.array([1.0] * 9 + [0.0]), np.full(10, 0.3))
    squares = ExampleScores(None, np.full(10, 2.0))
    validation = judge(classes, squares)

    def allows(accuracy: float, loss: float, budget: AccuracyBudget) -> bool:
        return validation.allows(Candidate((), (), 0, (OutputScore(accuracy, 0.3), OutputScore(None, loss))), budget)

    budget = AccuracyBudget(drop=1.0, loss=5.0)
    assert allows(89.2, 2.08, budget)
    assert not allows(88.8, 2.08, budget)
    assert not allows(89.2, 2.12, budget)
    assert judge(squares).drop(Candidate((), (), 0, (OutputScore(None, 2.1),))) == pytest.approx(5.0)


def test_a_difference_has_the_standard_error_of_the_examples_that_changed() -> None:
    hits = np.ones(100)
    before, now = ExampleScores(hits, np.full(100, 0.5)), hits.copy()
    now[:4] = 0.0
    losses = np.full(100, 0.5)
    losses[:50] += 0.02
    found = ExampleScores(now, losses).compare(before)
    assert (found.accuracy, found.loss) == pytest.approx((96.0, 0.51))
    assert found.drop_error == pytest.approx(100 * ((0.04 * 0.96 + 1 / 100) / 100) ** 0.5)
    assert before.compare(before).drop_error == pytest.approx(1.0), "none of 100 changed, and one more might"
    assert found.rise_error == pytest.approx(100 * 0.01 / 0.5 / 10)
    assert ExampleScores(None, losses).compare(ExampleScores(None, before.losses)).drop_error == 0.0
    broken = ExampleScores(hits, np.full(100, np.nan)).compare(before)
    assert (broken.accuracy, broken.loss) == (0.0, float("inf"))


def test_a_budget_counts_the_standard_error_of_the_drop_and_of_the_rise() -> None:
    validation = judge(ExampleScores(np.ones(10), np.full(10, 0.5)))

    def find_broken(score: OutputScore, *, is_predicted: bool = False) -> str:
        one = Candidate((), (), 0, (score,), is_predicted)
        return validation.find_broken(one, AccuracyBudget(drop=1.0, loss=5.0))

    assert not find_broken(OutputScore(99.5, 0.5, drop_error=0.3))
    assert find_broken(OutputScore(99.5, 0.5, drop_error=0.5)) == "max-drop"
    assert not find_broken(OutputScore(99.5, 0.51, rise_error=2.0))
    assert find_broken(OutputScore(99.5, 0.51, rise_error=3.0)) == "max-loss"
    assert not find_broken(OutputScore(99.5, 0.51, 0.5, 3.0), is_predicted=True)
    assert find_broken(OutputScore(98.9, 0.51, 0.5, 3.0), is_predicted=True) == "max-drop"


def test_a_time_limit_leaves_the_least_number_of_held_out_examples(small_network: tuple[Path, Path]) -> None:
    model, held_out, said = load_model(small_network[0]), Examples((make_examples()["x"],)), list[str]()
    assert limit_held_out(model, held_out, 240, float("inf"), said.append) is held_out
    assert limit_held_out(model, held_out, 240, 1e9, said.append) is held_out
    assert limit_held_out(model, held_out, 1200, 1e-6, said.append) is held_out
    assert said == []
    few = limit_held_out(model, held_out, 240, 1e-6, said.append)
    assert few.count == 240
    np.testing.assert_array_equal(few.inputs[0][[0, -1]], held_out.inputs[0][[0, -1]])
    assert said == ["240 of these are measured, for more do not fit into the time limit"]
