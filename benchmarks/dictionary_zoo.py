"""Untrained Keras models of many kinds, sizes and names, whose skeletons a dictionary is trained on."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from keras import layers

ACTIVATIONS = ("relu", "tanh", "gelu", "swish", "elu", "selu", "sigmoid", "leaky_relu", "relu6", "linear")
Image = tuple[int, int, int]


def _image(r: random.Random) -> Image:
    return r.choice([(28, 28, 1), (32, 32, 3), (64, 64, 3), (48, 48, 1), (16, 16, 2)])


def _name(r: random.Random, *choices: str) -> str | None:
    """A name as people give them, or None for Keras' own."""
    return r.choice([*choices, None]) if r.random() < 0.6 else None


def _finish(r: random.Random, model: keras.Model) -> keras.Model:
    """Compiles some of the models, as people do before they save."""
    loss = r.choice(["categorical_crossentropy", "sparse_categorical_crossentropy", "mse", "binary_crossentropy"])
    optimizers = ["adam", "rmsprop", "sgd", keras.optimizers.Adam(1e-3), keras.optimizers.SGD(0.01, momentum=0.9),
                  keras.optimizers.AdamW(1e-4)]  # fmt: skip
    if r.random() < 0.6:
        metrics = r.choice([["accuracy"], [], ["mae"]])
        if r.random() < 0.3:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=r.random() < 0.5)
        model.compile(optimizer=r.choice(optimizers), loss=loss, metrics=metrics)
    return model


def dense(r: random.Random) -> keras.Model:
    shape = r.choice([(784,), (28, 28), (28, 28, 1), (13,), (30,)])
    parts: list[layers.Layer] = [keras.Input(shape), *([layers.Flatten()] if len(shape) > 1 else [])]
    for i in range(r.randint(1, 4)):
        activation = r.choice(ACTIVATIONS[:5])
        parts.append(
            layers.Dense(
                r.choice([16, 64, 32, 24]),
                activation=activation,
                name=_name(r, f"fc{i + 1}", f"dense{i + 1}", f"hidden_{i}"),
            )
        )
        parts += r.choice([[], [layers.Dropout(r.choice([0.2, 0.5]))], [layers.BatchNormalization()]])
    parts.append(
        layers.Dense(
            r.choice([1, 10]),
            activation=r.choice(["softmax", "sigmoid", "linear"]),
            name=_name(r, "output", "predictions", "logits"),
        )
    )
    return _finish(r, keras.Sequential(parts, name=_name(r, "mlp", "model", "net")))


def lenet_like(r: random.Random) -> keras.Model:
    parts: list[layers.Layer] = [keras.Input(_image(r))]
    for i in range(r.randint(2, 3)):
        width, size, activation = r.choice([8, 6, 16]), r.choice([3, 5]), r.choice(["relu", "tanh", "linear"])
        padding = r.choice(["same", "same", "valid"]) if i == 0 else "same"
        name = _name(r, f"conv{i + 1}", f"c{i + 1}")
        parts.append(layers.Conv2D(width, size, activation=activation, padding=padding, name=name))
        parts.append(r.choice([layers.MaxPooling2D, layers.AveragePooling2D])(2, name=_name(r, f"pool{i + 1}")))
        parts += r.choice([[], [layers.BatchNormalization()], [layers.Dropout(0.25)]])
    parts += [
        r.choice([layers.Flatten, layers.GlobalAveragePooling2D])(),
        layers.Dense(32, activation="relu", name=_name(r, "fc1")),
    ]
    parts.append(layers.Dense(10, activation=r.choice(["softmax", "linear"]), name=_name(r, "fc2", "output")))
    return _finish(r, keras.Sequential(parts, name=_name(r, "lenet", "cnn")))


