"""The training of the records: chains of layers without dead units, several versions of each example."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from conftest import ROOT

from samples.dead_units import prune_units, restore_shape
from samples.unit_order import find_order
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.keras_backend import keras
from wcodec.evaluation.model_loader import load_model
from wcodec.training.epoch import TrainingData, draw_batches
from wcodec.training.losses import LossTargets
from wcodec.training.unit_sorting import sort_units

SAMPLES = ROOT / "samples"
RNG = np.random.default_rng(4)


@pytest.mark.parametrize("name", ["lenet300.h5", "lenet5.keras", "tutorial_cnn.h5"])
def test_removing_dead_units_keeps_the_outputs(name: str) -> None:
    model = load_model(SAMPLES / name)
    levels = [np.rint(np.asarray(weight) / 0.05).astype(np.int32) for weight in model.weights]
    for kernel, bias in zip(levels[:-2:2], levels[1:-2:2], strict=True):
        dead = RNG.random(kernel.shape[-1]) < 0.5
        kernel[..., dead] = bias[dead] = 0
    levels[-2][RNG.random(len(levels[-2])) < 0.3] = 0
    for weight, level in zip(model.weights, levels, strict=True):
        weight.assign(level * np.float32(0.05))
    part = prune_units(model, levels)
    assert part is not None
    assert part.model.count_params() < 0.8 * model.count_params()
    inputs = RNG.random((5, *model.input_shape[1:])).astype(np.float32)
    before = np.asarray(model(inputs))
    assert np.allclose(np.asarray(part.model(inputs)), before, atol=1e-5)
    for index, (weight, small) in enumerate(zip(model.weights, part.model.weights, strict=True)):
        weight.assign(restore_shape(part, index, np.asarray(small)))
    assert np.allclose(np.asarray(model(inputs)), before, atol=1e-5)


def test_the_best_order_of_units_has_fewer_bytes_and_the_same_outputs() -> None:
    model = load_model(SAMPLES / "tutorial_cnn.h5")
    levels = [np.rint(np.asarray(weight) / 0.4).astype(np.int32) for weight in model.weights]

    def size(levels: list[np.ndarray]) -> int:
        return len(zlib.compress(b"".join(level.astype(np.int8).tobytes() for level in levels), 9))

    found = find_order(model, levels, size)
    assert size(found) < size(levels)
    inputs = RNG.random((5, *model.input_shape[1:])).astype(np.float32)
    answers = []
    for one in (levels, found):
        for weight, level in zip(model.weights, one, strict=True):
            weight.assign(level * np.float32(0.4))
        answers.append(np.asarray(model(inputs)))
    assert np.allclose(*answers, atol=1e-4)


@pytest.mark.parametrize("name", ["lenet300.h5", "lenet5.keras", "tutorial_cnn.h5"])
def test_reordering_hidden_units_keeps_the_outputs(name: str) -> None:
    model = load_model(SAMPLES / name)
    levels = [np.rint(np.asarray(weight) / 0.05).astype(np.int32) for weight in model.weights]
    inputs = RNG.random((5, *model.input_shape[1:])).astype(np.float32)
    answers = []
    for given in (levels, sort_units(model, levels)):
        for weight, level in zip(model.weights, given, strict=True):
            weight.assign(level * np.float32(0.05))
        answers.append(np.asarray(model(inputs)))
    assert not np.array_equal(np.asarray(model.weights[0]), levels[0] * np.float32(0.05))
    assert np.allclose(*answers, atol=1e-4)


def test_a_layer_of_dead_units_keeps_one_unit() -> None:
    of = keras().layers
    model = keras().Sequential([of.Input((3,)), of.Dense(4, "relu"), of.Dense(2)])
    part = prune_units(model, [np.zeros(weight.shape, np.int32) for weight in model.weights])
    assert part is not None
    assert [tuple(weight.shape) for weight in part.model.weights] == [(3, 1), (1,), (1, 2), (2,)]


def test_a_network_that_is_not_a_chain_keeps_its_units() -> None:
    of = keras().layers
    others = [
        [of.Input((3,)), of.Dense(4, "sigmoid"), of.Dense(2)],
        [of.Input((3,)), of.Dense(4), of.LayerNormalization(), of.Dense(2)],
        [of.Input((8, 8, 4)), of.Conv2D(4, 3, groups=2), of.Flatten(), of.Dense(2)],
    ]
    for layers in others:
        model = keras().Sequential(layers)
        assert prune_units(model, [np.zeros(weight.shape, np.int32) for weight in model.weights]) is None


def test_an_epoch_uses_one_version_of_each_example() -> None:
    numbers = np.arange(300, dtype=np.float32)[:, None]
    targets = LossTargets((), (), (numbers,), ((1.0, 1.0),))
    training = TrainingData(Examples((numbers,)), targets, [], seed=0, versions=3)
    assert training.count == 100
    first, second = (
        np.concatenate([inputs[0][:, 0] for inputs, _, _ in draw_batches(training, (0, epoch))]).astype(int)
        for epoch in (0, 1)
    )
    assert len(set(first % 100)) == len(first) == 96
    assert {*(first // 100)} == {0, 1, 2}
    assert not np.array_equal(first, second)
