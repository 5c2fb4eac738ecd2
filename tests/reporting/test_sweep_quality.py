"""Sweeps that evaluate the model."""

from __future__ import annotations

import numpy as np
import pytest

from wcodec.calibration.request import LearningRequest
from wcodec.calibration.sweep_judge import open_oracle
from wcodec.evaluation.keras_backend import keras
from wcodec.planning.parsing import parse_recipe
from wcodec.reporting.sweep import sweep
from wcodec.reporting.sweep_result import Sweep


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    folder = tmp_path_factory.mktemp("sweep")
    keras().utils.set_random_seed(5)
    layers = keras().layers
    model = keras().Sequential([
        keras().Input((6, 6, 1)), layers.Conv2D(12, 3, activation="relu"), layers.BatchNormalization(),
        layers.Flatten(), layers.Dense(24, activation="relu"), layers.Dense(5),
    ])  # fmt: skip
    model.save(folder / "m.keras")
    x = np.random.default_rng(6).normal(size=(300, 6, 6, 1)).astype(np.float32)
    np.savez(folder / "d.npz", x=x, y=np.argmax(model(x), axis=-1))
    bench = open_oracle(folder / "m.keras", LearningRequest(str(folder / "d.npz")))
    before = [np.asarray(weight) for weight in bench.session.model.weights]
    swept = sweep(folder / "m.keras", parse_recipe({}), points=3, oracle=bench)
    assert all(np.array_equal(a, b) for a, b in zip(before, bench.session.model.weights, strict=True))
    return swept


def test_points_have_losses_by_outputs_and_labels(found: Sweep) -> None:
    assert found.examples == 60
    assert found.accuracy == 100.0
    judged = [point.judged for point in found.points if point.judged]
    assert len(judged) == len(found.points) == 6
    for loss in judged:
        assert loss.divergence > 0
        assert loss.predicted_drop == pytest.approx(42 * loss.divergence)
        assert loss.accuracy is not None
        assert loss.accuracy_drop == pytest.approx(100 - loss.accuracy)
    data_free = [point.judged.divergence for point in found.points if point.judged and point.method == "preset"]
    assert data_free == sorted(data_free)


def test_every_kernel_has_its_own_loss(found: Sweep) -> None:
    assert len(found.sensitivities) == 3
    assert all(kernel.judged and kernel.judged.divergence > 0 for kernel in found.sensitivities)
    assert found.complete
