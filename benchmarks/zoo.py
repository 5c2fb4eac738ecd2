"""Train networks of the kinds that people have: python benchmarks/zoo.py --data fashion_mnist.npz --out DIR [name ...]

The archive holds `x_train`, `y_train`, `x_test`, `y_test`, as Keras' own files do; every network takes the images
divided by 255, and says in its docstring in which shape. Saved without optimizer state; DIR/facts.json records what
came out. Courses are short, about a minute of one core each: the networks are for trying a codec on, not for records.
The seed is fixed; figures still move by some tenths of a point between machines.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import keras
import numpy as np
import numpy.typing as npt
from keras import KerasTensor, layers

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
SEED = 1
BATCH = 128
BRIGHTNESS = (0.1, 0.35, 0.65)


def vgg_bn() -> keras.Model:
    """Convolutions with batch normalisation, halved by pooling, after VGG; images (n, 28, 28, 1) to softmax."""
    image = layers.Input((28, 28, 1))
    x: KerasTensor = image
    for filters, pooled in ((24, True), (48, True), (96, False), (96, True), (192, False), (192, False)):
        x = _normalize(layers.Conv2D(filters, 3, padding="same", use_bias=False), x)
        x = layers.MaxPooling2D()(x) if pooled else x
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(10, "softmax")(x), name="vgg_bn")


def resnet_bn() -> keras.Model:
    """Residual blocks of two convolutions, batch normalisation behind each; images (n, 28, 28, 1) to logits."""
    image = layers.Input((28, 28, 1))
    x = _normalize(layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False), image)
    for filters, strides in ((16, 1), (16, 1), (40, 2), (40, 1), (96, 2), (96, 1)):
        y = _normalize(layers.Conv2D(filters, 3, strides, padding="same", use_bias=False), x)
        y = _normalize(layers.Conv2D(filters, 3, padding="same", use_bias=False), y, None)
        if x.shape[-1] != filters:
            x = _normalize(layers.Conv2D(filters, 1, strides, use_bias=False), x, None)
        x = layers.ReLU()(layers.Add()([x, y]))
    return keras.Model(image, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)), name="resnet_bn")


def inverted_residual() -> keras.Model:
    """Expand, filter each channel, project, after MobileNetV2; images (n, 28, 28, 1) to softmax."""
    image = layers.Input((28, 28, 1))
    x = _normalize(layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False), image, "relu6")
    for filters, strides in ((16, 1), (24, 2), (24, 1), (24, 1), (40, 2), (40, 1), (40, 1)):
        y = _normalize(layers.Conv2D(4 * x.shape[-1], 1, use_bias=False), x, "relu6")
        y = _normalize(layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False), y, "relu6")
        y = _normalize(layers.Conv2D(filters, 1, use_bias=False), y, None)
        x = layers.Add()([x, y]) if x.shape == y.shape else y
    x = _normalize(layers.Conv2D(200, 1, use_bias=False), x, "relu6")
    return keras.Model(image, layers.Dense(10, "softmax")(layers.GlobalAveragePooling2D()(x)), name="inverted_residual")


def separable() -> keras.Model:
    """Separable convolutions with biases and no normalisation; images (n, 28, 28, 1) to softmax."""
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(24, 3, strides=2, padding="same", activation="relu"),
            layers.SeparableConv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.SeparableConv2D(128, 3, padding="same", activation="relu"),
            layers.SeparableConv2D(128, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, "softmax"),
        ],
        name="separable",
    )


def lstm() -> keras.Model:
    """Rows read both ways, then forwards; images (n, 28, 28) to softmax."""
    return keras.Sequential(
        [
            layers.Input((28, 28)),
            layers.Bidirectional(layers.LSTM(112, return_sequences=True)),
            layers.LSTM(80),
            layers.Dense(10, "softmax"),
        ],
        name="lstm",
    )


def gru_embed() -> keras.Model:
    """Blocks of 4 by 4 pixels become one of 256 words, a text of 49 of them; images (n, 28, 28, 1) to logits."""
    image = layers.Input((28, 28, 1))
    x = layers.Discretization(BRIGHTNESS)(layers.AveragePooling2D(2)(image))
    words = 64 * x[:, ::2, ::2] + 16 * x[:, ::2, 1::2] + 4 * x[:, 1::2, ::2] + x[:, 1::2, 1::2]
    x = layers.Embedding(256, 48)(layers.Reshape((49,))(words))
    return keras.Model(image, layers.Dense(10)(layers.GRU(96)(x)), name="gru_embed")


def conv1d() -> keras.Model:
    """Convolutions over rows, then a GRU; images (n, 28, 28) to logits."""
    return keras.Sequential(
        [
            layers.Input((28, 28)),
            layers.Conv1D(64, 3, padding="same", activation="relu"),
            layers.Conv1D(96, 3, padding="same", activation="relu"),
            layers.MaxPooling1D(),
            layers.GRU(80),
            layers.Dense(10),
        ],
        name="conv1d",
    )


def vit() -> keras.Model:
    """A vision transformer over 16 patches, normalised before each half block; images (n, 28, 28, 1) to logits."""
    image = layers.Input((28, 28, 1))
    x = layers.Reshape((4, 7, 4, 7))(image)
    x = layers.Reshape((16, 49))(layers.Permute((1, 3, 2, 4))(x))
    x = layers.EinsumDense("btp,pd->btd", (16, 80), bias_axes="td", name="patches_and_positions")(x)
    for _ in range(5):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, 20)(y, y)])
        y = layers.Dense(160, "gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(80)(y)])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(image, layers.Dense(10)(x), name="vit")


def dense_deep() -> keras.Model:
    """Six dense layers with dropout; images (n, 28, 28) to logits."""
    hidden = [
        layer for units in (400, 400, 256, 128, 64) for layer in (layers.Dense(units, "relu"), layers.Dropout(0.1))
    ]
    return keras.Sequential([layers.Input((28, 28)), layers.Flatten(), *hidden, layers.Dense(10)], name="dense_deep")


def _normalize(layer: layers.Layer, x: KerasTensor, activation: str | None = "relu") -> KerasTensor:
    """A layer, batch normalisation, an activation or none."""
    x = layers.BatchNormalization(momentum=0.95)(layer(x))
    return x if activation is None else layers.Activation(activation)(x)


@dataclass(frozen=True)
class TrainingPlan:
    """How one network is trained: Adam in batches of 128, its rate falling from `rate` to zero on a cosine.

    examples: how many training images are used, from the first.
    """

    build: Callable[[], keras.Model]
    examples: int
    epochs: int
    rate: float = 2e-3
    suffix: str = ".keras"


TRAINING_PLANS = {
    "dense_deep": TrainingPlan(dense_deep, 60_000, epochs=8, rate=1e-3, suffix=".h5"),
    "resnet_bn": TrainingPlan(resnet_bn, 60_000, epochs=1),
    "conv1d": TrainingPlan(conv1d, 60_000, epochs=2),
    "vit": TrainingPlan(vit, 40_000, epochs=1, rate=1e-3),
    "lstm": TrainingPlan(lstm, 40_000, epochs=1, rate=3e-3),
    "gru_embed": TrainingPlan(gru_embed, 60_000, epochs=1, rate=4e-3),
    "inverted_residual": TrainingPlan(inverted_residual, 30_000, epochs=1, rate=4e-3),
    "vgg_bn": TrainingPlan(vgg_bn, 24_000, epochs=1),
    "separable": TrainingPlan(separable, 60_000, epochs=1, rate=4e-3),
}


@dataclass(frozen=True)
class Facts:
    """What came out. accuracy: percent of the test images; tensors: those with weights, of two or more dimensions."""

    accuracy: float
    data: str
    params: int
    tensors: int
    all_tensors: int
    input_shape: tuple[int, ...]
    outputs: str
    seconds: float


@dataclass(frozen=True)
class Pictures:
    """Images float32[n, 28, 28] between 0 and 1, and their classes."""

    name: str
    train: Images
    train_labels: Labels
    test: Images
    test_labels: Labels


def read_pictures(path: Path) -> Pictures:
    """The pictures in an archive such as Keras' mnist.npz."""
    with np.load(path, allow_pickle=False) as archive:
        x_train, x_test = archive["x_train"] / np.float32(255), archive["x_test"] / np.float32(255)
        return Pictures(path.stem, x_train, archive["y_train"], x_test, archive["y_test"])