def residual(r: random.Random) -> keras.Model:
    x = inputs = keras.Input(_image(r))
    x = layers.Conv2D(
        8, 3, strides=2, padding="same", use_bias=False, kernel_initializer="he_normal", name=_name(r, "conv1_conv")
    )(x)
    x = layers.MaxPooling2D(3, strides=1, padding="same")(
        layers.ReLU()(layers.BatchNormalization(name=_name(r, "conv1_bn"))(x))
    )
    for i in range(r.randint(1, 3)):
        y = layers.Conv2D(
            8,
            3,
            padding="same",
            kernel_regularizer=r.choice([None, keras.regularizers.L2(1e-4)]),
            name=_name(r, f"res{i}_conv1"),
        )(x)
        y = layers.Activation("relu")(layers.BatchNormalization(epsilon=r.choice([1e-3, 1e-5]))(y))
        y = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(y))
        x = layers.Activation("relu")(layers.Add(name=_name(r, f"add_{i}"))([x, y]))
    x = layers.Dense(10, activation="softmax", name=_name(r, "predictions"))(
        layers.GlobalAveragePooling2D(name=_name(r, "avg_pool"))(x)
    )
    return _finish(r, keras.Model(inputs, x, name=_name(r, "resnet")))


def mobile(r: random.Random) -> keras.Model:
    x = inputs = keras.Input(_image(r))
    x = layers.Rescaling(1.0 / 127.5, offset=-1)(x)
    for i in range(r.randint(1, 3)):
        x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.999)(layers.ZeroPadding2D(1)(x)))
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=_name(r, f"conv_dw_{i}"))(x)
        x = layers.Conv2D(8, 1, padding="same", use_bias=False, name=_name(r, f"conv_pw_{i}"))(x)
        gate = layers.Reshape((1, 1, 8))(layers.Dense(8, activation="hard_sigmoid")(layers.GlobalAveragePooling2D()(x)))
        x = r.choice(
            [layers.SeparableConv2D(8, 3, padding="same"), layers.LeakyReLU(0.1), layers.SpatialDropout2D(0.1)]
        )(layers.Multiply()([x, gate]))
    return _finish(
        r, keras.Model(inputs, layers.Dense(5, "softmax")(layers.GlobalMaxPooling2D()(x)), name=_name(r, "mobilenet"))
    )


def unet(r: random.Random) -> keras.Model:
    x = inputs = keras.Input((32, 32, 3))
    kept = []
    for i in range(2):
        x = layers.Conv2D(4, 3, activation="relu", padding="same", name=_name(r, f"enc{i}"))(x)
        kept.append(x)
        x = layers.MaxPooling2D()(x)
    for other in reversed(kept):
        up = r.choice([layers.UpSampling2D(2), layers.Conv2DTranspose(4, 2, strides=2, padding="same")])
        x = layers.Conv2D(4, 3, activation="relu", padding="same")(layers.Concatenate()([up(x), other]))
    return _finish(r, keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid")(x), name=_name(r, "unet")))


def recurrent(r: random.Random) -> keras.Model:
    if r.random() < 0.5:
        parts: list[layers.Layer] = [keras.Input((20,)), layers.Embedding(50, 8, name=_name(r, "embedding", "words"))]
    else:
        parts = [keras.Input((20, 4))]
    cell = r.choice([layers.LSTM, layers.GRU, layers.SimpleRNN])
    parts.append(cell(8, return_sequences=True, dropout=r.choice([0.0, 0.2])))
    parts.append(r.choice([layers.Bidirectional(cell(4)), cell(4, name=_name(r, "encoder"))]))
    return _finish(r, keras.Sequential([*parts, layers.Dense(2, activation="softmax")]))


def transformer(r: random.Random) -> keras.Model:
    x = inputs = keras.Input((16,), dtype=r.choice(["int32", "float32"]), name=_name(r, "tokens", "input_ids"))
    x = layers.Dropout(0.1)(layers.Embedding(40, 8)(x))
    for i in range(r.randint(1, 2)):
        y = layers.MultiHeadAttention(2, 4, name=_name(r, f"attention_{i}"))(x, x)
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([x, y]))
        y = layers.Dense(8)(layers.Dropout(0.1)(layers.Dense(16, activation="gelu")(x)))
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling1D()(x)
    return _finish(r, keras.Model(inputs, layers.Dense(2)(x), name=_name(r, "transformer")))


