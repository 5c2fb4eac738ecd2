"""What is predicted to be lost: by the divergence, and by what changed choices cost where they are many."""

from __future__ import annotations

import numpy as np
import pytest
from keras_kinds import network, prepare_session, some

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.quality import MIN_CHANGED, Quality, measure_quality
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.keras_backend import keras


def test_changed_choices_cost_what_the_original_thought_of_them() -> None:
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


def test_too_few_changed_choices_tell_nothing() -> None:
    of = keras().layers
    model = network((6,), of.Dense(30, "relu"))
    session = prepare_session(model, some(model, 5 * MIN_CHANGED - 5))
    model.layers[0].kernel.assign(-np.asarray(model.layers[0].kernel))
    found = measure_quality(session)
    assert found.agreement < 100
    assert found.expected == 0


def test_a_budget_of_accuracy_is_kept_by_both_predictions() -> None:
    class One:
        quality, bytes = Quality(0.001, expected=0.7), 10

    assert not AccuracyBudget(drop=0.5).allows(One())
    assert AccuracyBudget(drop=0.8).allows(One())
    assert AccuracyBudget(kl=0.002).allows(One())
