"""Small Keras models, one for each thing that a model file can hold. Built on demand; no weights are downloaded."""

from __future__ import annotations

import os
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers

IMAGE = (8, 8, 2)
STEPS = (5, 3)
WORDS = (6,)


@keras.saving.register_keras_serializable(package="zoo")
class Scaled(layers.Layer):
    """A layer of our own, with a float weight, an integer counter and a scalar."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")
        self.mix = self.add_weight(shape=(input_shape[-1], input_shape[-1]), initializer="orthogonal", name="mix")
        self.seen = self.add_weight(shape=(2, 3), dtype="int32", initializer="zeros", trainable=False, name="seen")
        self.bias = self.add_weight(shape=(), initializer="zeros", name="offset")

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.mix) * self.scale + self.bias


def sequential():
    dense = layers.Dense(9, "relu", name="dense"), layers.Dense(3, name="été")
    return keras.Sequential([keras.Input(IMAGE), layers.Flatten(), *dense])


def convolutional():
    x = inputs = keras.Input(IMAGE)
    x = layers.Conv2D(5, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.SeparableConv2D(4, 3)(x)
    x = layers.DepthwiseConv2D(3)(x)
    x = layers.Conv2DTranspose(3, 2)(x)
    x = layers.LayerNormalization()(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.PReLU()(x))


def branching():
    x = inputs = keras.Input(IMAGE)
    shared = layers.Dense(4, name="shared")
    a, b = shared(layers.Flatten()(x)), shared(layers.Flatten()(layers.ReLU()(x)))
    return keras.Model(inputs, [layers.Dense(2, name="head")(layers.Add()([a, b])), layers.Concatenate()([a, b])])


def nested():
    dense = layers.Dense(4, name="dense"), layers.Dense(4, name="other")
    inner = keras.Sequential([keras.Input((4,)), *dense], name="inner")
    x = inputs = keras.Input(IMAGE)
    x = layers.Dense(4, name="dense")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(2, name="last")(inner(inner(x))))


def recurrent():
    x = inputs = keras.Input(STEPS)
    x = layers.LSTM(4, return_sequences=True, name="memory")(x)
    x = layers.Bidirectional(layers.GRU(3, return_sequences=True))(x)
    return keras.Model(inputs, layers.SimpleRNN(2)(x))


def attention():
    x = inputs = keras.Input(WORDS, dtype="int32")
    x = layers.Embedding(11, 8)(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x)])
    x = layers.TimeDistributed(layers.Dense(4))(x)
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))


def custom():
    return keras.Sequential([keras.Input(IMAGE), layers.Flatten(), Scaled(name="ours"), layers.Dense(2)])


def bfloat16():
    policy = keras.DTypePolicy("bfloat16")
    dense = layers.Dense(6, dtype=policy), layers.Dense(2, dtype=policy)
    return keras.Sequential([keras.Input(IMAGE), layers.Flatten(), *dense])


def random_state():
    parts = [layers.GaussianNoise(0.1, seed=3), layers.Dropout(0.5, seed=4), layers.Flatten(), layers.Dense(3)]
    return keras.Sequential([keras.Input(IMAGE), *parts])


def normalized():
    statistics = layers.Normalization(axis=(1, 3))
    statistics.adapt(_numbers(8, (16, *IMAGE)))
    return keras.Sequential([keras.Input(IMAGE), statistics, layers.Flatten(), layers.Dense(3)])


def compiled():
    model = keras.Sequential([keras.Input(IMAGE), layers.Conv2D(3, 3), layers.Flatten(), layers.Dense(3)])
    model.compile(optimizer="adam", loss="mean_squared_error")
    model.train_on_batch(examples(model), np.ones((4, 3), np.float32))
    return model


def quantized():
    model = keras.Sequential([keras.Input((16,)), layers.Dense(8, name="coarse"), layers.Dense(2)])
    model.layers[0].quantize("int8")
    return model


ZOO: dict[str, Callable[[], keras.Model]] = {
    builder.__name__: builder
    for builder in (sequential, convolutional, branching, nested, recurrent, attention, custom, bfloat16, random_state,
                    normalized, compiled, quantized)
}  # fmt: skip
NOT_AS_H5 = {"attention", "bfloat16", "normalized"}
"""Models whose `.h5` Keras 3 writes but does not load."""


def deep(count: int) -> keras.Model:
    """`count` layers with long names, so that Keras splits its list of their names over several attributes."""
    parts = [layers.Rescaling(1.0, name=f"a_layer_with_a_long_name_{'x' * 1000}_{i}") for i in range(count)]
    return keras.Sequential([keras.Input((2,)), *parts, layers.Dense(2, name="last")])


def build(name: str) -> keras.Model:
    """The model, its weights drawn anew so that no two are alike and none is zero."""
    keras.utils.set_random_seed(1)
    model = ZOO[name]()
    for seed, variable in enumerate(model.weights if name not in ("quantized", "normalized") else []):
        if "float" in str(variable.dtype) and len(variable.shape):
            variable.assign(0.1 + np.abs(_numbers(seed, variable.shape)))
    return model


def examples(model: keras.Model) -> np.ndarray:
    """Inputs for `predict`."""
    shape = (4, *model.input_shape[1:])
    return np.arange(np.prod(shape)).reshape(shape) % 11 if model.inputs[0].dtype == "int32" else _numbers(9, shape)


def predictions(model: keras.Model) -> list[np.ndarray]:
    """All outputs, without compiling a graph."""
    outputs = model(examples(model), training=False)
    several = outputs if isinstance(outputs, list) else [outputs]
    return [np.asarray(keras.ops.convert_to_numpy(output)).astype(np.float32) for output in several]


def _numbers(seed, shape):
    return np.random.default_rng(seed).normal(size=tuple(shape)).astype(np.float32)
