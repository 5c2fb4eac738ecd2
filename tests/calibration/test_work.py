"""The plan of calibration follows from the network, never from the clock."""

from __future__ import annotations

import itertools
import time

import pytest
from keras_kinds import network, prepare_session, some

from wcodec.calibration import work
from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.step_search import search_steps
from wcodec.evaluation.keras_backend import keras
from wcodec.training.distillation import distill


def test_the_plan_of_a_network_depends_on_its_sizes() -> None:
    layers = keras().layers
    small = prepare_session(model := network((6,), layers.Dense(5)), some(model, 50))
    wide = prepare_session(model := network((16, 16, 3), layers.Conv2D(256, 3), layers.Conv2D(256, 3)), some(model, 50))
    assert work.batch_size(small) == 128
    assert work.batch_size(wide) == 32
    assert work.planned_steps(small) > 5 * work.planned_steps(wide)
    assert work.planned_trials(small) == 24
    for session in (small, wide):
        assert work.step_seconds(session, 32) * work.planned_steps(session) < 2 * work.TRAINING


def test_the_plan_does_not_depend_on_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network((6,), keras().layers.Dense(30, "relu"), keras().layers.Dense(5))
    session = prepare_session(model, some(model, 100))
    budget = AccuracyBudget(kl=0.02)

    def found() -> list[bytes]:
        rounded = search_steps(session, budget, trials=work.planned_trials(session))
        trained = distill(session, rounded, budget, steps=40, seconds=None, seed=0)
        return [one.values.tobytes() for one in (*rounded.rounded, *trained.rounded)]

    quiet = found()
    hours = itertools.count(0, 3600)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(hours)))
    assert found() == quiet
    trials: list[object] = []
    search_steps(session, AccuracyBudget(kl=10.0), trials=2, progress=trials.append)
    assert len(trials) == 2
