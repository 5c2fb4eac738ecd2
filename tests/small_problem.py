"""A small problem with labels, a network that is good at it, and its training."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.request import LearningRequest
from wcodec.evaluation.keras_backend import keras
from wcodec.training.finetune import FinetuneResult, train

if TYPE_CHECKING:
    from keras import Model


def make_examples(count: int = 1200, new: int = 0) -> dict[str, np.ndarray]:
    """Examples of three classes that lines divide. new: return so many other examples of the same classes instead."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(count, 12)).astype(np.float32)
    lines = rng.normal(size=(12, 3))
    x = rng.normal(size=(new, 12)).astype(np.float32) if new else x
    return {"x": x, "y": (x @ lines).argmax(axis=1)}


def train_network(model: Model, given: dict[str, np.ndarray], loss: object, epochs: int = 8) -> Model:
    model.compile(keras().optimizers.Adam(5e-3), loss, jit_compile=False)
    model.fit(given["x"], given["y"], epochs=epochs, verbose=0)
    bare = keras().models.clone_model(model)
    bare.set_weights(model.get_weights())
    return bare


def classes() -> object:
    return keras().losses.SparseCategoricalCrossentropy(from_logits=True)


def dense(of: ModuleType) -> Model:
    keras().utils.set_random_seed(2)
    layers = [of.Dense(48, "relu"), of.BatchNormalization(), of.Dropout(0.2), of.Dense(24, "relu"), of.Dense(3)]
    return keras().Sequential([of.Input((12,)), *layers])


def write_files(folder: Path) -> tuple[Path, Path]:
    """A network with BatchNormalization, trained on its examples, and these examples."""
    given = make_examples()
    train_network(dense(keras().layers), given, classes()).save(folder / "model.keras")
    np.savez(folder / "data.npz", **given)
    return folder / "model.keras", folder / "data.npz"


WITHIN = AccuracyBudget(drop=2.0)


def make_request(
    data: Path, state: Path, epochs: int = 6, budget: AccuracyBudget = WITHIN, **more: object
) -> LearningRequest:
    return LearningRequest(
        **({"data": str(data), "epochs": epochs, "budget": budget, "state": state, "seconds": float("inf")} | more)
    )


def finetune_files(source: Path, data: Path, folder: Path, **more: object) -> tuple[FinetuneResult, list[str]]:
    lines: list[str] = []
    return train(source, make_request(data, folder / "state", **more), lines.append), lines
