"""Measures of a network on examples, and inputs that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from tests.conftest import Run
from wcodec.errors import RecipeError
from wcodec.evaluation.batches import gather
from wcodec.evaluation.evaluate import evaluate
from wcodec.evaluation.examples import Examples, fit_examples
from wcodec.evaluation.keras_backend import keras
from wcodec.evaluation.model_loader import model_inputs, model_outputs

if TYPE_CHECKING:
    from keras import Model

from keras_single import CLASSES, COUNT, ROWS, dense

TARGETS = np.random.default_rng(8).normal(size=(COUNT, 4))


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers: npt.NDArray[np.float64] = np.exp(logits - logits.max(axis=-1, keepdims=True))
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers


def outputs_of(model: Model, inputs: npt.NDArray[np.float32] = ROWS) -> npt.NDArray[np.float64]:
    outputs: npt.NDArray[np.float64] = np.asarray(model(inputs, training=False), np.float64)
    return outputs


@pytest.mark.parametrize("activation", [None, "softmax"])
@pytest.mark.parametrize("labels", [CLASSES, CLASSES[:, None], np.eye(4)[CLASSES]], ids=["sparse", "column", "one-hot"])
def test_classes_are_scored_from_logits_or_probabilities(activation: str | None, labels: npt.NDArray[np.int64]) -> None:
    model = dense(4, activation)
    y = outputs_of(model)
    chances = y if activation else softmax(y)
    measured = evaluate(model, Examples((ROWS,), (labels,)))
    assert measured.examples == COUNT
    assert measured.accuracy == pytest.approx(100 * np.mean(y.argmax(1) == CLASSES))
    assert measured.loss == pytest.approx(-np.log(chances[np.arange(COUNT), CLASSES]).mean(), rel=1e-5)
    assert measured.baseline_accuracy is None
    assert measured.agreement is None


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_a_single_unit_is_scored_as_a_binary_decision(activation: str | None) -> None:
    model = dense(1, activation)
    y, labels = outputs_of(model)[:, 0], CLASSES % 2
    chance = y if activation else 1 / (1 + np.exp(-y))
    measured = evaluate(model, Examples((ROWS,), (labels,)), model)
    assert measured.accuracy == pytest.approx(100 * np.mean((chance > 0.5) == labels))
    assert measured.loss == pytest.approx(-np.log(np.where(labels, chance, 1 - chance)).mean(), rel=1e-5)
    assert measured.agreement == 100


def test_multilabel_outputs_are_scored_unit_by_unit() -> None:
    model = dense(4, "sigmoid")
    labels = (TARGETS > 0).astype(np.float32)
    measured = evaluate(model, Examples((ROWS,), (labels,)))
    assert measured.accuracy == pytest.approx(100 * np.mean((outputs_of(model) > 0.5) == labels))


@pytest.mark.parametrize("units", [1, 4])
def test_regression_has_a_squared_error_and_no_accuracy(units: int) -> None:
    model, targets = dense(units), TARGETS[:, :units]
    measured = evaluate(model, Examples((ROWS,), (targets,)), model)
    assert measured.accuracy is measured.accuracy_drop is measured.agreement is None
    assert measured.loss == pytest.approx(np.square(outputs_of(model) - targets).mean())


def test_sequences_are_scored_step_by_step() -> None:
    rng = np.random.default_rng(9)
    steps = rng.normal(size=(COUNT, 5, 6)).astype(np.float32)
    labels = rng.integers(0, 4, (COUNT, 5))
    model = dense(4, inputs=(5, 6))
    measured = evaluate(model, Examples((steps,), (labels,)), model)
    assert measured.accuracy == pytest.approx(100 * np.mean(outputs_of(model, steps).argmax(-1) == labels))
    assert measured.agreement == 100


def test_the_distance_to_a_baseline_needs_no_labels() -> None:
    model, baseline = dense(4), dense(4)
    model.layers[-1].kernel.assign(np.round(np.asarray(baseline.layers[-1].kernel), 1))
    y, y0 = outputs_of(model), outputs_of(baseline)
    measured = evaluate(model, Examples((ROWS,)), baseline)
    assert measured.accuracy is measured.loss is measured.baseline_accuracy is None
    assert measured.agreement == pytest.approx(100 * np.mean(y.argmax(1) == y0.argmax(1)))
    assert measured.output_error == pytest.approx(np.square(y - y0).sum() / np.square(y0 - y0.mean(0)).sum(), rel=1e-4)


def test_the_drop_is_the_baseline_less_the_network() -> None:
    model, baseline = dense(4), dense(4)
    model.layers[-1].kernel.assign(-np.asarray(baseline.layers[-1].kernel))
    labels = outputs_of(baseline).argmax(1)
    measured = evaluate(model, Examples((ROWS,), (labels,)), baseline)
    assert measured.baseline_accuracy == 100
    assert measured.accuracy_drop == pytest.approx(100 - (measured.accuracy or 0))


def test_several_inputs_and_outputs_have_the_order_of_the_network() -> None:
    layers = keras().layers
    left, right = keras().Input((6,), name="left"), keras().Input((2,), name="right")
    joined = layers.Concatenate()([left, right])
    model = keras().Model({"left": left, "right": right}, [layers.Dense(4)(joined), layers.Dense(1)(joined)])
    assert [entry.name for entry in model_inputs(model)] == ["left", "right"]
    measured = evaluate(model, Examples((ROWS, ROWS[:, :2]), (CLASSES,)), model)
    assert measured.accuracy is not None
    assert measured.agreement == 100
    assert measured.output_error == 0


def test_measures_are_deterministic_and_independent_of_batches() -> None:
    model, examples = dense(4), Examples((ROWS,), (CLASSES,))
    assert evaluate(model, examples, model) == evaluate(model, examples, model)
    parts = [evaluate(model, Examples((ROWS[at],), (CLASSES[at],))) for at in (slice(0, 64), slice(64, COUNT))]
    whole = evaluate(model, examples)
    assert whole.accuracy == pytest.approx(0.64 * (parts[0].accuracy or 0) + 0.36 * (parts[1].accuracy or 0))


@pytest.mark.parametrize(
    ("labels", "message"),
    [(CLASSES + 1, "expected classes 0..3, got 1..4"), (np.zeros((COUNT, 3)), "labels: expected shape")],
)
def test_labels_that_do_not_fit_are_refused(labels: npt.NDArray[np.int64], message: str) -> None:
    with pytest.raises(RecipeError) as refused:
        evaluate(dense(4), Examples((ROWS,), (labels,)))
    assert message in str(refused.value)


def test_a_baseline_of_another_shape_is_refused() -> None:
    with pytest.raises(RecipeError, match="baseline: expected outputs of shape"):
        evaluate(dense(4), Examples((ROWS,)), dense(3))


def test_a_note_reports_that_nothing_was_compared(wcodec: Run, samples: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 28, 28, 1), np.float32))
    done = wcodec("evaluate", samples / "lenet300.h5", "--data", tmp_path / "x.npz")
    assert (done.returncode, done.stdout.split()) == (0, ["examples", "4"])
    assert done.stderr.splitlines()[-1].startswith("nothing was compared")
    done = wcodec("evaluate", samples / "lenet300.h5", "--data", tmp_path / "x.npz", "--json")
    keys = "examples accuracy loss baseline_accuracy accuracy_drop agreement output_error file_bytes source_bytes"
    keys += " ratio baseline_loss mae baseline_mae r2 baseline_r2 outputs"
    assert set(json.loads(done.stdout)) == set(keys.split())


# --- values --------------------------------------------------------------------------------------------------------
def values_and_labels(units: int) -> tuple[Model, Model, npt.NDArray[np.float64]]:
    """A network with changed weights, the baseline, which predicts values far from 0, and labels."""
    baseline, model = dense(units), dense(units)
    baseline.layers[-1].bias.assign(np.full(units, 14.0))
    model.set_weights([weights + np.float32(0.05) for weights in baseline.get_weights()])
    noise = np.random.default_rng(10).normal(0, 0.3, (COUNT, units))
    return model, baseline, outputs_of(baseline) + noise


@pytest.mark.parametrize("units", [1, 3])
def test_values_have_errors_and_r2_and_those_of_the_baseline(units: int) -> None:
    model, baseline, targets = values_and_labels(units)
    y, y0 = outputs_of(model), outputs_of(baseline)
    found = evaluate(model, Examples((ROWS,), (targets,)), baseline)
    spread = np.square(targets - targets.mean(0)).mean(0)
    assert found.loss == pytest.approx(np.square(y - targets).mean(), rel=1e-5)
    assert found.baseline_loss == pytest.approx(np.square(y0 - targets).mean(), rel=1e-5)
    assert found.mae == pytest.approx(np.abs(y - targets).mean(), rel=1e-5)
    assert found.baseline_mae == pytest.approx(np.abs(y0 - targets).mean(), rel=1e-5)
    assert found.r2 == pytest.approx((1 - np.square(y - targets).mean(0) / spread).mean(), rel=1e-4)
    assert found.baseline_r2 == pytest.approx((1 - np.square(y0 - targets).mean(0) / spread).mean(), rel=1e-4)
    assert found.output_error == pytest.approx(np.square(y - y0).sum() / np.square(y0 - y0.mean(0)).sum(), rel=1e-4)
    assert found.loss_rise == pytest.approx(100 * (found.loss / found.baseline_loss - 1))


def test_the_variance_of_outputs_is_exact_far_from_zero() -> None:
    model, baseline = dense(1), dense(1)
    for network, offset in ((model, 1.01e4), (baseline, 1e4)):
        network.set_weights([*baseline.get_weights()[:-1], np.full(1, offset, np.float32)])
    y, y0 = outputs_of(model), outputs_of(baseline)
    found = evaluate(model, Examples((ROWS,)), baseline)
    assert found.output_error == pytest.approx(np.square(y - y0).sum() / np.square(y0 - y0.mean()).sum(), rel=1e-3)


def test_a_loss_above_the_budget_has_exit_code_4(wcodec: Run, tmp_path: Path) -> None:
    model, baseline, targets = values_and_labels(1)
    for network, name in ((model, "model"), (baseline, "baseline")):
        network.save(tmp_path / f"{name}.keras")
    np.savez(tmp_path / "d.npz", x=ROWS, y=targets, other=ROWS)
    words = ["evaluate", tmp_path / "model.keras", "--data", tmp_path / "d.npz", "--baseline"]
    done = wcodec(*words, tmp_path / "baseline.keras", "--max-loss", 1)
    assert done.returncode == 4
    assert "expected a loss that rises by at most 1 %, got" in done.stderr
    assert "d.npz: not used: other" in done.stderr
    assert {"loss", "baseline loss", "R2", "baseline R2"} <= {line[:19].strip() for line in done.stdout.splitlines()}
    assert "agreement" not in done.stdout
    assert wcodec(*words, tmp_path / "baseline.keras", "--max-loss", 100000, "-q").returncode == 0
    done = wcodec(*words, tmp_path / "baseline.keras", "--max-drop", 1, "-q")
    assert (done.returncode, "got values: --max-loss PERCENT is for them" in done.stderr) == (4, True)
    assert wcodec(*words[:-1], "--max-loss", 1).returncode == 2


# --- several outputs -----------------------------------------------------------------------------------------------
def two_heads() -> Model:
    """A network of classes ("kind") and of a value ("price")."""
    keras().utils.set_random_seed(2)
    layers, inputs = keras().layers, keras().Input((6,))
    return keras().Model(inputs, [layers.Dense(4, name="kind")(inputs), layers.Dense(1, name="price")(inputs)])


def test_each_output_has_its_own_labels_and_its_own_bounds(wcodec: Run, tmp_path: Path) -> None:
    baseline = two_heads()
    kind, price = (np.asarray(output) for output in baseline.predict_on_batch(ROWS))
    noise = np.random.default_rng(11).normal(0, 0.1, COUNT)
    labels = {"y_kind": kind.argmax(1), "y_price": price[:, 0] + noise}
    np.savez(tmp_path / "d.npz", x=ROWS, **labels)
    baseline.save(tmp_path / "baseline.keras")
    words = ["--data", tmp_path / "d.npz", "--baseline", tmp_path / "baseline.keras"]
    for worse, option, other in (("kind", "--max-drop", "--max-loss"), ("price", "--max-loss", "--max-drop")):
        model = keras().models.clone_model(baseline)
        model.set_weights(baseline.get_weights())
        layer = model.get_layer(worse)
        layer.kernel.assign(-np.asarray(layer.kernel))
        model.save(tmp_path / f"{worse}.keras")
        done = wcodec("evaluate", tmp_path / f"{worse}.keras", *words, "--json", option, 1)
        assert done.returncode == 4
        assert f"output {worse}: expected" in done.stderr
        found = json.loads(done.stdout)
        assert [output["name"] for output in found["outputs"]] == ["kind", "price"]
        assert found["outputs"][0]["baseline_accuracy"] == 100
        assert found["outputs"][0]["r2"] is found["outputs"][1]["agreement"] is found["outputs"][1]["accuracy"] is None
        assert found["outputs"][1]["baseline_r2"] < 1
        if other == "--max-drop":
            assert wcodec("evaluate", tmp_path / f"{worse}.keras", *words, other, 1).returncode == 0


def test_labels_of_several_outputs_are_found_by_name_in_a_dict_or_by_order_in_a_list() -> None:
    model, price = two_heads(), np.random.default_rng(12).normal(size=COUNT)
    outputs = model_outputs(model)
    inputs = model_inputs(model)
    for given in ({"price": price, "kind": CLASSES}, [CLASSES, price]):
        found = fit_examples(gather("m:f", (ROWS, given), tuple(inputs), None, outputs), tuple(inputs), None, 7)
        assert [None if labels is None else len(labels) for labels in found.labels] == [7, 7]
        assert np.array_equal(np.asarray(found.labels[0]), CLASSES[np.linspace(0, COUNT - 1, 7).round().astype(int)])
    half = gather("m:f", (ROWS, {"price": price}), tuple(inputs), None, outputs)
    assert half.labels[0] is None
    measured = evaluate(model, Examples(half.inputs, half.labels), model)
    assert (measured.accuracy, measured.loss is None, measured.agreement) == (None, False, 100)
    for wrong, words in (({"cost": price}, "expected labels of outputs kind, price, got cost"), ([price], "2 outputs")):
        with pytest.raises(RecipeError, match=words):
            gather("m:f", (ROWS, wrong), tuple(inputs), None, outputs)


def test_outputs_in_a_dict_have_the_names_of_their_keys_and_their_layers() -> None:
    layers, inputs = keras().layers, keras().Input((6,))
    heads = {"b": layers.Dense(1, name="last")(inputs), "a": layers.Dense(2, name="first")(inputs)}
    assert model_outputs(keras().Model(inputs, heads)) == (("a", "first"), ("b", "last"))
