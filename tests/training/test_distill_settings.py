"""The settings of training without labels depend on the bits a weight at its start."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.layerwise import RoundedWeight
from wcodec.calibration.quality import Quality
from wcodec.calibration.trial import CalibrationResult
from wcodec.training import distillation
from wcodec.training.distillation import CONFIG, LONG, SHORT, DistillConfig, choose_config


def rounded(count: int, size: int) -> CalibrationResult:
    """A network of one kernel of `count` weights in `size` bytes."""
    weight = RoundedWeight(0, "kernel", 0.1, np.zeros((count, 1), np.float32))
    return CalibrationResult(1.0, 0.1, (weight,), (), Quality(0.01, 100.0, 0.0), size)


@pytest.mark.parametrize(
    ("size", "kl", "lambda_"),
    [(100, 0.01, 2.6 * 1.25), (50, 0.02, 2.6 * 2.5), (50, 0.005, 2.6 * 1.25), (100, 1e-4, 0.7)],
)
def test_the_first_lambda_depends_on_the_weights_per_bit_and_on_the_divergence(
    size: int, kl: float, lambda_: float
) -> None:
    found = choose_config(rounded(1000, size), AccuracyBudget(kl=kl), 2000, kept=True)
    assert found.initial_lambda == pytest.approx(lambda_)
    assert found.runs == SHORT.runs


@pytest.mark.parametrize(
    ("size", "budget", "steps", "kept"),
    [
        (126, AccuracyBudget(kl=0.01), 2000, True),
        (50, AccuracyBudget(kl=0.01), 2000, False),
        (50, AccuracyBudget(bytes=40), 5000, True),
        (50, AccuracyBudget(), 5000, True),
        (50, AccuracyBudget(kl=0.01), None, True),
    ],
)
def test_other_networks_budgets_and_steps_have_the_default_settings(
    size: int, budget: AccuracyBudget, steps: int | None, *, kept: bool
) -> None:
    assert choose_config(rounded(1000, size), budget, steps, kept=kept) is CONFIG


@pytest.mark.parametrize("kept", [False, True])
def test_the_first_runs_of_a_long_training_exceed_the_budget(*, kept: bool) -> None:
    assert choose_config(rounded(1000, 50), AccuracyBudget(kl=0.01), 5000, kept=kept) is LONG


@pytest.mark.parametrize("config", [CONFIG, SHORT])
def test_the_fractions_of_the_runs_have_the_sum_1(config: DistillConfig) -> None:
    assert sum(config.runs) == pytest.approx(1.0)
    assert len(config.runs) == len(config.aims) == len(config.peak_learning_rates) > config.final_runs


@pytest.mark.parametrize(
    ("allowed", "deadline", "runs"), [(7, None, 7), (9, None, 8), (9, 1e9, 6), (4, None, 6), (2, None, 8)]
)
def test_runs_follow_the_last_one_until_a_final_run_is_within_the_budget(
    allowed: int, deadline: float | None, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the runs, of which one alone gives a network within the budget."""
    lambdas: list[float] = []

    def train_run(_: object, lambda_: float, *__: object) -> Iterator[CalibrationResult]:
        lambdas.append(lambda_)
        yield CalibrationResult(0.0, 0.1, (), (), Quality(0.0085 if len(lambdas) == allowed else 0.011), 100)

    monkeypatch.setattr(distillation, "_train_run", train_run)
    monkeypatch.setattr(distillation, "initialize", lambda *_: None)
    training: Any = SimpleNamespace(config=CONFIG, start=None, state=None, steps=1000, deadline=deadline)
    list(distillation._train_runs(training, AccuracyBudget(kl=0.01)))
    assert len(lambdas) == runs
    assert lambdas[-1] < lambdas[-2] or allowed == 4
