"""The kind of an output: classes, values, or multilabel decisions with a unit each; and budgets of decisions."""

from __future__ import annotations

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

import wcodec
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.metrics import hits_and_loss, row_divergences
from wcodec.evaluation.output_kinds import OutputKind, measure_divergence, output_kinds
from wcodec.structure import fitting
from wcodec.training.losses import distillation_loss

RANDOM = np.random.default_rng(4)
LOGITS = RANDOM.normal(0, 2, (400, 6))
SIGMOIDS = 1 / (1 + np.exp(-LOGITS))
ONE_OF_SIX = np.where(np.eye(6)[RANDOM.integers(6, size=400)] > 0, 0.9, 0.2)
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
SEVERAL = (RANDOM.random((400, 6)) < 0.4).astype(np.float32)


@pytest.mark.parametrize(
    ("outputs", "labels", "task", "expected"),
    [
        (SIGMOIDS, None, "unknown", (True, False, True)),
        (SIGMOIDS, SEVERAL, "multilabel", (True, False, True)),
        (SIGMOIDS, None, "values", (False, True, False)),
        (SIGMOIDS, SEVERAL, "values", (True, False, True)),
        (ONE_OF_SIX, None, "multilabel", (True, False, False)),
        (SIGMOIDS, np.argmax(LOGITS, 1), "multilabel", (True, False, False)),
        (LOGITS, None, "unknown", (False, False, False)),
        (SOFTMAX.astype(ml_dtypes.bfloat16).astype(float), None, "unknown", (True, False, False)),
        (LOGITS, None, "multilabel", (False, False, True)),
        (LOGITS, SEVERAL, "unknown", (False, False, True)),
        (LOGITS, SEVERAL, "values", (False, True, False)),
        (LOGITS / np.linalg.norm(LOGITS, axis=1, keepdims=True), None, "unknown", (False, True, False)),
        (SIGMOIDS / np.linalg.norm(SIGMOIDS, axis=1, keepdims=True), None, "unknown", (False, True, False)),
        (0.1 * RANDOM.normal(size=(40, 128)), None, "unknown", (False, True, False)),
        (4 * RANDOM.normal(size=(40, 128)), None, "unknown", (False, False, False)),
        (LOGITS[:, :1], None, "multilabel", (False, False, False)),
        (LOGITS[:, :1], None, "unknown", (False, True, False)),
    ],
)
def test_the_kind_follows_from_the_outputs_the_labels_and_the_loss(
    outputs: np.ndarray, labels: np.ndarray | None, task: str, expected: tuple[bool, bool, bool]
) -> None:
    (kind,) = output_kinds((outputs,), () if labels is None else (labels,), len(outputs), tasks=(task,))
    assert (kind.probabilities, kind.values, kind.multilabel) == expected


def test_a_linear_unit_predicts_values_if_the_binary_loss_is_of_another_output() -> None:
    kinds = output_kinds((SIGMOIDS[:, :1], LOGITS[:, :1]), (), 400, tasks=("multilabel",))
    assert [(kind.probabilities, kind.values) for kind in kinds] == [(True, False), (False, True)]


def test_outputs_that_may_be_features_have_bounds_on_their_values() -> None:
    """Features of few units without unit length: as classes, one of 32 units lost a third of its variance."""
    rng = np.random.default_rng(6)
    features = rng.normal(0, 0.1, (200, 32))
    changed = features + rng.normal(0, 0.05, features.shape)
    for tasks, uncertain in (((), True), (("classes",), False), (("multilabel",), False)):
        kinds = output_kinds((features,), (), 200, tasks=tasks)
        assert (kinds[0].values, kinds[0].uncertain) == (False, uncertain)
        found = measure_divergence((changed,), (features,), kinds)
        assert found == pytest.approx(0.25, rel=0.1) if uncertain else found < 0.01
    for certain in (SIGMOIDS, SOFTMAX, LOGITS[:, :1]):
        assert not output_kinds((certain,), (), 400)[0].uncertain
    assert not output_kinds((LOGITS,), (np.argmax(LOGITS, 1),), 400)[0].uncertain
    wanted = tf.constant(features, "float32")
    kind = OutputKind("", False, False, uncertain=True)
    shifted_loss = float(distillation_loss(tf, wanted + 1, wanted, kind, (0.01, 1.0)))
    assert shifted_loss == pytest.approx(100, rel=1e-3)  # softmax does not depend on a constant that is added to all


def test_outputs_with_confident_predictions_of_several_classes_are_certain() -> None:
    """Their divergence shows changes of values, unless one class is always predicted or none is preferred."""
    rng = np.random.default_rng(8)
    clear = 8 * np.eye(6)[np.arange(400) % 6] + rng.normal(size=(400, 6))
    always = np.roll(8 * np.eye(6)[np.zeros(400, int)], 1, 1) + rng.normal(size=(400, 6))
    found = [output_kinds((outputs,), (), 400)[0].uncertain for outputs in (clear, always, clear / 8)]
    assert found == [False, True, True]


