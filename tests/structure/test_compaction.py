"""Dead units are removed, and the outputs stay the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import THOROUGH

from tests.structure.generated_graphs import answers, draw_network, inputs_of
from wcodec.evaluation.keras_backend import keras
from wcodec.evaluation.model_loader import load_model
from wcodec.structure.compaction import compact
from wcodec.structure.graph import trace

RECORDS = Path(__file__).resolve().parents[2] / "samples" / "records"


@pytest.mark.parametrize("seed", range(80 if THOROUGH else 8))
def test_removing_emptied_units_keeps_the_outputs(seed: int) -> None:
    model, rng = draw_network(seed), np.random.default_rng(seed)
    graph = trace(model)
    emptied, outgoing = graph.removable & (rng.random(graph.count) < 0.5), rng.random(graph.count) < 0.5
    for one in graph.weights:
        value = keras().ops.convert_to_numpy(one.variable).copy()
        slices = np.moveaxis(value, one.axis, 0)
        for position, unit in enumerate(one.units.tolist()):
            if unit >= 0 and emptied[unit] and one.role == ("in" if outgoing[unit] else "out") and value.ndim > 1:
                slices[position] = 0
        one.variable.assign(value)
    inputs = inputs_of(model, seed)
    before = answers(model, inputs)
    found = compact(model)
    assert found.removed > 0
    for whole, part in zip(before, answers(found.model, inputs), strict=True):
        assert np.abs(whole - part).max() <= 1e-5 * max(1.0, float(np.abs(whole).max()))


def test_a_constant_moves_into_a_new_bias_of_the_next_layer() -> None:
    layers = keras().layers
    dense = layers.Dense(3, "sigmoid"), layers.Dense(2, use_bias=False)
    model = keras().Sequential([layers.Input((4,)), *dense])
    kernel = np.ones((4, 3), np.float32)
    kernel[:, 1] = 0
    model.layers[0].set_weights([kernel, np.array([0.1, 0.2, 0.3], np.float32)])
    found = compact(model)
    assert [tuple(one.shape) for one in found.model.weights] == [(4, 2), (2,), (2, 2), (2,)]
    inputs = inputs_of(model, 0)
    np.testing.assert_allclose(answers(model, inputs)[0], answers(found.model, inputs)[0], atol=1e-6)


def test_a_constant_stays_before_a_padded_convolution_unless_it_is_zero() -> None:
    layers = keras().layers
    convolutions = layers.Conv2D(3, 1, activation="relu"), layers.Conv2D(2, 3, padding="same")
    model = keras().Sequential([layers.Input((4, 4, 1)), *convolutions])
    model.layers[0].set_weights([np.array([[[[1.0, 0.0, 0.0]]]]), np.array([0.0, 0.5, -0.5])])
    assert compact(model).removed == 1


def test_a_network_without_dead_units_is_unchanged() -> None:
    model = draw_network(0)
    assert compact(model).model is model


@pytest.mark.parametrize(
    ("name", "parameters", "constant"),
    [("lenet5", 113_135, 0), ("lenet5-small", 80_065, 0), ("lenet300", 104_763, 4), ("tutorial_cnn", 18_710, 0)],
)
def test_a_record_has_no_dead_units(name: str, parameters: int, constant: int) -> None:
    """Units of a constant output stay where biases that take it up would need more bytes (`compact_record.py`)."""
    model = load_model(RECORDS / f"{name}.wcz")
    assert model.count_params() == parameters
    assert compact(model, folds=False).removed == 0
    assert compact(model).removed == constant
