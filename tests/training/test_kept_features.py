"""First layers with few weights that take much time are not trained; training uses their outputs."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest

from wcodec.calibration import work
from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.session import CalibrationSession, prepare_session
from wcodec.calibration.trial import run_trial
from wcodec.evaluation.examples import Examples, hold_out
from wcodec.evaluation.keras_backend import keras, list_chain
from wcodec.training.distill_state import build_distill_state, initialize
from wcodec.training.distillation import distill
from wcodec.training.kept_features import split_network

if TYPE_CHECKING:
    from keras import Model


def wide_head(of: ModuleType) -> Model:
    """A convolution of 40 weights with most of the multiply-adds, and dense layers of 40,000."""
    keras().utils.set_random_seed(3)
    x = inputs = of.Input((16, 16, 1))
    for layer in (of.Conv2D(4, 3, activation="relu"), of.MaxPooling2D(4), of.Flatten(), of.Dense(800, "relu")):
        x = layer(x)
    return keras().Model(inputs, of.Dense(4)(x))


def session(model: Model) -> CalibrationSession:
    images = np.random.default_rng(4).normal(size=(400, 16, 16, 1)).astype(np.float32)
    return prepare_session(model, *hold_out(Examples((images,))), most=100)


def count_multiplications(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count only multiply-adds and outputs as work, for in so small a network the rest takes most of the time."""
    monkeypatch.setattr("wcodec.training.kept_features.FEW", 0.01)
    for name in ("WEIGHT", "TENSOR", "CALL"):
        monkeypatch.setattr(f"wcodec.calibration.work.{name}", 0.0)


def test_only_a_chain_of_layers_is_split_into_kept_and_trained_layers() -> None:
    of = keras().layers
    model = wide_head(of)
    names = ["Conv2D", "MaxPooling2D", "Flatten", "Dense", "Dense"]
    assert [type(layer).__name__ for layer in list_chain(model)] == names
    stacked = keras().Sequential([of.Input((16, 16, 1)), *model.layers[1:]])
    assert [type(layer).__name__ for layer in list_chain(stacked)] == names
    inputs = of.Input((8,))
    for last in (of.Add()([inputs, of.Dense(8)(inputs)]), 2 * of.Dense(8)(inputs)):
        assert list_chain(keras().Model(inputs, last)) == []
    for first in ([of.Input((8, 1)), of.Masking()], [of.Input((8,)), of.Embedding(9, 4, mask_zero=True)]):
        assert list_chain(keras().Sequential([*first, of.LSTM(2)])) == []
    twice = of.Dense(8)
    assert list_chain(keras().Model(inputs, twice(twice(inputs)))) == [twice, twice]


def test_the_first_layers_keep_their_levels_and_the_others_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    count_multiplications(monkeypatch)
    bench = session(wide_head(keras().layers))
    split = split_network(bench, 32)
    assert split is not None
    assert [layer.__class__.__name__ for layer in split.first.layers] == ["Conv2D", "MaxPooling2D", "Flatten"]
    assert work.planned_steps(bench, split.kept) > work.planned_steps(bench)
    start = run_trial(bench, 1.0, 0.1)
    found = distill(bench, start, AccuracyBudget(kl=100.0), steps=40, seconds=None, seed=0)
    assert found is not start
    kernels = {one.path.split("/")[0]: one for one in found.rounded}
    first, *others = start.rounded
    assert np.array_equal(kernels.pop(first.path.split("/")[0]).weights, first.weights)
    assert all(not np.array_equal(kernels[one.path.split("/")[0]].weights, one.weights) for one in others)


def test_features_are_the_outputs_of_the_rounded_first_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    count_multiplications(monkeypatch)
    model = wide_head(keras().layers)
    bench = session(model)
    start, images = run_trial(bench, 1.0, 0.1), bench.held_out.inputs[0]
    right = np.asarray(model(images))
    state = build_distill_state(bench, start, split_network(bench, 32))
    initialize(state, start)
    assert state.ask is not None
    features, answers = (np.asarray(some[0]) for some in state.ask((images,)))
    assert np.allclose(answers, right, atol=1e-5)
    model.layers[1].kernel.assign(start.rounded[0].weights)
    for layer in model.layers[1:4]:
        images = layer(images)
    assert np.allclose(features, images, atol=1e-5)


def test_a_network_is_not_split_if_its_first_layers_take_little_time() -> None:
    of = keras().layers
    assert split_network(session(wide_head(of)), 32) is None  # its weights take most of the time
    model = keras().Sequential([of.Input((16, 16, 1)), of.Flatten(), of.Dense(30, "relu"), of.Dense(4)])
    assert split_network(session(model), 32) is None
