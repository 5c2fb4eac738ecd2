"""Training without labels lowers a learning rate that destroys the outputs."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from keras_kinds import network, prepare_session, some

from wcodec.calibration.trial import run_trial
from wcodec.evaluation.keras_backend import keras
from wcodec.training.augmentation import augment, draw_mixtures
from wcodec.training.distill_state import build_distill_state
from wcodec.training.learning_rate import FACTORS, choose_rate_factor


@pytest.mark.parametrize(("scale", "factors"), [(1.0, FACTORS[:1]), (60.0, FACTORS[1:])], ids=["usual", "too large"])
def test_a_learning_rate_that_destroys_the_outputs_is_lowered(scale: float, factors: tuple[float, ...]) -> None:
    of = keras().layers
    model = network((6, 6, 2), of.Conv2D(16, 3, use_bias=False), of.BatchNormalization(), of.ReLU())
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([8 * kernel, bias])
    session = prepare_session(model, some(model, 200))
    start = run_trial(session, 0.5, 0.05)
    state, before = build_distill_state(session, start), model.get_weights()
    inputs = augment(session, np.random.default_rng(0), moved=False)
    draw = partial(draw_mixtures, inputs, 32, np.random.default_rng(0))
    assert choose_rate_factor(state, start, draw, scale) in factors
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))
