"""Calibration: error feedback beats plain rounding, on every kind of layer that has a kernel."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from wcodec.errors import BudgetError, RecipeError
from wcodec.learning.attempt import Calibration, attempt, balance
from wcodec.learning.backend import hushed, keras
from wcodec.learning.calibrate import calibrate
from wcodec.learning.data import load
from wcodec.learning.divergence import divergence
from wcodec.learning.evaluate import evaluate
from wcodec.learning.examples import Examples
from wcodec.learning.feedback import aimed, damped, feedback_matrix, latents
from wcodec.learning.kernels import all_layers, kernels_of, steps_of, values_of
from wcodec.learning.load import load_model, model_inputs
from wcodec.learning.moments import count_calls, moments, rows_met, watched
from wcodec.learning.patches import patches
from wcodec.learning.predict import packed
from wcodec.learning.sites import Arguments, Site, sites_of
from wcodec.learning.subject import Subject
from wcodec.learning.subject import prepare as prepare_subject
from wcodec.learning.tensor_names import tensor_names, tuned_tensors
from wcodec.modelfiles import open_model
from wcodec.rules import round_step

if TYPE_CHECKING:
    from keras import Layer, Model

SAMPLES = Path(__file__).parent.parent / "samples"
RNG = np.random.default_rng(3)
Float32 = npt.NDArray[np.float32]


# --- arithmetic ----------------------------------------------------------------------------------------------------
def plain_latents(weights: Float32, moments_: npt.NDArray[np.float64], damping: float) -> Float32:
    """GPTQ as its paper has it: by the Cholesky factor of the inverse, one row after another."""
    damped = moments_ + damping * np.diagonal(moments_).mean() * np.eye(len(moments_))
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    moved = weights.astype(np.float64)
    for i in range(len(moved)):
        error = (moved[i] - np.rint(moved[i])) / factor[i, i]
        moved[i + 1 :] -= np.outer(factor[i, i + 1 :], error)
    return moved.astype(np.float32)


def correlated(rows: int, inputs: int) -> Float32:
    return (RNG.normal(size=(rows, 4)) @ RNG.normal(size=(4, inputs)) + RNG.normal(size=(rows, inputs)) / 4).astype(
        np.float32
    )


@pytest.mark.parametrize("inputs", [1, 5, 64, 150])
def test_feedback_is_that_of_the_papers_inverse(inputs: int) -> None:
    x = correlated(1000, inputs).astype(np.float64)
    weights = RNG.normal(size=(inputs, 7)).astype(np.float32) * 3
    found = latents(weights, feedback_matrix(damped(x.T @ x / 1000, 0.01)))
    assert np.allclose(found, plain_latents(weights, x.T @ x / 1000, 0.01), atol=1e-3)


def test_feedback_lowers_the_error_of_the_outputs() -> None:
    x = correlated(1000, 100)
    weights = RNG.normal(size=(100, 20)).astype(np.float32)
    moved = latents(weights, feedback_matrix(damped((x.T @ x).astype(np.float64), 0.01)))
    fed, plain = (np.square(x @ (np.rint(w) - weights)).sum() for w in (moved, weights))
    assert fed < 0.5 * plain


def test_weights_are_aimed_at_what_the_original_computed() -> None:
    x0 = correlated(1000, 20).astype(np.float64)
    x = x0 @ (np.eye(20) + RNG.normal(size=(20, 20)) / 10)
    weights = RNG.normal(size=(20, 3)).astype(np.float32)
    best = np.linalg.lstsq(x, x0 @ weights, rcond=None)[0]
    assert np.allclose(aimed(weights, damped(x.T @ x, 0), x.T @ (x0 - x)), best, atol=1e-4)


def test_inputs_that_never_speak_get_no_feedback() -> None:
    x = correlated(100, 10)
    x[:, 3] = 0
    feedback = feedback_matrix(damped((x.T @ x).astype(np.float64), 0.01))
    assert not feedback[3].any()
    assert not feedback[:, 3].any()
    assert np.isfinite(feedback_matrix(damped(np.zeros((4, 4)), 0.1))).all()


@pytest.mark.parametrize(
    ("shape", "kernel", "strides", "dilations", "padding"),
    [
        ((9, 2), (3,), (2,), (1,), "valid"),
        ((9, 2), (3,), (1,), (2,), "causal"),
        ((8, 7, 3), (3, 2), (1, 2), (1, 1), "same"),
        ((8, 7, 3), (2, 3), (1, 1), (2, 2), "valid"),
        ((6, 5, 4, 2), (2, 3, 2), (2, 1, 1), (1, 1, 1), "same"),
    ],
)
def test_patches_times_the_kernel_are_the_convolution(
    shape: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...], padding: str
) -> None:
    kind = {1: keras().layers.Conv1D, 2: keras().layers.Conv2D, 3: keras().layers.Conv3D}[len(kernel)]
    layer = kind(5, kernel, strides=strides, dilation_rate=dilations, padding=padding, use_bias=False)
    images = RNG.normal(size=(2, *shape)).astype(np.float32)
    outputs = np.asarray(layer(images))
    rows = patches(images, kernel, strides, dilations, padding, 10**6, RNG)
    assert np.allclose(rows @ np.asarray(layer.kernel).reshape(-1, 5), outputs.reshape(-1, 5), atol=1e-5)
    assert patches(images, kernel, strides, dilations, padding, 3, RNG).shape == (3, rows.shape[1])


# --- kinds of layers -----------------------------------------------------------------------------------------------
def network(shape: tuple[int, ...], *layers: Layer) -> Model:
    """The layers, and a dense one of four units on all that comes out of them."""
    last = (keras().layers.Flatten(), keras().layers.Dense(4))
    return keras().Sequential([keras().layers.Input(shape), *layers, *last])


def attention(layers: ModuleType) -> Model:
    tokens = keras().Input((6, 8))
    return keras().Model(tokens, layers.Dense(4)(layers.MultiHeadAttention(2, 5)(tokens, tokens)))


def shared(layers: ModuleType) -> Model:
    left, right = keras().Input((6,)), keras().Input((6,))
    encoder = keras().Sequential([layers.Input((6,)), layers.Dense(5, "relu")])
    return keras().Model([left, right], layers.Dense(3)(layers.Subtract()([encoder(left), encoder(right)])))


KINDS: dict[str, tuple[Callable[[ModuleType], Model], int]] = {
    "dense": (lambda of: network((6,), of.Dense(5)), 2),
    "dense on sequences": (lambda of: network((3, 6), of.Dense(5)), 2),
    "conv1d": (lambda of: network((9, 2), of.Conv1D(5, 3, strides=2, padding="causal")), 2),
    "conv2d": (lambda of: network((8, 8, 2), of.Conv2D(5, 3, padding="same")), 2),
    "conv3d": (lambda of: network((4, 4, 4, 2), of.Conv3D(5, 2)), 2),
    "pointwise": (lambda of: network((8, 8, 6), of.Conv2D(5, 1)), 2),
    "separable": (lambda of: network((8, 8, 6), of.SeparableConv2D(5, 3)), 2),
    "separable in one dimension": (lambda of: network((8, 6), of.SeparableConv1D(5, 3, padding="same")), 2),
    "depthwise": (lambda of: network((8, 8, 6), of.DepthwiseConv2D(3)), 1),
    "grouped": (lambda of: network((8, 8, 6), of.Conv2D(4, 3, groups=2)), 1),
    "transposed": (lambda of: network((4, 4, 6), of.Conv2DTranspose(3, 2)), 1),
    "lstm": (lambda of: network((5, 6), of.LSTM(7)), 3),
    "gru": (lambda of: network((5, 6), of.GRU(7)), 3),
    "both ways": (lambda of: network((5, 6), of.Bidirectional(of.SimpleRNN(7))), 5),
    "einsum": (lambda of: network((5, 6), of.EinsumDense("abc,cde->abde", (5, 3, 4))), 2),
    "einsum of two axes": (lambda of: network((5, 6), of.EinsumDense("abc,dbc->ad", 3)), 2),
    "einsum of any rank": (lambda of: keras().Sequential([of.Input((5, 6)), of.EinsumDense("...x,xy->...y", 4)]), 1),
    "einsum by rows": (lambda of: network((5, 6), of.EinsumDense("abc,bcd->abd", (5, 3))), 1),
    "attention": (attention, 5),
    "shared": (shared, 2),
    "embedding": (lambda of: network((5,), of.Embedding(20, 8)), 1),
}


@pytest.fixture(params=KINDS.values(), ids=list(KINDS))
def kind(request: pytest.FixtureRequest) -> tuple[Model, int]:
    keras().utils.set_random_seed(1)
    build, fed = request.param
    return build(keras().layers), fed


def some(model: Model, count: int) -> Examples:
    """Random inputs, with a token's number where there is an embedding."""
    tokens = any(type(layer).__name__ == "Embedding" for layer in model.layers)
    shapes = [one.shape for one in model_inputs(model)]
    sizes = [(count, *(length or 1 for length in shape)) for shape in shapes]
    drawn = [RNG.integers(0, 20, size).astype(float) if tokens else RNG.normal(size=size) for size in sizes]
    return Examples(tuple(array.astype(np.float32) for array in drawn))


