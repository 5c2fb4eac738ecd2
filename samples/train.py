"""Train the sample networks from mnist.npz alone: python samples/train.py lenet300 --out DIR [--epochs N]

The weights are saved without optimizer state. The seed is fixed; figures still move by about 0.1 point between
machines, because float sums depend on the number of threads.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

Images = npt.NDArray[np.float32]
MNIST = Path(__file__).parent / "mnist.npz"
SEED = 1


def lenet300() -> keras.Model:
    """LeNet-300-100: 266,610 parameters; images (n, 28, 28, 1) to logits."""
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Flatten(),
            layers.Dense(300, "relu", name="ip1"),
            layers.Dense(100, "relu", name="ip2"),
            layers.Dense(10, name="ip3"),
        ],
        name="lenet300",
    )


def lenet5() -> keras.Model:
    """Caffe's LeNet-5: 431,080 parameters; images (n, 28, 28, 1) to logits."""
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(20, 5, name="conv1"),
            layers.MaxPooling2D(),
            layers.Conv2D(50, 5, name="conv2"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(500, "relu", name="ip1"),
            layers.Dense(10, name="ip2"),
        ],
        name="lenet5",
    )


def tutorial_cnn() -> keras.Model:
    """The network of TensorFlow's pruning and clustering tutorials: 20,410 parameters; images (n, 28, 28) to logits."""
    return keras.Sequential(
        [
            layers.Input((28, 28)),
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(12, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10),
        ],
        name="tutorial_cnn",
    )


@dataclass(frozen=True)
class TrainingPlan:
    """How one network is trained.

    file:     name to save under.
    examples: how many training images are used, from the first.
    reach:    augmentation: every epoch moves each image by up to this many pixels each way.
    rate:     Adam's first learning rate, which falls to zero on a cosine.
    """

    build: Callable[[], keras.Model]
    file: str
    examples: int
    epochs: int
    batch: int
    reach: int
    rate: float


TRAINING_PLANS = {
    "lenet300": TrainingPlan(lenet300, "lenet300.h5", examples=60_000, epochs=80, batch=128, reach=1, rate=2e-3),
    "lenet5": TrainingPlan(lenet5, "lenet5.keras", examples=60_000, epochs=20, batch=128, reach=2, rate=1e-3),
    "tutorial_cnn": TrainingPlan(
        tutorial_cnn, "tutorial_cnn.h5", examples=55_000, epochs=10, batch=128, reach=0, rate=3e-3
    ),
}


def shift(images: Images, reach: int, rng: np.random.Generator) -> Images:
    """A copy of `images[n, 28, 28]`, each moved by up to `reach` pixels along both axes, black flowing in."""
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[1:], axis=(1, 2))
    down, right = rng.integers(0, 2 * reach + 1, (2, len(images)))
    moved: Images = windows[np.arange(len(images)), down, right]
    return moved


def accuracy(model: keras.Model, images: Images, labels: npt.NDArray[np.uint8]) -> float:
    """Percent of `images[n, 28, 28]` whose largest logit is at their label."""
    logits = model.predict(images.reshape(-1, *model.input_shape[1:]), batch_size=1000, verbose=0)
    return 100 * float(np.mean(np.argmax(logits, axis=1) == labels))


def train(plan: TrainingPlan, epochs: int) -> keras.Model:
    """A trained network, uncompiled; prints its test accuracy now and then."""
    keras.utils.set_random_seed(SEED)
    rng = np.random.default_rng(SEED)
    with np.load(MNIST, allow_pickle=False) as mnist:
        images, labels = mnist["x_train"][: plan.examples] / np.float32(255), mnist["y_train"][: plan.examples]
        test_images, test_labels = mnist["x_test"] / np.float32(255), mnist["y_test"]
    model = plan.build()
    steps = epochs * -(-len(images) // plan.batch)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(plan.rate, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    for epoch in range(1, epochs + 1):
        seen = shift(images, plan.reach, rng).reshape(-1, *model.input_shape[1:])
        model.fit(seen, labels, batch_size=plan.batch, verbose=0)
        if epoch % 5 == 0 or epoch == epochs:
            print(f"epoch {epoch}: {accuracy(model, test_images, test_labels):.2f} % of the test images", flush=True)
    bare = plan.build()
    bare.set_weights(model.get_weights())
    return bare


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a sample network from mnist.npz.")
    parser.add_argument("network", choices=TRAINING_PLANS)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder to save into (default: out)")
    parser.add_argument("--epochs", type=int, help="instead of the network's own number")
    options = parser.parse_args()
    plan = TRAINING_PLANS[options.network]
    options.out.mkdir(parents=True, exist_ok=True)
    train(plan, options.epochs or plan.epochs).save(options.out / plan.file)


if __name__ == "__main__":
    main()
