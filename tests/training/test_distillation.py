"""Distillation: smaller networks with nearly the same outputs, of every kind, and the same on every run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import ROOT

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.progress import Interruptible
from wcodec.calibration.quantizable_weights import estimate_bytes
from wcodec.calibration.session import CalibrationSession, prepare_session
from wcodec.calibration.step_search import search_steps
from wcodec.calibration.trial import CalibrationResult, run_trial
from wcodec.container.dtypes import round_mantissa, round_step
from wcodec.errors import RecipeError
from wcodec.evaluation.datasets import load_examples
from wcodec.evaluation.evaluate import evaluate
from wcodec.evaluation.examples import Examples, hold_out
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.keras_backend import keras
from wcodec.evaluation.model_loader import load_model, model_inputs
from wcodec.evaluation.moved_images import are_images, warp
from wcodec.evaluation.output_kinds import measure_divergence
from wcodec.training.augmentation import augment, draw_mixtures
from wcodec.training.distill_state import build_distill_state, initialize
from wcodec.training.distillation import distill
from wcodec.training.engine import Batch
from wcodec.training.rate_model import rate_weights

if TYPE_CHECKING:
    from keras import Model

SAMPLES = ROOT / "samples"
RNG = np.random.default_rng(5)


def dense(of: ModuleType, last: str | None = None, units: int = 4) -> Model:
    """A network with confident outputs."""
    keras().utils.set_random_seed(2)
    layers = [of.Input((12,)), of.Dense(60, "relu"), of.Dense(40, "relu"), of.Dense(units, last)]
    model = keras().Sequential(layers)
    model.set_weights([3 * weight for weight in model.get_weights()])
    return model


def draw_inputs(count: int, *shape: int) -> Examples:
    return Examples((RNG.normal(size=(count, *shape)).astype(np.float32),))


def bench(model: Model, examples: Examples) -> CalibrationSession:
    return prepare_session(model, *hold_out(examples), most=examples.count)


def assign_result(model: Model, found: CalibrationResult) -> None:
    for one in found.rounded:
        model.weights[one.index].assign(one.weights)
    for index, values in found.statistics:
        model.weights[index].assign(values)


@pytest.fixture(scope="module")
def session() -> CalibrationSession:
    return bench(dense(keras().layers), draw_inputs(3000, 12))


@pytest.fixture(scope="module")
def start(session: CalibrationSession) -> CalibrationResult:
    """The network with rounded kernels; read only."""
    return run_trial(session, 1.0, 0.1)


# --- results ---------------------------------------------------------------------------------------------------------
def test_distillation_gives_fewer_bytes_within_the_bound_on_the_divergence(
    session: CalibrationSession, start: CalibrationResult
) -> None:
    before = session.model.get_weights()
    target = 1.1 * start.kl
    found = distill(session, start, AccuracyBudget(kl=target), steps=900, seconds=None, seed=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, session.model.get_weights(), strict=True))
    assert found.bytes < 0.85 * start.bytes
    assert found.kl <= target
    assert all(one.step == round_step(one.step) for one in found.rounded)
    assert [one.index for one in found.rounded] == [one.index for one in start.rounded]
    assign_result(session.model, found)
    measured = measure_divergence(compute_outputs(session.model, session.held_out), session.outputs, session.kinds)
    session.model.set_weights(before)
    assert measured == pytest.approx(found.kl, rel=1e-6)
    others = sum(weight.size for weight in before if weight.ndim == 1)
    assert found.bytes == sum(estimate_bytes(one.levels) for one in found.rounded) + 2 * others


def test_the_seed_determines_the_network_and_reports_of_progress_do_not_change_it(
    session: CalibrationSession, start: CalibrationResult
) -> None:
    train = partial(distill, session, start, AccuracyBudget(kl=1.0), steps=60, seconds=None)
    events: list[tuple[int, int, int, float]] = []
    first, second, other = train(seed=1), train(seed=1, progress=lambda *now: events.append(now)), train(seed=2)
    for a, b in zip(first.rounded, second.rounded, strict=True):
        assert np.array_equal(a.values, b.values)
        assert a.step == b.step
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(first.statistics, second.statistics, strict=True))
    assert not np.array_equal(first.rounded[0].values, other.rounded[0].values)
    assert len(events) > 5
    assert all(0 < step <= steps and size > 0 and changed > 0 for step, steps, size, changed in events)


def test_distillation_returns_the_start_if_no_network_is_within_the_budget(
    session: CalibrationSession, start: CalibrationResult
) -> None:
    assert distill(session, start, AccuracyBudget(kl=1e-9), steps=20, seconds=None, seed=0) is start


def test_distillation_ends_at_its_time_limit(session: CalibrationSession, start: CalibrationResult) -> None:
    found = distill(session, start, AccuracyBudget(kl=1.0), steps=None, seconds=1e-3, seed=0)
    assert found.bytes <= start.bytes


def test_an_interrupted_distillation_returns_the_best_network_so_far(
    session: CalibrationSession, start: CalibrationResult
) -> None:
    before = session.model.get_weights()

    def interrupt(step: int, *_: float) -> None:
        if step > 40:
            raise KeyboardInterrupt

    patience = Interruptible()
    found = distill(
        session, start, AccuracyBudget(kl=1.0), steps=60, seconds=None, seed=0, progress=interrupt, patience=patience
    )
    assert patience.over
    assert found.bytes < start.bytes
    assert all(np.array_equal(a, b) for a, b in zip(before, session.model.get_weights(), strict=True))


def test_distillation_without_steps_and_seconds_is_refused(
    session: CalibrationSession, start: CalibrationResult
) -> None:
    with pytest.raises(RecipeError, match="expected a number of steps or seconds, got neither"):
        distill(session, start, AccuracyBudget(kl=0.01), steps=None, seconds=None, seed=0)


# --- kinds of networks -----------------------------------------------------------------------------------------------
def normalized(of: ModuleType) -> Model:
    layers = [of.Input((8, 8, 2)), of.Conv2D(6, 3), of.BatchNormalization(), of.DepthwiseConv2D(3), of.Flatten()]
    return keras().Sequential([*layers, of.Dropout(0.5), of.Dense(4, "softmax")])


def tokens(of: ModuleType) -> Model:
    return keras().Sequential([of.Input((5,), dtype="int32"), of.Embedding(20, 8), of.LSTM(6), of.Dense(3)])


def two_outputs(of: ModuleType) -> Model:
    given = keras().Input((12,))
    hidden = of.Dense(9, "relu")(given)
    return keras().Model(given, {"value": of.Dense(1)(hidden), "class": of.Dense(3, "softmax")(hidden)})


def frozen(of: ModuleType) -> Model:
    model = dense(of)
    model.trainable = False
    return model


KINDS: dict[str, tuple[Callable[[ModuleType], Model], Callable[[], Examples]]] = {
    "batch normalization": (normalized, lambda: draw_inputs(300, 8, 8, 2)),
    "tokens": (tokens, lambda: Examples((RNG.integers(0, 20, (300, 5)),))),
    "two outputs": (two_outputs, lambda: draw_inputs(300, 12)),
    "frozen": (frozen, lambda: draw_inputs(300, 12)),
    "yes or no": (lambda of: dense(of, "sigmoid", 1), lambda: draw_inputs(300, 12)),
    "values": (lambda of: dense(of, None, 1), lambda: draw_inputs(300, 12)),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_distillation_trains_every_kind_of_network(
    kind: tuple[Callable[[ModuleType], Model], Callable[[], Examples]],
) -> None:
    build, examples = kind
    model = build(keras().layers)
    session = bench(model, examples())
    start = run_trial(session, 0.5, 0.1)
    found = distill(session, start, AccuracyBudget(kl=10.0), steps=60, seconds=None, seed=0)
    assert found is not start
    assert found.bytes < start.bytes
    changed = {index for index, _ in found.statistics}
    biases = {index for index, weight in enumerate(model.weights) if weight.name in ("bias", "gamma", "beta")}
    assert biases <= changed
    assert not {index for index, weight in enumerate(model.weights) if weight.name == "seed_generator_state"} & changed


def test_a_weight_that_no_output_depends_on_keeps_its_levels() -> None:
    class Idle(keras().layers.Layer):
        """A layer with a weight that it does not use."""

        def build(self, shape: tuple[int, ...]) -> None:
            self.idle = self.add_weight(shape=(6, 6), initializer="orthogonal", name="idle")

        def call(self, inputs: object) -> object:
            return inputs

    of = keras().layers
    model = keras().Sequential([of.Input((12,)), of.Dense(6), Idle(), of.Dense(3)])
    session = bench(model, draw_inputs(300, 12))
    start = run_trial(session, 0.5, 0.1)
    found = distill(session, start, AccuracyBudget(kl=10.0), steps=60, seconds=None, seed=0)
    assert found is not start
    first, last = ({one.path.rpartition("/")[2]: one.levels for one in was.rounded} for was in (start, found))
    assert np.count_nonzero(last["idle"]) >= np.count_nonzero(first["idle"])


# --- mixtures, rates, mantissas --------------------------------------------------------------------------------------
def test_two_batches_have_no_mixture_in_common() -> None:
    given = augment(bench(dense(keras().layers), draw_inputs(200, 12)), RNG)
    assert given.count == 160
    batches = draw_mixtures(given, 160, np.random.default_rng(0))
    first, second = (next(batches)[0] for _ in range(2))
    assert len(np.unique(np.concatenate([first, second]), axis=0)) == 320
    assert np.square(first).mean() == pytest.approx((1 / 3 + 1 / 4) * np.square(given.inputs[0]).mean(), abs=0.15)


def test_warped_copies_augment_images() -> None:
    of = keras().layers
    model = keras().Sequential([of.Input((20, 24, 3)), of.Flatten(), of.Dense(3)])
    given = augment(bench(model, draw_inputs(50, 20, 24, 3)), np.random.default_rng(0))
    assert given.count == 7 * 40
    smooth = np.add.outer(np.arange(20.0), np.arange(24.0))[None, :, :, None].repeat(5, 0).astype(np.float32)
    bent = warp(smooth, np.random.default_rng(0))
    assert bent.shape == smooth.shape
    assert len(np.unique(bent[:, 10, 12, 0])) == 5
    assert 0.2 < np.abs(bent - smooth).mean() < 4
    assert bent.min() >= 0
    assert bent.max() <= smooth.max()
    assert not are_images(draw_inputs(5, 8, 8, 2).inputs[0])


def test_tokens_are_not_averaged() -> None:
    given = augment(bench(tokens(keras().layers), KINDS["tokens"][1]()), RNG)
    rows = next(draw_mixtures(given, 500, np.random.default_rng(0)))[0]
    assert rows.dtype.kind == "i"
    assert np.array_equal(np.sort(rows, axis=0), np.sort(given.inputs[0], axis=0))


def test_every_step_compares_with_the_outputs_of_the_original() -> None:
    model = normalized(keras().layers)
    session = bench(model, draw_inputs(300, 8, 8, 2))
    fine, coarse = (
        replace(one, statistics=()) for one in (run_trial(session, 1e-3, 0.1), run_trial(session, 4.0, 0.1))
    )
    inputs, zero = next(draw_mixtures(augment(session, RNG), 64, np.random.default_rng(0))), np.float32(0)
    losses = []
    for start in (fine, coarse):
        before = model.get_weights()
        state = build_distill_state(session, start)
        initialize(state, start)
        losses.append([float(state.step(Batch(inputs), zero, zero, False)) for _ in range(2)])
        model.set_weights(before)
    assert losses[0][0] < 1e-4
    assert losses[1][0] > 1e-2
    assert losses[1][0] == pytest.approx(losses[1][1], rel=1e-4)


def test_an_isolated_weight_has_a_higher_price() -> None:
    latents = np.zeros((40, 30), np.float32)
    latents[3] = latents[:, 4] = 1
    weights = rate_weights([latents])[0]
    assert weights[3, 4] < weights[3, 0] < weights[0, 0]
    assert rate_weights([0 * latents])[0].shape == latents.shape


def test_rounded_mantissas_are_those_of_steps() -> None:
    values = RNG.normal(size=100).astype(np.float32)
    assert [float(one) for one in round_mantissa(np.abs(values))] == [round_step(float(one)) for one in np.abs(values)]
    assert np.array_equal(round_mantissa(-values), -round_mantissa(values))


# --- a sample --------------------------------------------------------------------------------------------------------
def test_distillation_makes_a_sample_smaller_than_rounding() -> None:
    model = load_model(SAMPLES / "lenet300.h5")
    examples = load_examples(f"{SAMPLES / 'mnist.npz'}:train", model_inputs(model), limit=5000)
    few = prepare_session(model, *hold_out(examples), most=1000)
    start = search_steps(few, AccuracyBudget(drop=0.5))
    whole = bench(model, examples)
    found = distill(whole, start, AccuracyBudget(kl=0.014), steps=600, seconds=None, seed=0)
    assert found.bytes < 0.95 * start.bytes
    assign_result(model, found)
    accuracy = evaluate(model, f"{SAMPLES / 'mnist.npz'}:test").accuracy
    assert accuracy is not None
    assert 99.09 - accuracy < 0.8
