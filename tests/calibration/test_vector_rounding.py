"""Biases, gains and means in steps: smaller, and the answers stay."""

from __future__ import annotations

import numpy as np
import pytest
from keras_kinds import network, prepare_session, some

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.trial import run_trial
from wcodec.calibration.vector_rounding import quantize_vectors, reserve_for_vectors
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.keras_backend import keras
from wcodec.evaluation.metrics import kl_divergence


def test_vectors_get_steps_and_variances_do_not() -> None:
    of = keras().layers
    model = network((8, 8, 2), of.Conv2D(60, 3), of.BatchNormalization())
    model.layers[-1].bias.assign(np.array([0.3, -0.2, 0.1, 0.0], np.float32))
    model.layers[0].bias.assign(np.linspace(-1, 1, 60, dtype=np.float32))
    model.layers[1].moving_mean.assign(np.linspace(-1, 1, 60, dtype=np.float32))
    session, before = prepare_session(model, some(model, 200)), model.get_weights()
    start = run_trial(session, 0.3, 0.1)
    found = quantize_vectors(session, start, AccuracyBudget(kl=1.0))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    names = [one.path.rpartition("/")[2] for one in found.rounded]
    assert sorted(names) == ["bias", "bias", "gamma", "kernel", "kernel", "moving_mean"]
    assert [model.weights[index].name for index, _ in found.statistics] == ["moving_variance"]
    assert found.bytes < start.bytes - 60
    assert found.bytes * found.kl**0.35 < start.bytes * start.kl**0.35
    for one in found.rounded:
        model.weights[one.index].assign(one.weights)
    for index, values in found.statistics:
        model.weights[index].assign(values)
    measured = kl_divergence(compute_outputs(model, session.held_out), session.outputs)
    assert measured == pytest.approx(found.kl, rel=1e-6)


def test_vectors_that_nothing_may_move_stay() -> None:
    of = keras().layers
    model = network((6,), of.Dense(30, "relu"))
    model.layers[-1].bias.assign(np.array([0.3, -0.2, 0.1, 0.7], np.float32))
    session = prepare_session(model, some(model, 100))
    exact = run_trial(session, 1e-4, 0.1)
    assert quantize_vectors(session, exact, AccuracyBudget(kl=0.0)) is exact
    assert reserve_for_vectors(session) == pytest.approx(34 / (34 + 6 * 30 + 30 * 4), abs=0.01)
    assert AccuracyBudget(drop=1.0, kl=0.02).reduce(0.25) == AccuracyBudget(drop=0.75, kl=0.015)
