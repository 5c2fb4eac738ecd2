"""Claims of the literature, tried here: python benchmarks/paper_claims.py [--out results/paper_claims.md]

Each claim has the source's figure, the figure here (mean and range of the seeds), and whether it holds. Networks learn
from the first training images of samples/mnist.npz; the last 2,000 choose, and accuracies are of the test images, in
percent. The networks are small and the trainings short: this page says whether a claim holds at this size, no more.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import keras
import numpy as np
from keras import layers
from page import publish

import wcodec

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
MNIST, SMALL_CNN = SAMPLES / "mnist.npz", SAMPLES / "tutorial_cnn.h5"
CHOOSING = 2000
Pair = tuple[np.ndarray, np.ndarray]
Build = Callable[[], keras.Model]


@dataclass(frozen=True)
class Trial:
    """What one seed has: examples to learn from, to choose by and to measure on, epochs, and a folder."""

    seed: int
    epochs: int
    learning: Pair
    choosing: Pair
    test: Pair
    folder: Path

    def train(self, build: Build, name: str) -> Path:
        """A network trained with labels alone; it is not trained again for another claim."""
        path = self.folder / f"{name}.keras"
        if not path.exists():
            keras.utils.set_random_seed(self.seed)
            model, bare = build(), build()
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(keras.optimizers.Adam(2e-3), loss, jit_compile=False)
            model.fit(*self.learning, batch_size=64, epochs=2 * self.epochs, verbose=0)
            bare.set_weights(model.get_weights())
            bare.save(path)
        return path

    def accuracy(self, file: Path) -> float:
        """Percent of the test images."""
        found = wcodec.evaluate(file, self.test).accuracy
        assert found is not None
        return found

    def encode(self, source: Path, **words: object) -> tuple[float, int]:
        """Accuracy and bytes of the weights of a file without training."""
        coded = self.folder / "coded.wcz"
        size = wcodec.encode(source, coded, seed=self.seed, **words).weight_bytes
        return self.accuracy(coded), size

    def by_method(self, source: Path, method: str, **words: object) -> tuple[float, int]:
        """The same, trained by a method of the literature."""
        more = {"data": self.learning, "validation": self.choosing, "finetune": self.epochs, "method": method}
        return self.encode(source, **more, **words)

    def slim(self, source: Path, **words: object) -> float:
        """Accuracy of a narrower network, not trained again."""
        return self.accuracy_of(wcodec.slim(source, data=self.learning, seed=self.seed, **words).model)

    def accuracy_of(self, model: keras.Model) -> float:
        """Percent of the test images."""
        model.save(self.folder / "slim.keras")
        return self.accuracy(self.folder / "slim.keras")


def dense(width: float = 1.0) -> keras.Model:
    """LeNet-300-100, or narrower."""
    hidden = [layers.Dense(round(width * units), "relu") for units in (300, 100)]
    return keras.Sequential([layers.Input((28, 28)), layers.Flatten(), *hidden, layers.Dense(10)])


def build_inverted() -> keras.Model:
    """Three inverted residuals, after MobileNetV2."""
    image = layers.Input((28, 28, 1))
    x = layers.ReLU(6)(layers.BatchNormalization(momentum=0.9)(layers.Conv2D(12, 3, 2, "same", use_bias=False)(image)))
    for filters, strides in ((12, 1), (20, 2), (20, 1)):
        y = layers.Conv2D(4 * x.shape[-1], 1, use_bias=False)(x)
        y = layers.ReLU(6)(layers.BatchNormalization(momentum=0.9)(y))
        y = layers.DepthwiseConv2D(3, strides, "same", use_bias=False)(y)
        y = layers.ReLU(6)(layers.BatchNormalization(momentum=0.9)(y))
        y = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(filters, 1, use_bias=False)(y))
        x = layers.Add()([x, y]) if x.shape == y.shape else y
    return keras.Model(image, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def interplay(trial: Trial) -> float:
    """Points by which both together are ahead of the better of pruning alone, whose floats are as many bytes, and
    sharing alone, which has a bit a weight at least."""
    source = trial.train(dense, "dense")
    both = trial.by_method(source, "gradual,sharing", sparsity=0.92, bits=4, coder="huffman")
    pruned = trial.by_method(source, "gradual", sparsity=0.983, quantizer="none")
    shared = trial.by_method(source, "sharing", clusters=3, coder="huffman")
    return both[0] - max(pruned[0], shared[0])


def huffman(trial: Trial) -> float:
    """Percent that Huffman codes save over codes of fixed width, of weights pruned and shared."""
    source = trial.train(dense, "dense")
    fixed, coded = (trial.encode(source, sparsity=0.9, bits=5, coder=coder)[1] for coder in ("fixed", "huffman"))
    return 100 * (1 - coded / fixed)


def low_rank(trial: Trial) -> float:
    """Points by which pruning to 8 % of the weights is ahead of a truncated SVD of as many, which is not trained."""
    source = trial.train(dense, "dense")
    return trial.by_method(source, "gradual", sparsity=0.92, quantizer="none")[0] - trial.slim(source, low_rank=0.08)


def schedules(trial: Trial) -> float:
    """Points by which the cubic schedule is ahead of the linear one at 97 % sparsity."""
    source = trial.train(dense, "dense")
    cubic, linear = (trial.by_method(source, way, sparsity=0.97)[0] for way in ("gradual", "gradual-linear"))
    return cubic - linear


def ranges(bits: int, trial: Trial) -> float:
    """Points by which asymmetric ranges are ahead of symmetric ones, a scale a tensor, untrained."""
    source = trial.train(build_inverted, "inverted")
    low, high = (trial.encode(source, quantizer=how, bits=bits)[0] for how in ("symmetric", "asymmetric"))
    return high - low


def criteria(trial: Trial) -> float:
    """Points by which the geometric median is ahead of the better of L1 and L2, at half the width, untrained."""
    source = trial.train(dense, "dense")
    by_name = {
        name: trial.slim(source, width=0.5, uniform=True, criterion=name) for name in ("geometric-median", "l1", "l2")
    }
    return by_name["geometric-median"] - max(by_name["l1"], by_name["l2"])


def large_sparse(trial: Trial) -> float:
    """Points by which a network pruned to an eighth is ahead of a dense one of as many weights."""
    large, small = trial.train(dense, "dense"), trial.train(partial(dense, 0.14), "narrow")
    return trial.by_method(large, "gradual", sparsity=0.875)[0] - trial.accuracy(small)


def distillation(trial: Trial) -> float:
    """Points by which two bits trained by the answers of the network (and labels) are ahead of two bits untrained, of a
    network of a quarter of the width."""
    source = trial.train(partial(dense, 0.25), "quarter")
    trained = trial.by_method(source, "quantized", bits=2, bucket=64)[0]
    return trained - trial.encode(source, bits=2, quantizer="symmetric", per_channel=True)[0]


def points(trial: Trial) -> float:
    """Points of accuracy by which trained points are ahead of shared weights, two bits of the small CNN."""
    by_points, shared = (trial.by_method(SMALL_CNN, how, bits=2)[0] for how in ("points", "sharing"))
    return by_points - shared


def measure_quantized(trial: Trial) -> float:
    """Accuracy of the small CNN, quantised to two bits in buckets of 256 and trained."""
    return trial.by_method(SMALL_CNN, "quantized", bits=2, bucket=256)[0]


@dataclass(frozen=True)
class Claim:
    """source: who says what, with the figure; measured: what `run` gives; least: from which mean on it holds."""

    source: str
    run: Callable[[Trial], float]
    measured: str
    least: float


CLAIMS = (
    Claim("Han et al. 2016: below 8 % of the size, pruning and sharing together keep the accuracy that each "
          "alone loses (figure 6)", interplay, "points that both are ahead", 0.2),
    Claim("Han et al. 2016: Huffman codes save 20 to 30 % of pruned and shared weights", huffman, "percent saved",
          20.0),
    Claim("Han et al. 2016: SVD is inexpensive but compresses worse (figure 6)", low_rank,
          "points that pruning is ahead", 0.2),
    Claim("Zhu and Gupta 2017: a sparsity that rises by a cube beats a linear rise", schedules, "points ahead", 0.0),
    *(Claim("NNCF (Kozlov et al. 2020): asymmetric ranges lose less on MobileNetV2 (0.21 against 0.75 points); "
            f"{bits} bits", partial(ranges, bits), "points ahead", 0.0) for bits in (8, 6, 4)),
    Claim("He et al. 2019: the geometric median chooses better filters than norms (1.4 points of ResNet-18)", criteria,
          "points ahead", 0.0),
    Claim("Zhu and Gupta 2017: large sparse networks beat small dense ones of as many weights (by up to 2.7 points)",
          large_sparse, "points ahead", 0.0),
    Claim("Polino et al. 2018: at two bits a distilled student keeps what one that is only quantised loses",
          distillation, "points ahead", 0.5),
    Claim("Polino et al. 2018: points that are trained beat quantisation whose points stay; here beside the sharing of "
          "Han et al., two bits", points, "points ahead", 0.0),
    Claim("Polino et al. 2018: two bits by buckets of 256 keep a small CNN within 2 points (98.2 %)", measure_quantized,
          "accuracy, percent", 96.5),
)  # fmt: skip


def trials(options: argparse.Namespace, folder: Path) -> Iterator[Trial]:
    """One a seed."""
    with np.load(MNIST, allow_pickle=False) as mnist:
        x, y, test = mnist["x_train"], mnist["y_train"], (mnist["x_test"], mnist["y_test"])
    pixels = [images / np.float32(255) for images in (x[: options.images], x[-CHOOSING:], test[0])]
    labels = [one.astype(np.int64) for one in (y[: options.images], y[-CHOOSING:], test[1])]
    for seed in range(1, options.seeds + 1):
        (folder / str(seed)).mkdir()
        yield Trial(seed, options.epochs, *zip(pixels, labels, strict=True), folder / str(seed))


def page(options: argparse.Namespace) -> Iterator[str]:
    """The lines of the page."""
    yield "# Claims of the papers, tried here"
    yield ""
    yield f"{options.seeds} seeds, {options.images:,} images, {options.epochs} epochs a method."
    yield ""
    yield "| claim | here | mean | from | to | holds |"
    yield "|---|---|--:|--:|--:|---|"
    with tempfile.TemporaryDirectory() as folder:
        every = list(trials(options, Path(folder)))
        for claim in CLAIMS:
            found = [claim.run(trial) for trial in every]
            mean, holds = float(np.mean(found)), "yes" if float(np.mean(found)) >= claim.least else "no"
            row = f"{mean:.2f} | {min(found):.2f} | {max(found):.2f} | {holds}"
            print(claim.source, row, file=sys.stderr, flush=True)
            yield f"| {claim.source} | {claim.measured} | {row} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Try the claims of the papers.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=3_000, help="to learn from (default: 3000)")
    parser.add_argument("--epochs", type=int, default=2, help="of each method (default: 2)")
    parser.add_argument("--out", type=Path, help="also write the page to this file")
    options = parser.parse_args()
    publish(page(options), options.out)


if __name__ == "__main__":
    main()
