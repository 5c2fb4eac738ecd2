"""Weights that oscillate between two levels are frozen at one; the others are trained further."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from conftest import ROOT

from wcodec.calibration.quantizable_weights import make_weight_table
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.keras_backend import keras
from wcodec.training.epoch import Phase
from wcodec.training.finetune import prepare_training
from wcodec.training.qat_state import build_qat_state, initialize
from wcodec.training.weight_freezing import LEAST, WeightFreezing

PRICE = 0.02


def test_weights_with_a_mean_near_a_level_are_frozen_first_and_vectors_never() -> None:
    of = keras().layers
    model = keras().Sequential([of.Input((2,)), of.Dense(2)])
    inputs, labels = np.ones((64, 2), np.float32), np.zeros(64, np.int64)
    data = prepare_training(model, Examples((inputs,), (labels,)), 1)
    group = build_qat_state(model, data.targets, make_weight_table(model)).group
    freezing = WeightFreezing(group)
    # Means 0.25, 0.5, 1 and 1.9 in the kernel: the first, the second and the last oscillate. The bias does too.
    for number in range(20):
        latents = [number % 4 == 0, number % 2, 1, 2 - (number % 10 == 0), number % 2, number % 2]
        group.latents.values.assign(np.array(latents, np.float32))
        freezing.sample()
    freezing.freeze(3)
    np.testing.assert_array_equal(group.factors.numpy(), [1, 1, 1, 0, 1, 1])
    assert group.latents.values.numpy()[3] == 2
    for number in range(LEAST):
        group.latents.values.assign(np.array([number == 0, number % 2, 1, 2, 0, 0], np.float32))
        freezing.sample()
    freezing.freeze(2)
    np.testing.assert_array_equal(group.factors.numpy(), [0, 1, 1, 0, 1, 1])
    freezing.sample()
    freezing.freeze(1)  # one sample does not show which weights oscillate
    np.testing.assert_array_equal(group.factors.numpy(), [0, 1, 1, 0, 1, 1])


def test_weights_that_oscillate_are_frozen_at_a_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "samples"))
    freezing = importlib.import_module("weight_freezing")
    of = keras().layers
    keras().utils.set_random_seed(2)
    model = keras().Sequential([of.Input((12,)), of.Dense(16, "relu"), of.Dense(3)])
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(320, 12)).astype(np.float32)
    labels = (inputs @ rng.normal(size=(12, 3))).argmax(axis=1)
    data = prepare_training(model, Examples((inputs,), (labels,)), 1)
    state = build_qat_state(model, data.targets, make_weight_table(model))
    initialize(state, 4.0)
    seen: list[list[np.ndarray]] = []

    def keep(epoch: int, loss: float) -> None:
        seen.append([one.copy() for one in state.group.latent_values()])

    freezing.freeze_weights(state, data, Phase(0, PRICE, 0), keep)
    assert len(seen) == freezing.EPOCHS + freezing.AFTER
    frozen = state.group.factors.numpy() == 0
    assert frozen.any()
    before, after = (np.concatenate([one.reshape(-1) for one in latents]) for latents in seen[-2:])
    np.testing.assert_array_equal(after[frozen], np.rint(after[frozen]))
    np.testing.assert_array_equal(after[frozen], before[frozen])
    assert (after[~frozen] != before[~frozen]).mean() > 0.9
    biases = np.concatenate([np.full(weight.shape, len(weight.shape) == 1).reshape(-1) for weight in model.weights])
    assert not frozen[biases].any()