def prepare(model: Model, examples: Examples) -> Subject:
    return prepare_subject(model, examples, most=1000)


def test_kernels_get_feedback_wherever_they_multiply_rows(kind: tuple[Model, int]) -> None:
    model, fed = kind
    assert sum(kernel.site is not None for kernel in kernels_of(model)) == fed
    for kernel in kernels_of(model):
        if kernel.site is not None:
            assert np.array_equal(kernel.site.kernel(kernel.site.matrix(kernel.original)), kernel.original)


def test_the_rows_times_the_matrix_are_what_the_layer_computes(kind: tuple[Model, int]) -> None:
    model, _ = kind
    for layer in all_layers(model):
        sites = sites_of(layer)
        if len(sites) == 1 and getattr(layer, "activation", None) in (None, keras().activations.linear):
            if layer.bias is not None:
                layer.bias.assign(0 * layer.bias)
            with watched(layer, partial(check, sites[0])):
                model(packed(model, some(model, 3).inputs))


def check(site: Site, own: Callable[..., object], given: Arguments, named: dict[str, object]) -> object:
    outputs = own(*given, **named)
    found = site.rows((*given, *named.values()), 10**6, RNG) @ site.matrix(values_of(site.variable))
    assert np.allclose(found.reshape(-1), np.asarray(outputs).reshape(-1), atol=1e-4)
    return outputs


