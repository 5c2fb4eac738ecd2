"""`samples/weight_freezing.py`: weights that move between two levels stop at one, and the others go on learning."""

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

PRICE = 0.02


def test_weights_that_move_are_frozen_at_a_level(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert state.group.factors is not None
    frozen = state.group.factors.numpy() == 0
    assert frozen.any()
    before, after = (np.concatenate([one.reshape(-1) for one in latents]) for latents in seen[-2:])
    np.testing.assert_array_equal(after[frozen], np.rint(after[frozen]))
    np.testing.assert_array_equal(after[frozen], before[frozen])
    assert (after[~frozen] != before[~frozen]).mean() > 0.9
    biases = np.concatenate([np.full(weight.shape, len(weight.shape) == 1).reshape(-1) for weight in model.weights])
    assert not frozen[biases].any()
