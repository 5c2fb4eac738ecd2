"""Calibration: error feedback loses less than plain rounding, for every kind of layer with a kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import ROOT

from wcodec.calibration.activations import Float32, RecordedLayer, count_calls, record_all_rows, record_rows
from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.config import CalibrationConfig
from wcodec.calibration.hessian import accumulate_hessians
from wcodec.calibration.linear_ops import LinearOp, find_linear_ops
from wcodec.calibration.quantizable_weights import initial_steps, make_weight_table
from wcodec.calibration.step_search import search_steps
from wcodec.calibration.trial import CalibrationResult, balance_steps, run_trial
from wcodec.container.dtypes import round_step
from wcodec.errors import BudgetError, RecipeError
from wcodec.evaluation.datasets import load_examples
from wcodec.evaluation.evaluate import evaluate
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.keras_backend import Arguments, intercept_calls, keras, list_layers, pack_inputs, read_values
from wcodec.evaluation.model_loader import load_model, model_inputs
from wcodec.evaluation.output_kinds import measure_divergence

if TYPE_CHECKING:
    from keras import Model

from keras_kinds import KINDS, network, prepare_session, shared, some

SAMPLES = ROOT / "samples"
RNG = np.random.default_rng(3)


# --- kinds of layers -----------------------------------------------------------------------------------------------
@pytest.fixture(params=KINDS.values(), ids=list(KINDS))
def kind(request: pytest.FixtureRequest) -> tuple[Model, int]:
    keras().utils.set_random_seed(1)
    build, count = request.param
    return build(keras().layers), count


def test_kernels_that_multiply_rows_have_an_operation(kind: tuple[Model, int]) -> None:
    model, count = kind
    assert sum(kernel.op is not None for kernel in make_weight_table(model).kernels) == count
    for kernel in make_weight_table(model).kernels:
        if kernel.op is not None:
            assert np.array_equal(kernel.op.as_kernel(kernel.op.as_matrix(kernel.original)), kernel.original)


def test_the_rows_times_the_matrix_equal_the_outputs_of_the_layer(kind: tuple[Model, int]) -> None:
    model, _ = kind
    for layer in list_layers(model):
        ops = find_linear_ops(layer)
        if len(ops) == 1 and getattr(layer, "activation", None) in (None, keras().activations.linear):
            if layer.bias is not None:
                layer.bias.assign(0 * layer.bias)
            with intercept_calls(layer, partial(check, ops[0])):
                model(pack_inputs(model, some(model, 3).inputs))


def check(op: LinearOp, own: Callable[..., object], given: Arguments, named: dict[str, object]) -> object:
    outputs = own(*given, **named)
    found = op.input_rows((*given, *named.values()), 10**6, RNG) @ op.as_matrix(read_values(op.variable))
    assert np.allclose(found.reshape(-1), np.asarray(outputs).reshape(-1), atol=1e-4)
    return outputs


def test_a_trial_measures_and_restores_the_weights(kind: tuple[Model, int]) -> None:
    model, _ = kind
    before = model.get_weights()
    session = prepare_session(model, some(model, 60))
    fine, coarse = run_trial(session, 0.01, 0.1), run_trial(session, 2.0, 0.1)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert fine.kl < min(1e-3, coarse.kl)
    assert fine.bytes > coarse.bytes
    for kernel, found in zip(session.kernels, sorted(fine.rounded, key=lambda one: one.index), strict=True):
        assert found.index == kernel.index
        assert found.step == round_step(found.step)
        assert np.abs(found.levels * found.step - kernel.original).max() < 0.2
    assert run_trial(session, 2.0, 0.1).kl == coarse.kl


def test_calls_of_shared_layers_and_time_steps_are_counted() -> None:
    model = shared(keras().layers)
    dense = next(layer for layer in list_layers(model) if type(layer).__name__ == "Dense")
    assert count_calls(model, [dense], some(model, 3).inputs) == [2]


def test_hessians_are_means_over_all_rows() -> None:
    config = CalibrationConfig(max_inputs=4)
    model = network((6,), keras().layers.Dense(5))
    dense, x = model.layers[0], some(model, 30).inputs[0].astype(np.float32)
    ops = find_linear_ops(dense)
    rows = list(record_rows(model, RecordedLayer(dense, ops, 1, 2), [(x[:10],), (x[10:],)], 0, config))
    ((first, second),) = accumulate_hessians(ops, rows, [(2 * rows[0][0],), (2 * rows[1][0],)], 4)
    assert np.allclose(first.h, x[:, :3].T @ x[:, :3] / 30, atol=1e-5)
    assert np.allclose(second.h, x[:, 3:].T @ x[:, 3:] / 30, atol=1e-5)
    assert first.cross is not None
    assert np.allclose(first.cross, first.h, atol=1e-5)
    assert accumulate_hessians(ops, rows, None, 4)[0][0].cross is None
    assert np.isfinite(run_trial(prepare_session(model, some(model, 60), config), 0.5, 0.1).kl)


def test_a_trial_keeps_biases_gains_and_statistics() -> None:
    of = keras().layers
    model = network(
        (6, 3), of.Normalization(), of.Dense(5), of.BatchNormalization(), of.LayerNormalization((1, 2)), of.GRU(4)
    )
    names = [model.weights[kernel.index].path.split("/", 1)[-1] for kernel in make_weight_table(model).kernels]
    assert [name.rpartition("/")[2] for name in names] == ["kernel", "kernel", "recurrent_kernel", "kernel"]


def test_steps_grow_with_the_rms_and_the_number_of_weights_and_zeros_have_none() -> None:
    model = network((6,), keras().layers.Dense(50), keras().layers.Dense(50, kernel_initializer="zeros"))
    steps = initial_steps(make_weight_table(model).kernels, 1.0)
    rms = [np.sqrt(np.square(kernel.original).mean()) for kernel in make_weight_table(model).kernels]
    assert steps[0] == pytest.approx(rms[0] * (300 / 2500) ** 0.25, rel=0.01)
    assert steps[2] == 0
    assert run_trial(prepare_session(model, some(model, 50)), 1.0, 0.1).rounded[1].levels.any() == np.False_


def test_kernels_with_little_effect_on_the_outputs_have_larger_steps() -> None:
    of = keras().layers
    given = keras().Input((6,))
    loud, low = of.Dense(4, name="loud")(given), of.Dense(4, name="low")(given)
    model = keras().Model(given, of.Add()([loud, of.Rescaling(1 / 100)(low)]))
    session = prepare_session(model, some(model, 500))
    paths = [kernel.variable.path for kernel in session.kernels]
    factors = dict(zip(paths, balance_steps(session, 1.0, 0.1), strict=True))
    assert factors["low/kernel"] > 4 * factors["loud/kernel"]
    before = model.get_weights()
    assert len(balance_steps(prepare_session(model, some(model, 50)), 1.0, 0.1)) == 2
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


# --- batch normalization -------------------------------------------------------------------------------------------
def test_batch_normalization_has_the_statistics_with_the_least_divergence() -> None:
    of = keras().layers
    model = network((6,), of.Dense(30, "relu"), of.Dropout(0.9), of.BatchNormalization(), of.Dense(30, "relu"))
    examples = some(model, 2000)
    norm = model.layers[2]
    norm.trainable = False
    kept = np.linspace(-1, 1, 30), np.linspace(0.5, 2, 30)
    norm.moving_mean.assign(kept[0])
    norm.moving_variance.assign(kept[1])
    session = prepare_session(model, examples)
    found = run_trial(session, 2.0, 0.1)
    assert not norm.trainable
    assert norm.momentum == 0.99
    assert [model.weights[index].name for index, _ in found.statistics] == ["moving_mean", "moving_variance"]

    def record_inputs() -> Float32:
        return np.concatenate([np.asarray(model.layers[0](batch[0])) for batch in session.normalizing])

    usual = record_inputs()
    for one in found.rounded:
        model.weights[one.index].assign(one.weights)
    hidden = record_inputs()
    anew = hidden.mean(axis=0), hidden.var(axis=0)
    moved = kept[0] + anew[0] - usual.mean(axis=0), kept[1] * anew[1] / usual.var(axis=0)
    moved_by = []
    for mean, variance in (kept, moved, anew):
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(variance)
        moved_by.append(measure_divergence(compute_outputs(model, session.held_out), session.outputs, session.kinds))
    assert found.kl == pytest.approx(min(moved_by), rel=0.02)
    mean, variance = (kept, moved, anew)[int(np.argmin(moved_by))]
    assert np.allclose(found.statistics[0][1], mean, atol=1e-3)
    assert np.allclose(found.statistics[1][1], variance, rtol=0.05)


def test_rows_recorded_together_equal_those_of_each_layer_within_a_bound_on_memory() -> None:
    of = keras().layers
    model = network((8, 8, 1), of.Conv2D(4, 3), of.Conv2D(6, 3), of.Flatten(), of.Dense(5))
    session = prepare_session(model, some(model, 60))
    recorded = [group.recorded for group in session.groups if group.recorded]
    every = record_all_rows(model, recorded, session.fitting, 0, 1 << 20, session.config)
    for one, rows in zip(recorded, every, strict=True):
        alone = record_rows(model, one, session.fitting, 0, session.config)
        for (first,), (second,) in zip(rows, alone, strict=True):
            assert np.allclose(first, second, atol=1e-5)
    room = sum(rows.nbytes for batch in every[0] for rows in batch)
    assert len(record_all_rows(model, recorded, session.fitting, 0, room, session.config)) == 1


def test_few_batches_give_the_same_number_of_rows_together_and_alone() -> None:
    config = CalibrationConfig(max_rows=64)
    model = network((20,), keras().layers.Dense(5))
    session = prepare_session(model, some(model, 60), config)
    assert session.groups[0].recorded is not None
    one = replace(session.groups[0].recorded, batches=5)
    batches = session.fitting[:1]
    together = record_all_rows(model, [one], batches, 0, 1 << 20, config)[0][0]
    alone = next(iter(record_rows(model, one, batches, 0, config)))
    assert together[0].shape == alone[0].shape


def test_fine_steps_keep_the_outputs_if_statistics_differ_from_those_of_the_inputs() -> None:
    of = keras().layers
    model = network((6,), of.Dense(30), of.BatchNormalization(), of.Dense(5))
    model.layers[1].moving_mean.assign(np.linspace(-1, 1, 30))
    assert run_trial(prepare_session(model, some(model, 500)), 1e-3, 0.1).kl < 1e-5


# --- a sample -----------------------------------------------------------------------------------------------------
def tuned(model: Model, found: CalibrationResult) -> Model:
    weights = model.get_weights()
    for one in found.rounded:
        weights[one.index] = one.levels * np.float32(one.step)
    for index, values in found.statistics:
        weights[index] = values
    model.set_weights(weights)
    return model


def test_calibration_makes_a_sample_fifty_times_smaller_at_half_a_point() -> None:
    model = load_model(SAMPLES / "lenet300.h5")
    examples = load_examples(f"{SAMPLES / 'mnist.npz'}:train", model_inputs(model), limit=3000)
    found = search_steps(prepare_session(model, examples), AccuracyBudget(drop=0.5))
    assert 15_000 < found.bytes < 21_000
    assert found.quality.drop <= 0.5
    accuracy = evaluate(tuned(model, found), f"{SAMPLES / 'mnist.npz'}:test").accuracy
    assert accuracy is not None
    assert 99.09 - accuracy < 0.8


def test_feedback_diverges_less_than_plain_rounding_on_a_sample() -> None:
    model = load_model(SAMPLES / "lenet5.keras")
    examples = load_examples(f"{SAMPLES / 'mnist.npz'}:train", model_inputs(model), limit=300)
    session = prepare_session(model, examples)
    corrected, plain = run_trial(session, 4.8, 0.1), run_trial(session, 4.8, 1e6)
    assert corrected.kl < 0.25 * plain.kl


def test_a_search_without_a_result_in_the_budget_is_an_error() -> None:
    model = network((6,), keras().layers.Dense(5))
    with pytest.raises(BudgetError, match=r"expected a drop of at most -1 points, .* predicted at best"):
        search_steps(prepare_session(model, some(model, 50)), AccuracyBudget(drop=-1), seconds=0)


def test_the_search_continues_until_a_result_is_within_the_budget() -> None:
    model = network((6,), keras().layers.Dense(30, "relu"))
    found = search_steps(prepare_session(model, some(model, 50)), AccuracyBudget(drop=1e-3), seconds=0)
    assert found.quality.drop <= 1e-3


def test_too_few_examples_and_networks_without_kernels_are_refused() -> None:
    model = network((6,), keras().layers.Dense(5))
    with pytest.raises(RecipeError, match="expected 10 examples or more, got 9"):
        prepare_session(model, some(model, 9))
    bare = keras().Sequential([keras().layers.Input((4,)), keras().layers.BatchNormalization()])
    with pytest.raises(RecipeError, match="expected weights of two or more dimensions, found none"):
        prepare_session(bare, some(bare, 20))
