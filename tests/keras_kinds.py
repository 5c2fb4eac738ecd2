"""Small networks, one for each kind of layer that has a kernel, and random inputs for them."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from wcodec.calibration import session
from wcodec.calibration.config import CalibrationConfig
from wcodec.evaluation.examples import Examples, hold_out
from wcodec.evaluation.keras_backend import keras
from wcodec.evaluation.model_loader import model_inputs

if TYPE_CHECKING:
    from keras import Layer, Model


def network(shape: tuple[int, ...], *layers: Layer) -> Model:
    """The layers, and a dense layer of four units on their flattened outputs."""
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


def some(model: Model, count: int, rng: np.random.Generator | None = None) -> Examples:
    """Random inputs, the same in every call without `rng`, tokens if there is an embedding."""
    rng = rng or np.random.default_rng(3)
    tokens = any(type(layer).__name__ == "Embedding" for layer in model.layers)
    shapes = [one.shape for one in model_inputs(model)]
    sizes = [(count, *(length or 1 for length in shape)) for shape in shapes]
    drawn = [rng.integers(0, 20, size).astype(float) if tokens else rng.normal(size=size) for size in sizes]
    return Examples(tuple(array.astype(np.float32) for array in drawn))


def prepare_session(
    model: Model, examples: Examples, config: CalibrationConfig | None = None
) -> session.CalibrationSession:
    return session.prepare_session(model, *hold_out(examples), most=1000, config=config)