def test_an_attempt_measures_and_puts_the_weights_back(kind: tuple[Model, int]) -> None:
    model, _ = kind
    before = model.get_weights()
    subject = prepare(model, some(model, 60))
    fine, coarse = attempt(subject, 0.01, 0.1), attempt(subject, 2.0, 0.1)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert fine.divergence < min(1e-3, coarse.divergence)
    assert fine.bytes > coarse.bytes
    for kernel, found in zip(subject.kernels, sorted(fine.latents, key=lambda one: one.index), strict=True):
        assert found.index == kernel.index
        assert found.step == round_step(found.step)
        assert np.abs(found.levels * found.step - kernel.original).max() < 0.2
    assert attempt(subject, 2.0, 0.1).divergence == coarse.divergence


def test_shared_layers_and_steps_of_sequences_count_their_calls() -> None:
    model = shared(keras().layers)
    dense = next(layer for layer in all_layers(model) if type(layer).__name__ == "Dense")
    assert count_calls(model, [dense], some(model, 3).inputs) == [2]


def test_moments_are_means_over_all_rows_in_parts_where_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wcodec.learning.moments.WIDEST", 4)
    model = network((6,), keras().layers.Dense(5))
    dense, x = model.layers[0], some(model, 30).inputs[0].astype(np.float32)
    rows = list(rows_met(model, dense, sites_of(dense), [(x[:10],), (x[10:],)], 1, 0))
    ((first, second),) = moments(sites_of(dense), rows, [(2 * rows[0][0],), (2 * rows[1][0],)])
    assert np.allclose(first.power, x[:, :3].T @ x[:, :3] / 30, atol=1e-5)
    assert np.allclose(second.power, x[:, 3:].T @ x[:, 3:] / 30, atol=1e-5)
    assert first.drift is not None
    assert np.allclose(first.drift, first.power, atol=1e-5)
    assert moments(sites_of(dense), rows, None)[0][0].drift is None
    assert np.isfinite(attempt(prepare(model, some(model, 60)), 0.5, 0.1).divergence)


