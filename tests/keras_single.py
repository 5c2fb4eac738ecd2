"""A network of one dense layer, and examples for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wcodec.evaluation.keras_backend import keras

if TYPE_CHECKING:
    from keras import Model

COUNT = 100
RNG = np.random.default_rng(7)
ROWS = RNG.normal(size=(COUNT, 6)).astype(np.float32)
CLASSES = RNG.integers(0, 4, COUNT)


def dense(units: int, activation: str | None = None, inputs: tuple[int, ...] = (6,)) -> Model:
    keras().utils.set_random_seed(units)
    layers = keras().layers
    return keras().Sequential([layers.Input(inputs), layers.Dense(units, activation, name="head")], name="net")
