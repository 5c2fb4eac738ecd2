"""Quantization of biases, gains and means: fewer bytes and nearly the same outputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from keras_kinds import network, prepare_session, some

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.quality import measure_quality
from wcodec.calibration.request import LearningRequest, open_session
from wcodec.calibration.trial import run_trial
from wcodec.calibration.vector_rounding import quantize_vectors, reserve_for_vectors
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.keras_backend import keras
from wcodec.evaluation.model_loader import load_model
from wcodec.evaluation.output_kinds import measure_divergence
from wcodec.pipeline.encoder import encode
from wcodec.planning.recipe import Recipe

if TYPE_CHECKING:
    from keras import Model


def test_vectors_except_variances_are_quantized() -> None:
    of = keras().layers
    keras().utils.set_random_seed(4)
    model = network((8, 8, 2), of.Conv2D(60, 3), of.BatchNormalization())
    model.layers[-1].bias.assign(np.array([0.3, -0.2, 0.1, 0.0], np.float32))
    model.layers[0].bias.assign(np.linspace(-1, 1, 60, dtype=np.float32))
    model.layers[1].moving_mean.assign(np.linspace(-1, 1, 60, dtype=np.float32))
    session, before = prepare_session(model, some(model, 200)), model.get_weights()
    start = run_trial(session, 1.5, 0.1)  # quantized vectors gain the more, the coarser the kernels are
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
    measured = measure_divergence(compute_outputs(model, session.held_out), session.outputs, session.kinds)
    assert measured == pytest.approx(found.kl, rel=1e-6)


def test_a_budget_without_room_keeps_the_vectors() -> None:
    of = keras().layers
    model = network((6,), of.Dense(30, "relu"))
    model.layers[-1].bias.assign(np.array([0.3, -0.2, 0.1, 0.7], np.float32))
    session = prepare_session(model, some(model, 100))
    exact = run_trial(session, 1e-4, 0.1)
    assert quantize_vectors(session, exact, AccuracyBudget(kl=0.0)) is exact
    assert reserve_for_vectors(session) == pytest.approx(34 / (34 + 6 * 30 + 30 * 4), abs=0.01)
    assert AccuracyBudget(drop=1.0, kl=0.02).reduce(0.25) == AccuracyBudget(drop=0.75, kl=0.015)


def inputs_far_from_zero(centre: float) -> Model:
    """BatchNormalization of inputs far from zero. Their means are too large for a step that is a fraction of them."""
    of, rng = keras().layers, np.random.default_rng(3)
    model = network((6,), of.BatchNormalization(), of.Dense(30, "relu"))
    model.layers[0].moving_mean.assign(centre * (1 + 0.02 * rng.normal(size=6)))
    model.layers[0].moving_variance.assign(rng.uniform(20, 30, 6))
    return model


def test_the_step_of_a_mean_is_a_fraction_of_the_standard_deviation(tmp_path: Path) -> None:
    model = inputs_far_from_zero(2000.0)
    means = np.asarray(model.layers[0].moving_mean)
    inputs = (means + 5 * np.random.default_rng(4).normal(size=(500, 6))).astype(np.float32)
    session = prepare_session(model, Examples((inputs,)))
    found = quantize_vectors(session, run_trial(session, 0.3, 0.1), AccuracyBudget(kl=0.01))
    rounded = {one.path.rpartition("/")[2]: one for one in found.rounded}
    assert 0 < rounded["moving_mean"].step < 4
    assert found.quality.kl <= 0.01


def test_the_search_measures_the_quality_of_the_file(tmp_path: Path) -> None:
    model = inputs_far_from_zero(2000.0)
    model.layers[1].bias.assign(np.linspace(-0.1, 0.1, 30, dtype=np.float32))
    model.save(tmp_path / "m.keras")
    means = np.asarray(model.layers[0].moving_mean)
    inputs = (means + 5 * np.random.default_rng(4).normal(size=(500, 6))).astype(np.float32)
    opened = open_session(tmp_path / "m.keras", LearningRequest(inputs))
    bits = {opened.model.weights[index].path.rpartition("/")[2]: one for index, one in opened.table.mantissas.items()}
    assert bits["gamma"] == bits["bias"] == 7
    assert bits.get("moving_mean", 23) >= 13
    session = opened.prepare(300)
    found = run_trial(session, 0.3, 0.1)
    encode(tmp_path / "m.keras", tmp_path / "m.wcz", Recipe(), tuned=opened.table.by_name(found.tuned()))
    assert measure_quality(session, load_model(tmp_path / "m.wcz")) == found.quality
