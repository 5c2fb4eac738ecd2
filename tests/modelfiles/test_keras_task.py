"""What the configuration of a Keras model says of its task, as Keras writes it for losses and outputs of each kind."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import pytest
from conftest import Run

from wcodec.modelfiles import open_model


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
        ("softmax", "sparse_categorical_crossentropy", "unknown"),
        (None, keras.losses.SparseCategoricalCrossentropy(from_logits=True), "unknown"),
        (None, keras.losses.BinaryCrossentropy(from_logits=True), "multilabel"),
        ("sigmoid", "binary_crossentropy", "multilabel"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_the_task_is_told_by_the_loss_or_by_the_last_layer(
    suffix: str, last: str | None, loss: object, task: str, tmp_path: Path
) -> None:
    network(last, loss).save(tmp_path / f"m{suffix}")
    with open_model(tmp_path / f"m{suffix}") as model:
        assert model.task == task


def test_many_linear_outputs_of_a_model_without_a_loss_may_be_logits(samples: Path) -> None:
    with open_model(samples / "lenet300.h5") as model:
        assert not model.predicts_values


def test_gentler_steps_are_said(tmp_path: Path, wcodec: Run) -> None:
    network(None, "mse").save(tmp_path / "m.keras")
    done = wcodec("encode", tmp_path / "m.keras", "--json")
    assert "the model predicts values" in done.stderr
    assert len(json.loads(done.stdout)["notes"]) == 1
