"""Weights of a network are found in its file, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest

from wcodec.calibration.quantizable_weights import make_weight_table
from wcodec.calibration.trial import run_trial
from wcodec.evaluation.keras_backend import keras, silence_keras
from wcodec.evaluation.weight_mapping import tensor_names
from wcodec.model import FloatWeights
from wcodec.modelfiles import open_model

if TYPE_CHECKING:
    from keras import Model

from keras_kinds import KINDS, attention, network, prepare_session, shared, some


@pytest.mark.parametrize("name", ["net.h5", "net.keras", "net.weights.h5"])
@pytest.mark.parametrize("build", [shared, attention, KINDS["both ways"][0]], ids=["shared", "attention", "both ways"])
def test_every_weight_is_found_in_its_file(tmp_path: Path, name: str, build: Callable[[ModuleType], Model]) -> None:
    model = build(keras().layers)
    with silence_keras():
        model.save_weights(tmp_path / name) if "weights" in name else model.save(tmp_path / name)
    with open_model(tmp_path / name) as file:
        names = tensor_names(model, file)
        values = {tensor.name: tensor.read() for tensor in file.tensors}
    assert list(names) == list(range(len(model.weights)))
    for index, found in names.items():
        assert all(np.array_equal(values[name], np.asarray(model.weights[index])) for name in found)


def test_a_weight_with_values_that_the_file_lacks_has_no_name(tmp_path: Path) -> None:
    model = network((6,), keras().layers.Dense(5))
    model.save_weights(tmp_path / "net.weights.h5")
    model.layers[0].kernel.assign(np.ones((6, 5)))
    with open_model(tmp_path / "net.weights.h5") as file:
        assert list(tensor_names(model, file)) == [1, 2, 3]


def test_tuned_weights_are_returned_by_the_names_of_the_file(tmp_path: Path) -> None:
    of = keras().layers
    model = network((6,), of.Dense(5), of.BatchNormalization(), of.Dense(3, kernel_initializer="zeros"))
    model.save_weights(tmp_path / "net.weights.h5")
    found = run_trial(prepare_session(model, some(model, 60)), 0.5, 0.1)
    with open_model(tmp_path / "net.weights.h5") as file:
        names = tensor_names(model, file)
    tuned = make_weight_table(model, names).by_name(found.tuned())
    first = found.rounded[0]
    assert np.array_equal(tuned[names[first.index][0]].values, first.levels * np.float32(first.step))
    assert tuned[names[first.index][0]].step == first.step
    assert [type(tuned[names[index][0]]) for index, _ in found.statistics] == [FloatWeights, FloatWeights]
    assert len(tuned) == 4
