"""The task of a Keras model by its configuration, for losses and outputs of each kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import keras
import pytest
from conftest import Run

from wcodec.modelfiles import open_model
from wcodec.modelfiles.keras_task import predicted_tasks


def network(last: str | None, loss: object) -> keras.Model:
    inputs = keras.Input((4,))
    model = keras.Model(
        inputs, keras.layers.Dense(2, activation=last)(keras.layers.Dense(3, activation="relu")(inputs))
    )
    if loss:
        model.compile("adam", loss)
    return model


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("last", "loss", "task"),
    [
        (None, "mse", "values"),
        (None, keras.losses.Huber(), "values"),
        ("sigmoid", "mae", "values"),
        (None, None, "values"),
        ("softmax", None, "unknown"),
        ("softmax", "sparse_categorical_crossentropy", "classes"),
        (None, keras.losses.SparseCategoricalCrossentropy(from_logits=True), "classes"),
        (None, keras.losses.BinaryCrossentropy(from_logits=True), "multilabel"),
        ("sigmoid", "binary_crossentropy", "multilabel"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_the_task_follows_from_the_loss_or_the_last_layer(
    suffix: str, last: str | None, loss: object, task: str, tmp_path: Path
) -> None:
    network(last, loss).save(tmp_path / f"m{suffix}")
    with open_model(tmp_path / f"m{suffix}") as model:
        assert model.tasks == (task,)


def custom_loss(labels: object, outputs: object) -> object:
    return outputs


dense = keras.layers.Dense
CLASSES = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.mark.parametrize(
    ("last", "loss", "tasks"),
    [
        (lambda x: [dense(3, name="a")(x), dense(1, name="b")(x)], {"a": CLASSES, "b": "mse"}, ("classes", "values")),
        (lambda x: {"z": dense(3)(x), "b": dense(1)(x)}, {"z": CLASSES, "b": "mae"}, ("values", "classes")),
        (lambda x: [dense(3)(x), dense(9)(x)], ["bce", "poisson"], ("multilabel", "values")),
        (lambda x: [dense(9)(x), dense(9)(x)], "mse", ("values", "values")),
        (lambda x: [dense(9)(x), dense(1)(x)], [CLASSES, None], ("classes", "values")),
        (dense(1), custom_loss, ("values",)),
        (dense(9), custom_loss, ("unknown",)),
        (lambda x: keras.layers.Reshape((3, 1))(dense(3)(x)), None, ("values",)),
        (lambda x: keras.layers.Rescaling(10, 5)(dense(1)(x)), None, ("values",)),
        (lambda x: keras.layers.Add()([dense(1)(x), dense(1)(x)]), None, ("values",)),
        (lambda x: keras.layers.Add()([dense(9)(x), dense(9)(x)]), None, ("unknown",)),
        (lambda x: keras.layers.Activation("softmax")(dense(2)(x)), None, ("unknown",)),
        (dense(1, "softplus"), None, ("values",)),
        (lambda x: keras.layers.TimeDistributed(dense(2))(keras.layers.Reshape((2, 2))(x)), None, ("values",)),
        (keras.Sequential([keras.Input((4,)), dense(3), dense(1)]), None, ("values",)),
    ],
)
def test_each_output_has_its_own_task(last: Callable[[object], object], loss: object, tasks: tuple[str, ...]) -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, last(inputs))
    if loss:
        model.compile("adam", loss)
    assert predicted_tasks(model.to_json()) == tasks


def test_losses_give_the_tasks_of_a_network_that_does_not_list_its_outputs() -> None:
    training = json.dumps({"loss": {"b": "mse", "a": "categorical_crossentropy"}})
    assert predicted_tasks("{}", training) == ("classes", "values")
    assert predicted_tasks(None, json.dumps({"loss": "mse"})) == ("values",)
    assert predicted_tasks("[", None) == ("unknown",)


def test_many_linear_outputs_without_a_loss_can_be_logits(samples: Path) -> None:
    with open_model(samples / "lenet300.h5") as model:
        assert not model.predicts_values


def test_smaller_steps_for_predicted_values_are_reported(tmp_path: Path, wcodec: Run) -> None:
    network(None, "mse").save(tmp_path / "m.keras")
    done = wcodec("encode", tmp_path / "m.keras", "--json")
    assert "the model predicts values" in done.stderr
    assert len(json.loads(done.stdout)["notes"]) == 1