def train(plan: TrainingPlan, pictures: Pictures, seed: int = SEED) -> tuple[keras.Model, Facts]:
    """A trained network that was never compiled, and its facts."""
    started = time.process_time()
    keras.utils.set_random_seed(seed)
    model = plan.build()
    outputs = "softmax" if model.layers[-1].activation is keras.activations.softmax else "logits"
    images = pictures.train[: plan.examples].reshape(-1, *model.input_shape[1:])
    steps = plan.epochs * -(-len(images) // BATCH)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(plan.rate, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=outputs == "logits"),
        jit_compile=False,
    )
    model.fit(images, pictures.train_labels[: len(images)], batch_size=BATCH, epochs=plan.epochs, verbose=0)
    seconds = time.process_time() - started
    bare = plan.build()
    bare.set_weights(model.get_weights())
    chosen = np.argmax(bare.predict(pictures.test.reshape(-1, *bare.input_shape[1:]), 1000, verbose=0), axis=1)
    shapes = [weight.shape for weight in bare.weights]
    return bare, Facts(
        accuracy=round(100 * float(np.mean(chosen == pictures.test_labels)), 2),
        data=pictures.name,
        params=bare.count_params(),
        tensors=sum(len(shape) > 1 for shape in shapes),
        all_tensors=len(shapes),
        input_shape=model.input_shape[1:],
        outputs=outputs,
        seconds=round(seconds, 1),
    )


def record(path: Path, name: str, facts: Facts) -> None:
    """Add a network's facts to those already in `path`."""
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | {name: asdict(facts)}, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train networks of many kinds to try wcodec on.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(TRAINING_PLANS)} (default: all)")
    parser.add_argument("--data", type=Path, required=True, help="an archive such as Keras' mnist.npz")
    parser.add_argument("--out", type=Path, default=Path("zoo"), help="folder to save into (default: zoo)")
    parser.add_argument("--epochs", type=int, help="of all that are trained, in place of their own")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(TRAINING_PLANS)):
        parser.error(f"name: expected some of {', '.join(TRAINING_PLANS)}, got {', '.join(unknown)}")
    options.out.mkdir(parents=True, exist_ok=True)
    pictures = read_pictures(options.data)
    for name in options.names or TRAINING_PLANS:
        plan = TRAINING_PLANS[name]
        model, facts = train(replace(plan, epochs=options.epochs or plan.epochs), pictures)
        model.save(options.out / f"{name}{plan.suffix}")
        record(options.out / "facts.json", name, facts)
        print(
            f"{name}: {facts.accuracy:.2f} % of the {facts.data} test images, {facts.params:,} parameters, "
            f"{facts.seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