def test_each_output_has_the_task_of_its_own_loss() -> None:
    outputs = (LOGITS, LOGITS[:, :3], LOGITS)
    kinds = output_kinds(outputs, (), 400, tasks=("values", "classes", "multilabel"))
    assert [(kind.values, kind.multilabel, kind.uncertain) for kind in kinds] == [
        (True, False, False), (False, False, False), (False, True, False)
    ]  # fmt: skip


def test_decisions_have_the_same_divergence_accuracy_and_loss_in_logits_and_probabilities() -> None:
    moved = LOGITS + 0.3
    found = 1 / (1 + np.exp(-moved))
    by_hand = (SIGMOIDS * np.log(SIGMOIDS / found) + (1 - SIGMOIDS) * np.log((1 - SIGMOIDS) / (1 - found))).mean()
    for probabilities, (y, y0) in ((True, (found, SIGMOIDS)), (False, (moved, LOGITS))):
        (kind,) = output_kinds((y0,), (SEVERAL,), 400)
        assert kind.probabilities == probabilities
        assert measure_divergence((y,), (y0,), (kind,)) == pytest.approx(by_hand, rel=1e-5)
        hits, loss = hits_and_loss(y, kind.truth, slice(None), probabilities=probabilities)
        assert hits == ((moved > 0) == (SEVERAL > 0)).mean()
        assert loss == pytest.approx(float(keras.losses.BinaryCrossentropy()(SEVERAL, found)), rel=1e-3)
    normed = ONE_OF_SIX / ONE_OF_SIX.sum(-1, keepdims=True)
    assert row_divergences(ONE_OF_SIX**2, ONE_OF_SIX).shape == (400,)
    assert row_divergences(0.5 * ONE_OF_SIX, ONE_OF_SIX) == pytest.approx(np.zeros(400), abs=1e-12)
    assert row_divergences(ONE_OF_SIX, normed) == pytest.approx(np.zeros(400), abs=1e-12)


@pytest.mark.parametrize("kind", [OutputKind("", False, False), OutputKind("", False, False, multilabel=True)])
def test_the_distillation_loss_of_decisions_is_0_for_equal_logits(kind: OutputKind) -> None:
    wanted = tf.constant(LOGITS if kind.multilabel else LOGITS[:, :1], "float32")
    assert float(distillation_loss(tf, wanted, wanted, kind, (1.0, 1.0))) == pytest.approx(0, abs=1e-6)
    assert float(distillation_loss(tf, wanted + 1, wanted, kind, (1.0, 1.0))) > 0.1


def network(last: str | None, units: int) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """A trained network of decisions, test inputs and their labels."""
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(5)
    x = rng.normal(size=(6000, 20)).astype(np.float32)
    y = ((x @ rng.normal(size=(20, units))) ** 2 + x[:, :1] > 6).astype(np.float32)
    model = keras.Sequential([keras.Input((20,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(units, last)])
    loss = keras.losses.BinaryCrossentropy(from_logits=last is None)
    model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
    model.fit(x[:4000], y[:4000], epochs=4, batch_size=64, verbose=0)
    return model, x[4000:], y[4000:]


@pytest.mark.parametrize("last", ["sigmoid", None])
def test_the_drop_of_decisions_is_within_the_budget_and_sampling_error(last: str | None) -> None:
    """With a softmax over all of them, a network of 16 decisions lost 2.59 points with a budget of 0.5."""
    model, x, y = network(last, 8)
    plain = len(wcodec.encode(model))
    for data in (x[:1000], (x[:1000], y[:1000])):
        coded = wcodec.encode(model, data=data, max_drop=1.0, tune=0)
        found = wcodec.evaluate(wcodec.load_model(coded), data=(x, y), baseline=model)
        assert found.accuracy_drop < 2.0
        assert found.agreement > 95
        assert len(coded) < plain


def test_a_network_with_one_logit_is_trained() -> None:
    model, x, y = network(None, 1)
    examples = Examples((x,), (y,))
    small = keras.models.clone_model(model)
    rng = np.random.default_rng(7)
    small.set_weights([weights + rng.normal(0, 0.3, weights.shape) for weights in model.get_weights()])

    def accuracy(net: keras.Model) -> float:
        return float(((np.asarray(net(x)) > 0) == (y > 0.5)).mean())

    assert accuracy(small) < accuracy(model) - 0.1
    fitting.fit(small, examples, fitting.targets_of(model, examples), 4, rate=0.01)
    assert accuracy(small) > accuracy(model) - 0.03