def test_biases_gains_and_statistics_are_kept() -> None:
    of = keras().layers
    model = network(
        (6, 3), of.Normalization(), of.Dense(5), of.BatchNormalization(), of.LayerNormalization((1, 2)), of.GRU(4)
    )
    names = [model.weights[kernel.index].path.split("/", 1)[-1] for kernel in kernels_of(model)]
    assert [name.rpartition("/")[2] for name in names] == ["kernel", "kernel", "recurrent_kernel", "kernel"]


def test_steps_grow_with_rms_and_number_and_zeros_have_none() -> None:
    model = network((6,), keras().layers.Dense(50), keras().layers.Dense(50, kernel_initializer="zeros"))
    steps = steps_of(kernels_of(model), 1.0)
    rms = [np.sqrt(np.square(kernel.original).mean()) for kernel in kernels_of(model)]
    assert steps[0] == pytest.approx(rms[0] * (300 / 2500) ** 0.25, rel=0.01)
    assert steps[1] == 0
    assert attempt(prepare(model, some(model, 50)), 1.0, 0.1).latents[1].levels.any() == np.False_


def test_kernels_that_matter_little_get_larger_steps() -> None:
    of = keras().layers
    given = keras().Input((6,))
    loud, low = of.Dense(4, name="loud")(given), of.Dense(4, name="low")(given)
    model = keras().Model(given, of.Add()([loud, of.Rescaling(1 / 100)(low)]))
    subject = prepare(model, some(model, 500))
    paths = [kernel.variable.path for kernel in subject.kernels]
    factors = dict(zip(paths, balance(subject, 1.0, 0.1), strict=True))
    assert factors["low/kernel"] > 4 * factors["loud/kernel"]
    before = model.get_weights()
    assert len(balance(prepare(model, some(model, 50)), 1.0, 0.1)) == 2
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


# --- batch normalization -------------------------------------------------------------------------------------------
def test_batch_normalization_is_taken_anew_and_dropout_stays_off() -> None:
    of = keras().layers
    model = network((6,), of.Dense(30, "relu"), of.Dropout(0.9), of.BatchNormalization(), of.Dense(30, "relu"))
    examples = some(model, 2000)
    norm = model.layers[2]
    norm.trainable = False
    subject = prepare(model, examples)
    found = attempt(subject, 2.0, 0.1)
    assert not norm.trainable
    assert norm.momentum == 0.99
    assert [model.weights[index].name for index, _ in found.statistics] == ["moving_mean", "moving_variance"]
    model.layers[0].kernel.assign(found.latents[0].levels * np.float32(found.latents[0].step))
    hidden = np.concatenate([np.asarray(model.layers[0](batch[0])) for batch in subject.normalizing])
    assert np.allclose(found.statistics[0][1], hidden.mean(axis=0), atol=1e-3)
    assert np.allclose(found.statistics[1][1], hidden.var(axis=0), rtol=0.05)


# --- divergence ----------------------------------------------------------------------------------------------------
def test_divergence_is_of_probabilities_logits_or_values() -> None:
    logits, moved = RNG.normal(size=(50, 4)), RNG.normal(size=(50, 4))
    p, q = (np.exp(y) / np.exp(y).sum(axis=1, keepdims=True) for y in (logits, moved))
    expected = (p * np.log(p / q)).sum(axis=1).mean()
    assert divergence((moved,), (logits,)) == pytest.approx(expected)
    assert divergence((q,), (p,)) == pytest.approx(expected)
    assert divergence((logits, moved), (logits, logits)) == pytest.approx(expected)
    assert divergence((q[:, :1],), (p[:, :1],)) > 0
    assert divergence((3 * logits[:, :1],), (logits[:, :1],)) == pytest.approx(
        4 * np.square(logits[:, 0]).mean() / logits[:, 0].var()
    )
    assert divergence((logits * np.nan,), (logits,)) == np.inf