def series(r: random.Random) -> keras.Model:
    parts: list[layers.Layer] = [keras.Input((32, 2))]
    for i in range(r.randint(1, 3)):
        parts.append(
            layers.Conv1D(
                8,
                3,
                padding=r.choice(["same", "causal"]),
                activation=r.choice(ACTIVATIONS),
                name=_name(r, f"conv1d_{i}x"),
            )
        )
        parts.append(
            r.choice(
                [
                    layers.MaxPooling1D(),
                    layers.AveragePooling1D(2),
                    layers.BatchNormalization(),
                    layers.PReLU(),
                    layers.Dropout(0.3),
                ]
            )
        )
    parts += [
        r.choice([layers.Flatten(), layers.GlobalMaxPooling1D(), layers.GlobalAveragePooling1D()]),
        layers.Dense(1),
    ]
    return _finish(r, keras.Sequential(parts))


def autoencoder(r: random.Random) -> keras.Model:
    encoder = keras.Sequential(
        [keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(16, activation="relu"), layers.Dense(4, name="code")],
        name="encoder",
    )
    decoder = keras.Sequential(
        [keras.Input((4,)), layers.Dense(784, activation="sigmoid"), layers.Reshape((28, 28, 1))], name="decoder"
    )
    inputs = keras.Input((28, 28, 1))
    return _finish(r, keras.Model(inputs, decoder(encoder(inputs)), name=_name(r, "autoencoder", "vae")))


def build_augmented(r: random.Random) -> keras.Model:
    parts: list[layers.Layer] = [
        keras.Input((32, 32, 3)),
        layers.Rescaling(1.0 / 255),
        layers.RandomFlip("horizontal", seed=r.choice([None, 1])),
        layers.RandomRotation(0.1),
    ]
    parts += r.choice(
        [[layers.RandomZoom(0.1)], [layers.GaussianNoise(0.1)], [layers.Resizing(24, 24)], [layers.RandomContrast(0.1)]]
    )
    parts += [
        layers.Conv2D(8, 3, kernel_initializer=r.choice(["he_uniform", "random_normal", "glorot_normal"])),
        layers.GroupNormalization(4),
    ]
    parts += [layers.Activation(r.choice(ACTIVATIONS)), layers.Flatten(), layers.Dense(3)]
    return _finish(r, keras.Sequential(parts))


def volume(r: random.Random) -> keras.Model:
    parts = [
        keras.Input((8, 8, 8, 1)),
        layers.Conv3D(4, 3, activation="relu"),
        layers.MaxPooling3D(),
        layers.BatchNormalization(),
        layers.Flatten(),
    ]
    return _finish(r, keras.Sequential([*parts, layers.Dense(2, kernel_constraint=keras.constraints.MaxNorm(2))]))


def bfloat(r: random.Random) -> keras.Model:
    policy = r.choice(["mixed_float16", "mixed_bfloat16", "bfloat16", "float16"])
    parts = [
        keras.Input((12,)),
        layers.Dense(8, dtype=policy, activation="relu"),
        layers.LayerNormalization(dtype=policy),
        layers.Dense(2, dtype="float32"),
    ]
    return _finish(r, keras.Sequential(parts))


KINDS: tuple[Callable[[random.Random], keras.Model], ...] = (
    volume, bfloat, build_augmented, autoencoder, series, transformer, recurrent, unet, mobile, residual, dense,
    lenet_like,
)  # fmt: skip
"""Rarest first: what comes last in a dictionary is cheapest to refer to."""
