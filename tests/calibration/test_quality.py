"""The predicted drop: by the divergence, and by the cost of changed predictions if there are enough of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from keras_kinds import network, prepare_session, some

from wcodec.calibration.budget import DEFAULT_DROP, DEFAULT_ERROR, DEFAULT_LOSS, AccuracyBudget
from wcodec.calibration.quality import (
    LEAST_COST,
    MIN_CHANGED,
    Quality,
    _compare_classes,
    _find_sampling_margin,
    measure_quality,
)
from wcodec.calibration.trial import CalibrationResult
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.keras_backend import keras
from wcodec.evaluation.metrics import POINTS, Truth
from wcodec.evaluation.output_kinds import OutputKind


def test_a_changed_prediction_costs_its_probability_in_the_original() -> None:
    of = keras().layers
    model = network((6,), of.Dense(30, "relu"))
    session = prepare_session(model, some(model, 2000))
    assert measure_quality(session).expected == 0
    rng, kernel = np.random.default_rng(0), model.layers[0].kernel
    kernel.assign(np.asarray(kernel) + rng.normal(0, 0.3, kernel.shape))
    found, rows = measure_quality(session), np.arange(session.held_out.count)
    odds = np.exp(session.outputs[0])
    odds /= odds.sum(axis=1, keepdims=True)
    chosen = compute_outputs(model, session.held_out)[0].argmax(axis=1)
    changed = int((chosen != odds.argmax(axis=1)).sum())
    assert changed >= MIN_CHANGED
    assert found.agreement == pytest.approx(100 - 100 * changed / len(rows))
    assert found.expected == pytest.approx(100 * (odds.max(axis=1) - odds[rows, chosen]).mean())
    assert found.drop == max(found.expected, 42 * found.kl)


def test_a_changed_prediction_of_an_untrained_network_has_a_minimum_cost() -> None:
    # All classes are nearly as likely, so neither the divergence nor the probabilities tell that choices change.
    rng = np.random.default_rng(1)
    logits = (1e-3 * rng.normal(size=(600, 4))).astype(np.float32)
    part, count, cost = _compare_classes(logits[:, ::-1], logits, probabilities=False)
    assert part > 0.9
    assert count == 600
    assert cost == pytest.approx(LEAST_COST * part)
    assert not AccuracyBudget(drop=DEFAULT_DROP).allows(
        CalibrationResult(1.0, 0.1, (), (), Quality(1e-6, 100 * (1 - part), expected=100 * cost), 100)
    )


def test_too_few_changed_predictions_give_no_estimate() -> None:
    of = keras().layers
    model = network((6,), of.Dense(30, "relu"))
    session = prepare_session(model, some(model, 5 * MIN_CHANGED - 5))
    model.layers[0].kernel.assign(-np.asarray(model.layers[0].kernel))
    found = measure_quality(session)
    assert found.agreement < 100
    assert found.expected == 0


def test_changes_exchanged_between_rows_predict_the_cost_of_many_inputs() -> None:
    of, rng = keras().layers, np.random.default_rng(0)
    keras().utils.set_random_seed(0)
    model = keras().Sequential([of.Input((6,)), of.Dense(30, "relu"), of.Dense(2, "softmax")])
    many, few = (prepare_session(model, some(model, count, rng)) for count in (20_000, 1_500))
    kernel = model.layers[0].kernel
    kernel.assign(np.asarray(kernel) + rng.normal(0, 0.02, kernel.shape))
    counted, predicted = measure_quality(many), measure_quality(few)
    assert counted.exchanged == predicted.expected == 0
    assert 0 < predicted.exchanged == pytest.approx(counted.expected, rel=0.5)  # some 20 rows are near the border
    ratio = (many.held_out.count / few.held_out.count) ** 0.5
    assert predicted.chance == pytest.approx(ratio * counted.chance, rel=0.3)
    assert predicted.drop >= predicted.exchanged


def test_the_sampling_margin_covers_the_truth_in_nine_samples_of_ten() -> None:
    rng = np.random.default_rng(0)
    for count in (100, 500, 2000):
        samples = rng.gamma(0.3, 0.01 / 0.3, (3000, count))  # of 0.01 nats, most of them in few rows
        kept = np.mean([one.mean() + _find_sampling_margin(one) >= 0.01 for one in samples])
        without = np.mean([one.mean() + one.std() / count**0.5 >= 0.01 for one in samples])
        assert kept == pytest.approx(0.9, abs=0.03), (count, kept)
        assert without < kept


def test_the_sampling_margin_of_few_inputs_counts_against_the_budget() -> None:
    class One:
        bytes = 10

        def __init__(self, chance: float) -> None:
            self.quality = Quality(0.4 / (100 * POINTS), chance=chance)

    asked = AccuracyBudget(drop=0.5)
    budget = asked.of_outputs()
    assert budget.allows(One(0.0))
    assert budget.allows(One(0.09))
    assert not budget.allows(One(0.11))
    assert "0.4 predicted at best, with a sampling error of 0.11" in budget.refusal([One(0.11)])
    assert asked.reduce(1.0).find_broken(One(0.0)) == "max-drop"


def test_both_predictions_of_the_drop_are_within_the_budget() -> None:
    class One:
        quality, bytes = Quality(0.001, expected=0.7), 10

    assert not AccuracyBudget(drop=0.5).allows(One())
    assert AccuracyBudget(drop=0.8).allows(One())
    assert AccuracyBudget(kl=0.002).allows(One())


def test_a_refusal_has_the_requested_bound_and_names_the_margin_if_it_decides() -> None:
    class One:
        def __init__(self, kl: float) -> None:
            self.quality, self.bytes = Quality(kl), 10

    asked = AccuracyBudget(kl=1e-9)
    reduced = replace(asked, requested=asked).reduce(0.002)
    assert reduced.refusal([One(3e-8)]) == "expected at most 1e-09 nats, 3e-08 at best"
    assert reduced.refusal([One(9.99e-10)]) == "expected at most 1e-09 (9.98e-10 with a margin) nats, 1e-09 at best"
    assert asked.refusal([One(3e-8)]) == "expected at most 1e-09 nats, 3e-08 at best"


def test_messages_name_the_file_of_a_session() -> None:
    model = network((6,), keras().layers.Dense(30, "relu"))
    session = prepare_session(model, some(model, 60))
    assert (session.name, replace(session, file="net.keras").name) == (model.name, "net.keras")


def test_a_budget_of_points_keeps_the_default_bound_of_outputs_of_values() -> None:
    """With --max-drop 1 for classes and values the loss of the values once rose by 12 %."""
    truth = Truth("values", np.zeros((3, 1)))
    classes, values = OutputKind("a", True, values=False), OutputKind("b", False, values=True)
    labelled = replace(values, truth=truth)
    points = AccuracyBudget(drop=1.0)
    assert points.complete([classes]) == points
    assert points.complete([classes, labelled]) == AccuracyBudget(drop=1.0, loss=DEFAULT_LOSS)
    assert points.complete([classes, values]) == AccuracyBudget(drop=1.0, kl=DEFAULT_ERROR)
    assert AccuracyBudget(agreement=99.0).complete([classes, labelled]).loss == DEFAULT_LOSS
    for own in (replace(points, loss=9.0), replace(points, kl=0.1), AccuracyBudget(loss=9.0), AccuracyBudget(bytes=9)):
        assert own.complete([classes, labelled]) == own
    assert AccuracyBudget().complete([classes, labelled]) == AccuracyBudget(drop=DEFAULT_DROP, loss=DEFAULT_LOSS)


@pytest.mark.parametrize(
    "budget",
    [
        AccuracyBudget(drop=0.5),
        AccuracyBudget(kl=0.01),
        AccuracyBudget(drop=0.5, kl=0.004),
        AccuracyBudget(loss=5.0),
        AccuracyBudget(agreement=99.0),
        AccuracyBudget(drop=0.0),
    ],
)
@pytest.mark.parametrize(
    "quality",
    [
        Quality(0.003),
        Quality(0.008, 99.2, 0.3, chance=0.2, loss_rise=4.0),
        Quality(0.02, 98.0, 0.1, loss_rise=7.0),
        Quality(0.001, 99.9, lost=0.6, loss_rise=-1.0),
    ],
)
def test_a_network_is_allowed_if_no_more_than_the_budget_is_used(budget: AccuracyBudget, quality: Quality) -> None:
    one = CalibrationResult(1.0, 0.1, (), (), quality, 100)
    used = budget.used(quality)
    assert budget.allows(one) == (used <= 1)
    if budget == AccuracyBudget(kl=0.01):
        assert used == pytest.approx(100 * quality.kl)
