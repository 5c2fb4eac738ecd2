"""Random networks of all layers that have a rule, and masks over their units."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from wcodec.evaluation.keras_backend import keras
from wcodec.structure.graph import Graph, Mask
from wcodec.structure.rebuild import keeps

if TYPE_CHECKING:
    from keras import KerasTensor, Model

Rng = np.random.Generator
Block = Callable[[Rng, "KerasTensor"], "KerasTensor"]


def draw_network(seed: int) -> Model:
    """A network of images, of sequences, of words or of vectors, of three to six blocks."""
    rng = np.random.default_rng(seed)
    keras().utils.set_random_seed(seed)
    family = (images, sequences, words, vectors)[seed % 4]
    model: Model = family(rng)
    for variable in model.weights:
        if str(variable.dtype).startswith("float"):
            value = rng.normal(0, 0.5, variable.shape)
            variable.assign(np.abs(value) + 0.5 if "variance" in variable.name else value)
    return model


def images(rng: Rng) -> Model:
    layers = keras().layers
    x = image = layers.Input((8, 8, 2))
    blocks: list[Block] = [
        convolved, normed, residual, squeezed, branched, depthwise, separable, grouped, transposed, pooled, scaled,
    ]  # fmt: skip
    x = convolved(rng, x)
    for _ in range(rng.integers(2, 5)):
        x = blocks[rng.integers(len(blocks))](rng, x)
    x = layers.Flatten()(x) if rng.random() < 0.5 else layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(5, "relu")(x)
    return keras().Model(image, layers.Dense(3)(x))


def sequences(rng: Rng) -> Model:
    layers = keras().layers
    x = series = layers.Input((6, 3))
    x = layers.Conv1D(5, 3, padding="causal", activation="relu")(x)
    blocks: list[Block] = [recurrent, both_ways, attended, scored, einsum, timed, normed, turned, by_groups]
    for _ in range(rng.integers(1, 4)):
        x = blocks[rng.integers(len(blocks))](rng, x)
    x = [layers.GRU(4), layers.LSTM(4), layers.Flatten(), layers.GlobalMaxPooling1D()][rng.integers(4)](x)
    return keras().Model(series, layers.Dense(3)(x))


def words(rng: Rng) -> Model:
    layers = keras().layers
    text = layers.Input((6,), dtype="int32")
    x = layers.Embedding(11, 8)(text)
    for _ in range(rng.integers(1, 3)):
        x = [attended, grouped_heads, recurrent][rng.integers(3)](rng, x)
    encoded, *state = layers.GRU(5, return_state=True, return_sequences=True)(x)
    x = layers.GRU(5)(encoded, initial_state=state)
    return keras().Model(text, layers.Dense(3, "softmax")(x))


def vectors(rng: Rng) -> Model:
    layers = keras().layers
    left, right = layers.Input((4,)), layers.Input((4,))
    inner = keras().Sequential([layers.Input((4,)), layers.Dense(7, "tanh"), layers.Dense(4, "relu")], name="inner")
    shared = layers.Dense(6, "relu", name="shared")
    a, b = shared(inner(left)), shared(inner(right) if rng.random() < 0.5 else right)
    x = [layers.Add(), layers.Concatenate(), layers.Multiply(), layers.Maximum()][rng.integers(4)]([a, b])
    x = layers.Concatenate()([x, x, layers.Dense(3)(left)])
    x = layers.PReLU()(layers.Reshape((-1, 3))(layers.Dense(6)(x)) if rng.random() < 0.3 else layers.Dense(6)(x))
    x = layers.Flatten()(x)
    if rng.random() < 0.5:
        x = keras().Sequential([layers.Dense(6, "relu"), layers.Dropout(0.3), layers.BatchNormalization()])(x)
    x = layers.LayerNormalization()(x) if rng.random() < 0.3 else 2.0 * x
    return keras().Model([left, right], [layers.Dense(2)(layers.Dense(5, "sigmoid")(x)), layers.Dense(1)(a)])


def convolved(rng: Rng, x: KerasTensor) -> KerasTensor:
    filters, act = int(rng.integers(3, 8)), ["relu", "tanh", None, "sigmoid"][rng.integers(4)]
    return keras().layers.Conv2D(filters, 3, padding=["same", "valid"][int(rng.random() < 0.2 and x.shape[1] > 4)],
                                 activation=act, use_bias=bool(rng.random() < 0.7))(x)  # fmt: skip


def normed(rng: Rng, x: KerasTensor) -> KerasTensor:
    return keras().layers.ReLU()(keras().layers.BatchNormalization()(x))


def residual(rng: Rng, x: KerasTensor) -> KerasTensor:
    layers = keras().layers
    y = layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same", use_bias=False)(x))
    y = layers.Conv2D(x.shape[-1], 3, padding="same")(layers.Activation("relu")(y))
    return layers.Add()([x, y]) if rng.random() < 0.5 else x + y


def squeezed(rng: Rng, x: KerasTensor) -> KerasTensor:
    layers = keras().layers
    gate = layers.Dense(3, "relu")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return layers.Multiply()([x, layers.Dense(x.shape[-1], "sigmoid")(gate)])


def branched(rng: Rng, x: KerasTensor) -> KerasTensor:
    layers = keras().layers
    return layers.Concatenate()([layers.Conv2D(3, 1)(x), x, layers.MaxPooling2D(3, 1, "same")(x)])


def depthwise(rng: Rng, x: KerasTensor) -> KerasTensor:
    return keras().layers.DepthwiseConv2D(3, padding="same", depth_multiplier=int(rng.integers(1, 3)))(x)


def separable(rng: Rng, x: KerasTensor) -> KerasTensor:
    return keras().layers.SeparableConv2D(5, 3, padding="same", depth_multiplier=int(rng.integers(1, 3)))(x)


def grouped(rng: Rng, x: KerasTensor) -> KerasTensor:
    x = keras().layers.Conv2D(6, 1)(x)
    return keras().layers.Conv2D(9, 3, padding="same", groups=3)(x)


def transposed(rng: Rng, x: KerasTensor) -> KerasTensor:
    return keras().layers.Conv2DTranspose(4, 3, padding="same")(x)


def pooled(rng: Rng, x: KerasTensor) -> KerasTensor:
    layers = keras().layers
    return layers.UpSampling2D()(layers.AveragePooling2D(2, padding="same")(layers.ZeroPadding2D(1)(x)))


def scaled(rng: Rng, x: KerasTensor) -> KerasTensor:
    return keras().layers.Rescaling(0.5, 0.1)(keras().layers.Softmax(axis=1)(x))


def recurrent(rng: Rng, x: KerasTensor) -> KerasTensor:
    layers = keras().layers
    reset = bool(rng.random() < 0.5)
    kinds = [layers.SimpleRNN(5, return_sequences=True), layers.LSTM(5, return_sequences=True),
             layers.GRU(5, return_sequences=True, reset_after=reset)]  # fmt: skip
    return kinds[rng.integers(3)](x)


def both_ways(rng: Rng, x: KerasTensor) -> KerasTensor:
    layers = keras().layers
    mode = ["concat", "sum", "mul", "ave"][rng.integers(4)]
    return layers.Bidirectional(layers.LSTM(4, return_sequences=True), merge_mode=mode)(x)


def attended(rng: Rng, x: KerasTensor) -> KerasTensor:
    layers = keras().layers
    y = layers.MultiHeadAttention(3, 4, value_dim=int(rng.integers(3, 6)))(x, x)
    return layers.Add()([x, y]) if rng.random() < 0.5 else y


def scored(rng: Rng, x: KerasTensor) -> KerasTensor:
    layers = keras().layers
    kind = layers.Attention if rng.random() < 0.5 else layers.AdditiveAttention
    parts = [layers.Dense(5)(x), layers.Dense(5)(x)]
    return kind(use_scale=bool(rng.random() < 0.5))([*parts, layers.Dense(5)(x)] if rng.random() < 0.5 else parts)


def by_groups(rng: Rng, x: KerasTensor) -> KerasTensor:
    layers = keras().layers
    return layers.GroupNormalization([2, 3, -1, 6][rng.integers(4)])(layers.Dense(6)(x))


def grouped_heads(rng: Rng, x: KerasTensor) -> KerasTensor:
    return keras().layers.GroupQueryAttention(4, 6, 3)(x, x)


def einsum(rng: Rng, x: KerasTensor) -> KerasTensor:
    layers = keras().layers
    return layers.EinsumDense("btc,cd->btd", (6, 5), bias_axes=["d", "td", None][rng.integers(3)])(x)


def timed(rng: Rng, x: KerasTensor) -> KerasTensor:
    return keras().layers.TimeDistributed(keras().layers.Dense(5, "relu"))(x)


def turned(rng: Rng, x: KerasTensor) -> KerasTensor:
    layers = keras().layers
    y = layers.Permute((2, 1))(layers.BatchNormalization(axis=1)(layers.Permute((2, 1))(x)))
    return layers.Dense(5)(y)


def inputs_of(model: Model, seed: int, count: int = 6) -> list[np.ndarray]:
    """Random inputs, words where it takes integers."""
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, 11, (count, *x.shape[1:])).astype("int32")
        if str(x.dtype) == "int32"
        else rng.normal(size=(count, *x.shape[1:])).astype("float32")
        for x in model.inputs
    ]


def some_kept(graph: Graph, rng: Rng) -> Mask:
    """A mask over the units: each removable one goes with probability 0.4, but one of every axis stays."""
    kept = ~graph.removable | (rng.random(graph.count) < 0.6)
    for one in graph.weights:
        if len(one.units) and not keeps(one.units, kept).any():
            kept[one.units[rng.integers(len(one.units))]] = True
    return kept


def mask_units(graph: Graph, kept: Mask) -> dict[int, np.ndarray]:
    """By id of a variable its value with zeros at all units that go."""
    found: dict[int, np.ndarray] = {}
    for one in graph.weights:
        value = found.setdefault(id(one.variable), keras().ops.convert_to_numpy(one.variable).copy())
        np.moveaxis(value, one.axis, 0)[~keeps(one.units, kept)] = 0
    return found


def answers(model: Model, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """All outputs, in inference."""
    given = inputs[0] if len(inputs) == 1 else inputs
    return [np.asarray(one) for one in keras().tree.flatten(model(given, training=False))]
