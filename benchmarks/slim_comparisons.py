"""Slimming beside its rivals: python benchmarks/slim_comparisons.py --data fashion_mnist.npz [--tables T ...]

Four tables, on Fashion-MNIST, a few minutes each. `criteria`: how units are chosen, three seeds of each network.
`sparse`: at equal bytes, single weights that are pruned, units that are removed, and narrow networks from scratch (Zhu
and Gupta 2017: "large-sparse beats small-dense"). `svd`: low rank beside pruning with shared values (Han et al. 2016,
figure 6). `bytes`: a network of half the width that is encoded with --data, beside the whole one. The first 20,000
training images are used for everything; the test images are only measured on, once for each figure.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import zoo
from keras import layers
from page import publish
from slim import accuracy, images_for, lenet300

import wcodec
from wcodec.evaluation.examples import Examples
from wcodec.structure import criteria, fitting, gradients
from wcodec.structure.graph import Graph, trace
from wcodec.structure.low_rank import low_rank
from wcodec.structure.obs import scores_by_obs
from wcodec.structure.rebuild import without
from wcodec.structure.repair import repair
from wcodec.structure.selection import Amount, select
from wcodec.structure.speed import seconds_of

LEARNED = 20_000
"""Training images that anything is fitted to."""
SEEN = 2000
"""Of these, images that units are chosen and repaired by."""
CRITERIA = ("random", "l1", "l2", "geometric-median", "taylor", "fisher", "obs")
RETRAINED = 4
"""Epochs after anything was taken away."""


def small_cnn(width: float = 1.0) -> keras.Model:
    """Three convolutions with batch normalisation; images (n, 28, 28, 1) to softmax. width: part of the filters."""
    image = layers.Input((28, 28, 1))
    x = image
    for filters in (16, 32, 64):
        x = layers.Conv2D(round(width * filters), 3, padding="same", use_bias=False)(x)
        x = layers.MaxPooling2D()(layers.ReLU()(layers.BatchNormalization()(x)))
    return keras.Model(image, layers.Dense(10, "softmax")(layers.Flatten()(x)), name="small_cnn")


def narrow_lenet(width: float) -> keras.Model:
    """LeNet-300-100 with this part of its hidden units."""
    hidden = [layers.Dense(round(width * units), "relu") for units in (300, 100)]
    chain = [layers.Input((28, 28)), layers.Flatten(), *hidden, layers.Dense(10, "softmax")]
    return keras.Sequential(chain, name="lenet300")


TRAINING_PLANS = {
    "lenet300": zoo.TrainingPlan(lenet300, LEARNED, epochs=10, rate=1e-3),
    "small_cnn": zoo.TrainingPlan(small_cnn, LEARNED, epochs=4, rate=2e-3),
}


class Bench:
    """The pictures, and what every table does with them."""

    def __init__(self, pictures: zoo.Pictures) -> None:
        self.pictures = pictures
        self.labels = pictures.train_labels[:LEARNED]

    def trained(self, name: str, seed: int = zoo.SEED, build: Callable[[], keras.Model] | None = None) -> keras.Model:
        plan = TRAINING_PLANS[name] if build is None else replace(TRAINING_PLANS[name], build=build)
        return zoo.train(plan, self.pictures, seed)[0]

    def images(self, model: keras.Model, count: int = LEARNED) -> zoo.Images:
        return images_for(model, self.pictures.train[:count])

    def score(self, model: keras.Model) -> float:
        return accuracy(model, self.pictures)

    def retrain(self, small: keras.Model, teacher: keras.Model, epochs: int = RETRAINED) -> None:
        learning = Examples((self.images(small),), (self.labels,))
        fitting.fit(small, learning, fitting.targets_of(teacher, learning), epochs)

    def coded(self, model: keras.Model, **options: object) -> tuple[int, float]:
        """Bytes of its .wcz, and percent of the test images that what it decodes to gets right."""
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "model.keras", Path(folder) / "model.wcz"
            model.save(source)
            wcodec.encode(source, target, **options)
            return target.stat().st_size, self.score(wcodec.load_model(target))


def scores(graph: Graph, name: str, examples: Examples, labels: zoo.Labels, seed: int) -> criteria.Float64:
    """What each unit is worth by a criterion."""
    if name == "random":
        return criteria.scores_at_random(graph, seed)
    if name == "obs":
        return scores_by_obs(graph, examples)
    if name in criteria.BY_WEIGHTS:
        return criteria.scores_by_weights(graph, name)
    labelled = Examples(examples.inputs, (labels[: examples.count],))
    targets = fitting.targets_of(graph.model, labelled)
    power = 1 if name == "taylor" else 2
    return criteria.scores_by_gradients(graph, gradients.products(graph.model, labelled, targets, power))


def spread(values: list[float]) -> str:
    return f"{np.mean(values):.2f} ({max(values) - min(values):.2f})"


def compare_criteria(bench: Bench, seeds: int) -> Iterator[str]:
    """Points lost when half of the units of every layer are gone."""
    yield (f"Half of the units of every layer removed: points lost as it is, repaired by {SEEN} images without labels, "
           f"and after one epoch more; the mean of {seeds} networks (largest - least).")  # fmt: skip
    for name in TRAINING_PLANS:
        lost: dict[str, tuple[list[float], ...]] = {one: ([], [], []) for one in CRITERIA}
        whole = []
        for seed in range(1, seeds + 1):
            model = bench.trained(name, seed)
            graph, before = trace(model, is_exact=False), bench.score(model)
            examples = Examples((bench.images(model, SEEN),))
            whole.append(before)
            for one in CRITERIA:
                kept = select(graph, scores(graph, one, examples, bench.labels, seed), Amount("width", 0.5, True))
                small = without(graph, kept)
                lost[one][0].append(before - bench.score(small))
                repair(graph, kept, small, examples)
                lost[one][1].append(before - bench.score(small))
                bench.retrain(small, model, 1)
                lost[one][2].append(before - bench.score(small))
        yield f"\n{name}, {spread(whole)} %:\n\n| criterion | as it is | repaired | one epoch |\n|---|--:|--:|--:|"
        for one, columns in lost.items():
            yield f"| {one} | {' | '.join(map(spread, columns))} |"


def prune_network(bench: Bench, teacher: keras.Model, sparsity: float) -> keras.Model:
    """The network with that part of its kernels zero, the smallest weights, in three steps of training each."""
    model = keras.models.clone_model(teacher)
    model.set_weights(teacher.get_weights())
    kernels = [one for one in model.trainable_variables if len(one.shape) > 1]
    for step in (1, 2, 3):
        now = sparsity * (1 - (1 - step / 3) ** 3)
        masks = []
        for kernel in kernels:
            size = np.abs(keras.ops.convert_to_numpy(kernel))
            masks.append((size > np.quantile(size, now)).astype("float32"))
        _train_masked(bench, model, teacher, kernels, masks, 1 if step < 3 else RETRAINED - 2)
    return model


def _train_masked(
    bench: Bench, model: keras.Model, teacher: keras.Model, kernels: list, masks: list, epochs: int
) -> None:
    learning = Examples((bench.images(model),), (bench.labels,))
    wanted = fitting.targets_of(teacher, learning)[0]
    for kernel, mask in zip(kernels, masks, strict=True):
        kernel.assign(kernel * mask)
        kernel.constraint = lambda value, mask=mask: value * mask
    model.compile(keras.optimizers.Adam(fitting.RATE), fitting.loss_of(wanted), jit_compile=False)
    model.fit(learning.inputs[0], wanted.wanted, fitting.BATCH, epochs, verbose=0)


def compare_sparse(bench: Bench) -> Iterator[str]:
    """Pruned weights, pruned units and narrow networks, as .wcz files."""
    yield (f"LeNet-300-100 and the small CNN as .wcz, the preset balanced; {RETRAINED} epochs after weights or units "
           "are gone, and as many more from scratch. Percent of the test images, of the decoded file.")  # fmt: skip
    for name, narrow in (("lenet300", narrow_lenet), ("small_cnn", small_cnn)):
        model = bench.trained(name)
        graph = trace(model, is_exact=False)
        examples = Examples((bench.images(model, SEEN),))
        found = scores_by_obs(graph, examples)
        size, rate = bench.coded(model)
        yield (f"\n{name}, {rate:.2f} % in {size:,} bytes:\n\n"
               "| | parameters | not zero | bytes | accuracy |\n|---|--:|--:|--:|--:|")  # fmt: skip
        for sparsity in (0.8, 0.9, 0.95, 0.98):
            yield _row(bench, f"weights pruned, {sparsity:.0%}", prune_network(bench, model, sparsity))
        for width in (0.5, 0.3, 0.2, 0.1):
            kept = select(graph, found, Amount("width", width))
            small = without(graph, kept)
            repair(graph, kept, small, examples)
            bench.retrain(small, model)
            yield _row(bench, f"units removed, {width:g} left", small)
        for width in (0.5, 0.3, 0.2, 0.1):
            scratch = bench.trained(name, build=lambda width=width, narrow=narrow: narrow(width))
            bench.retrain(scratch, model)
            yield _row(bench, f"narrow from scratch, {width:g}", scratch)


def _row(bench: Bench, name: str, model: keras.Model, **options: object) -> str:
    size, rate = bench.coded(model, **options)
    left = sum(int(np.count_nonzero(one)) for one in model.get_weights())
    return f"| {name} | {model.count_params():,} | {left:,} | {size:,} | {rate:.2f} |"


def compare_svd(bench: Bench) -> Iterator[str]:
    """Low rank, and pruning with shared values."""
    model = bench.trained("lenet300")
    size, rate = bench.coded(model)
    yield (f"LeNet-300-100, {rate:.2f} % in {size:,} bytes (balanced). Factors by the inputs' second moments, coded as "
           f"the network itself is; pruned weights with 16 shared values. Each after {RETRAINED} epochs.\n\n"
           "| | parameters | not zero | bytes | accuracy |\n|---|--:|--:|--:|--:|")  # fmt: skip
    examples = Examples((bench.images(model, SEEN),))
    for ratio in (0.5, 0.25, 0.1, 0.05):
        thin, _ = low_rank(model, ratio, examples)
        bench.retrain(thin, model)
        yield _row(bench, f"low rank, {ratio:g}", thin)
        yield _row(bench, f"low rank, {ratio:g}, 16 values", thin, clusters=16)
    for sparsity in (0.8, 0.9, 0.95, 0.98):
        yield _row(bench, f"pruned, {sparsity:.0%}, 16 values", prune_network(bench, model, sparsity), clusters=16)


def compare_bytes(bench: Bench) -> Iterator[str]:
    """A network of half the width, encoded with --data, and the whole one."""
    yield ("`encode --data` with 2,000 labelled images and 20 seconds, of the whole network and of one with half of "
           f"its units (OBS, repaired, {RETRAINED} epochs). Faster: `predict` of 256 images, the whole network's time "
           "over this one's.")  # fmt: skip
    for name in TRAINING_PLANS:
        model = bench.trained(name)
        graph, examples = trace(model, is_exact=False), Examples((bench.images(model, SEEN),))
        kept = select(graph, scores_by_obs(graph, examples), Amount("width", 0.5))
        small = without(graph, kept)
        repair(graph, kept, small, examples)
        bench.retrain(small, model)
        before, after = seconds_of((model, small), 256)
        yield (f"\n{name}: whole {bench.score(model):.2f} %, half {bench.score(small):.2f} % before coding:\n\n"
               "| network | points allowed | bytes | accuracy | faster |\n|---|--:|--:|--:|--:|")  # fmt: skip
        for title, one, faster in (("whole", model, 1.0), ("half", small, before / after)):
            data = bench.images(one, SEEN), bench.labels[:SEEN]
            for drop in (0.25, 0.5, 1, 2):
                size, rate = bench.coded(one, data=data, max_drop=drop, time_limit="20s")
                yield f"| {title} | {drop:g} | {size:,} | {rate:.2f} | {faster:.2f} |"


TABLES: dict[str, tuple[str, Callable[[Bench, int], Iterator[str]]]] = {
    "criteria": ("Which units go", compare_criteria),
    "sparse": ("Large and sparse, or small and dense", lambda bench, _: compare_sparse(bench)),
    "svd": ("Low rank beside pruning and sharing", lambda bench, _: compare_svd(bench)),
    "bytes": ("Speed and bytes", lambda bench, _: compare_bytes(bench)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Slimming beside its rivals.")
    parser.add_argument("--data", type=Path, required=True, help="an archive such as Keras' fashion_mnist.npz")
    parser.add_argument("--tables", nargs="*", default=list(TABLES), choices=list(TABLES), metavar="T")
    parser.add_argument("--seeds", type=int, default=3, help="networks in the table of criteria")
    parser.add_argument("--out", type=Path, help="the page, where it is to be written")
    options = parser.parse_args()
    bench = Bench(zoo.read_pictures(options.data))
    lines = []
    for name in options.tables:
        title, table = TABLES[name]
        lines += [f"\n## {title}\n", *table(bench, options.seeds)]
        publish(lines, options.out)


if __name__ == "__main__":
    main()
