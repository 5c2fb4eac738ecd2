"""Every kind of network that can be trained is trained with labels; the others are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.small_problem import finetune_files
from wcodec.calibration.budget import AccuracyBudget
from wcodec.errors import RecipeError
from wcodec.evaluation.keras_backend import keras
from wcodec.training.finetune import MADE_WITHOUT_LABELS

if TYPE_CHECKING:
    from keras import Model


def rows(of: ModuleType) -> Model:
    return keras().Sequential([of.Input((6, 4)), of.Bidirectional(of.LSTM(8)), of.Dense(3, "softmax")])


def words(of: ModuleType) -> Model:
    return keras().Sequential([of.Input((5,), dtype="int32"), of.Embedding(20, 8), of.GRU(6), of.Dense(3)])


def attention(of: ModuleType) -> Model:
    given = of.Input((6, 4))
    x = of.LayerNormalization()(of.Dense(8)(given))
    x = of.Add()([x, of.MultiHeadAttention(2, 4)(x, x)])
    return keras().Model(given, of.Dense(3)(of.GlobalAveragePooling1D()(x)))


def nested(of: ModuleType) -> Model:
    inner = keras().Sequential([of.Input((6, 4)), of.Conv1D(6, 3), of.BatchNormalization(), of.ReLU(), of.Flatten()])
    given = of.Input((6, 4))
    return keras().Model(given, of.Dense(3)(inner(given)))


def yes_or_no(of: ModuleType) -> Model:
    return keras().Sequential([of.Input((6, 4)), of.Flatten(), of.Dense(9, "relu"), of.Dense(1, "sigmoid")])


def values(of: ModuleType) -> Model:
    return keras().Sequential([of.Input((6, 4)), of.Flatten(), of.Dense(9, "relu"), of.Dense(2)])


RNG = np.random.default_rng(6)
SURE = AccuracyBudget(drop=30.0)
"""60 held-out examples with random labels have a drop with a standard error of up to 10 points."""
SEQUENCES = RNG.normal(size=(300, 6, 4)).astype(np.float32)
KINDS: dict[str, tuple[Callable[[ModuleType], Model], np.ndarray, np.ndarray]] = {
    "lstm": (rows, SEQUENCES, RNG.integers(0, 3, 300)),
    "words": (words, RNG.integers(0, 20, (300, 5)), np.eye(3)[RNG.integers(0, 3, 300)]),
    "attention": (attention, SEQUENCES, RNG.integers(0, 3, (300, 1))),
    "nested": (nested, SEQUENCES, RNG.integers(0, 3, 300)),
    "yes or no": (yes_or_no, SEQUENCES, RNG.integers(0, 2, 300)),
    "values": (values, SEQUENCES, RNG.normal(size=(300, 2))),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_training_with_labels_trains_every_kind_of_network(
    kind: tuple[Callable[[ModuleType], Model], np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    build, x, y = kind
    model = build(keras().layers)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    budget = AccuracyBudget(loss=50.0) if build is values else SURE
    found, lines = finetune_files(tmp_path / "model.keras", tmp_path / "data.npz", tmp_path, epochs=3, budget=budget)
    assert lines[0].endswith("examples are held out to measure on")
    assert lines[1].startswith("budget: ")
    assert sum("(before " in line for line in lines) == 4
    assert set(lines[6:]) <= {MADE_WITHOUT_LABELS}
    learned = {i for i, w in enumerate(model.weights) if w.trainable}
    assert any({one.index for one in net.rounded} >= learned for net in found.candidates)
    assert found.candidates[0].bytes < 2 * sum(weight.size for weight in model.get_weights())


def test_a_network_with_an_input_of_tokens_and_another_input_is_trained(tmp_path: Path) -> None:
    of = keras().layers
    numbers, tokens = of.Input((6, 4), name="numbers"), of.Input((5,), dtype="int32", name="tokens")
    read = of.Flatten()(of.Embedding(20, 6)(tokens))
    x = of.Dense(12, "relu")(of.Concatenate()([of.Flatten()(numbers), read]))
    keras().Model([numbers, tokens], [of.Dense(3, name="first")(x), of.Dense(2, name="second")(x)]).save(
        tmp_path / "model.keras"
    )
    y = RNG.integers(0, 3, 300)
    np.savez(tmp_path / "data.npz", x_numbers=SEQUENCES, x_tokens=RNG.integers(0, 20, (300, 5)), y=y)
    found, lines = finetune_files(tmp_path / "model.keras", tmp_path / "data.npz", tmp_path, epochs=2, budget=SURE)
    assert [line for line in lines if line.startswith("epoch 2 of 2")]
    assert found.candidates[0].bytes < found.candidates[-1].bytes


def subclassed(inputs: int) -> Model:
    """A network of a class of the user."""

    @keras().saving.register_keras_serializable("finetune")
    class Own(keras().Model):
        def __init__(self, **more: object) -> None:
            super().__init__(**more)
            of = keras().layers
            self.flat, self.inner, self.outer = of.Flatten(), of.Dense(9, "relu"), of.Dense(3)

        def call(self, given: object) -> object:
            first = given[0] if isinstance(given, list | tuple) else given
            return self.outer(self.inner(self.flat(first)))

    model = Own()
    model(SEQUENCES[:2] if inputs == 1 else [SEQUENCES[:2]] * inputs)
    return model


def test_a_network_of_a_users_class_is_trained_or_refused_with_a_reason(tmp_path: Path) -> None:
    subclassed(1).save(tmp_path / "one.keras")
    np.savez(tmp_path / "data.npz", x=SEQUENCES, y=RNG.integers(0, 3, 300))
    found, _ = finetune_files(tmp_path / "one.keras", tmp_path / "data.npz", tmp_path, epochs=2, budget=SURE)
    assert max(len(net.rounded) for net in found.candidates) == 4
    subclassed(2).save(tmp_path / "two.keras")
    with pytest.raises(RecipeError, match="expected a network with declared inputs, or built for one"):
        finetune_files(tmp_path / "two.keras", tmp_path / "data.npz", tmp_path, epochs=2)
