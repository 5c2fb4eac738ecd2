"""Biases, gains and means in steps: smaller, and the answers stay."""

from __future__ import annotations

import numpy as np
import pytest
from keras_kinds import network, prepare, some

from wcodec.calibration.budget import Budget
from wcodec.calibration.trial import attempt
from wcodec.calibration.vector_steps import room_for_vectors, with_vectors
from wcodec.evaluation.inference import outputs_of
from wcodec.evaluation.keras_backend import keras
from wcodec.evaluation.metrics import divergence


def test_vectors_get_steps_and_variances_do_not() -> None:
    of = keras().layers
    model = network((8, 8, 2), of.Conv2D(60, 3), of.BatchNormalization())
    model.layers[-1].bias.assign(np.array([0.3, -0.2, 0.1, 0.0], np.float32))
    model.layers[0].bias.assign(np.linspace(-1, 1, 60, dtype=np.float32))
    model.layers[1].moving_mean.assign(np.linspace(-1, 1, 60, dtype=np.float32))
    subject, before = prepare(model, some(model, 200)), model.get_weights()
    start = attempt(subject, 0.3, 0.1)
    found = with_vectors(subject, start, Budget(kl=1.0))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    names = [one.path.rpartition("/")[2] for one in found.latents]
    assert sorted(names) == ["bias", "bias", "gamma", "kernel", "kernel", "moving_mean"]
    assert [model.weights[index].name for index, _ in found.statistics] == ["moving_variance"]
    assert found.bytes < start.bytes - 60
    assert found.bytes * found.divergence**0.35 < start.bytes * start.divergence**0.35
    for one in found.latents:
        model.weights[one.index].assign(one.weights)
    for index, values in found.statistics:
        model.weights[index].assign(values)
    measured = divergence(outputs_of(model, subject.held_out), subject.outputs)
    assert measured == pytest.approx(found.divergence, rel=1e-6)


def test_vectors_that_nothing_may_move_stay() -> None:
    of = keras().layers
    model = network((6,), of.Dense(30, "relu"))
    model.layers[-1].bias.assign(np.array([0.3, -0.2, 0.1, 0.7], np.float32))
    subject = prepare(model, some(model, 100))
    exact = attempt(subject, 1e-4, 0.1)
    assert with_vectors(subject, exact, Budget(kl=0.0)) is exact
    assert room_for_vectors(subject) == pytest.approx(34 / (34 + 6 * 30 + 30 * 4), abs=0.01)
    assert Budget(drop=1.0, kl=0.02).less(0.25) == Budget(drop=0.75, kl=0.015)