# --- the whole -----------------------------------------------------------------------------------------------------
def tuned(model: Model, found: Calibration) -> Model:
    weights = model.get_weights()
    for one in found.latents:
        weights[one.index] = one.levels * np.float32(one.step)
    for index, values in found.statistics:
        weights[index] = values
    model.set_weights(weights)
    return model


def test_a_sample_is_fifty_times_smaller_at_half_a_point() -> None:
    model = load_model(SAMPLES / "lenet300.h5")
    examples = load(f"{SAMPLES / 'mnist.npz'}:train", model_inputs(model), limit=3000)
    found = calibrate(model, examples, 0.5, most=1000)
    assert 15_000 < found.bytes < 21_000
    assert found.drop <= 0.5
    accuracy = evaluate(tuned(model, found), f"{SAMPLES / 'mnist.npz'}:test").accuracy
    assert accuracy is not None
    assert 99.09 - accuracy < 0.8


def test_feedback_beats_plain_rounding_on_a_sample() -> None:
    model = load_model(SAMPLES / "lenet5.keras")
    examples = load(f"{SAMPLES / 'mnist.npz'}:train", model_inputs(model), limit=300)
    subject = prepare(model, examples)
    fed, plain = attempt(subject, 4.8, 0.1), attempt(subject, 4.8, 1e6)
    assert fed.divergence < 0.25 * plain.divergence


def test_a_budget_out_of_reach_is_said() -> None:
    model = network((6,), keras().layers.Dense(5))
    with pytest.raises(BudgetError, match=r"expected a drop of at most -1 points, .* predicted at best"):
        calibrate(model, some(model, 50), -1, seconds=0)


def test_too_few_examples_and_networks_without_kernels_are_refused() -> None:
    model = network((6,), keras().layers.Dense(5))
    with pytest.raises(RecipeError, match="expected 10 examples or more, got 9"):
        prepare(model, some(model, 9))
    bare = keras().Sequential([keras().layers.Input((4,)), keras().layers.BatchNormalization()])
    with pytest.raises(RecipeError, match="expected weights of two or more dimensions, found none"):
        prepare(bare, some(bare, 20))


# --- names in the file ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["net.h5", "net.keras", "net.weights.h5"])
@pytest.mark.parametrize("build", [shared, attention, KINDS["both ways"][0]], ids=["shared", "attention", "both ways"])
def test_every_weight_is_found_in_its_file(tmp_path: Path, name: str, build: Callable[[ModuleType], Model]) -> None:
    model = build(keras().layers)
    with hushed():
        model.save_weights(tmp_path / name) if "weights" in name else model.save(tmp_path / name)
    with open_model(tmp_path / name) as file:
        names = tensor_names(model, file)
        values = {tensor.name: tensor.read() for tensor in file.tensors}
    assert list(names) == list(range(len(model.weights)))
    for index, found in names.items():
        assert all(np.array_equal(values[one], np.asarray(model.weights[index])) for one in found)


def test_a_weight_that_is_not_in_the_file_has_no_name(tmp_path: Path) -> None:
    model = network((6,), keras().layers.Dense(5))
    model.save_weights(tmp_path / "net.weights.h5")
    model.layers[0].kernel.assign(np.ones((6, 5)))
    with open_model(tmp_path / "net.weights.h5") as file:
        assert list(tensor_names(model, file)) == [1, 2, 3]


def test_what_was_found_is_handed_down_by_the_names_of_the_file(tmp_path: Path) -> None:
    of = keras().layers
    model = network((6,), of.Dense(5), of.BatchNormalization(), of.Dense(3, kernel_initializer="zeros"))
    model.save_weights(tmp_path / "net.weights.h5")
    found = attempt(prepare(model, some(model, 60)), 0.5, 0.1)
    with open_model(tmp_path / "net.weights.h5") as file:
        names = tensor_names(model, file)
    tuned = tuned_tensors(found, names)
    first = found.latents[0]
    assert np.array_equal(tuned[names[first.index][0]].values, first.levels * np.float32(first.step))
    assert tuned[names[first.index][0]].step == first.step
    assert [tuned[names[index][0]].step for index, _ in found.statistics] == [None, None]
    assert len(tuned) == 4
