"""Slimmed networks on Fashion-MNIST: python benchmarks/slim.py --data fashion_mnist.npz --zoo DIR [--networks N ...]

Two tables. LeNet-300-100 without any training: units removed from every hidden layer, by magnitude, merged without
data, and chosen and repaired by 5,000 training images without labels. Networks of `benchmarks/zoo.py`, saved in DIR:
slimmed to a part of their parameters, units or multiply-adds by 2,000 images, as they are and after training; with
--scratch beside the same small network with random weights, trained by the labels for as many epochs. The first 50,000
training images are used for everything; the test images are only measured on, once for each row. Networks that DIR
lacks are trained.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import keras
import numpy as np
import zoo
from keras import layers

from wcodec.evaluation.examples import Examples
from wcodec.structure import criteria, fitting, merging
from wcodec.structure.assumed_moments import repair_without_data, score_without_data
from wcodec.structure.cost import cost_of
from wcodec.structure.graph import Graph, trace
from wcodec.structure.obs import scores_by_obs
from wcodec.structure.rebuild import without
from wcodec.structure.repair import repair
from wcodec.structure.selection import Amount, select
from wcodec.structure.speed import seconds_of

REMOVED = (0.5, 0.6, 0.7, 0.8)
LEARNED = 50_000
"""Training images that anything may be fitted to."""


def lenet300() -> keras.Model:
    """300 and 100 units with relu, then softmax; images (n, 28, 28)."""
    hidden = layers.Dense(300, "relu"), layers.Dense(100, "relu")
    chain = [layers.Input((28, 28)), layers.Flatten(), *hidden, layers.Dense(10, "softmax")]
    return keras.Sequential(chain, name="lenet300")


TRAINING_PLANS = zoo.TRAINING_PLANS | {"lenet300": zoo.TrainingPlan(lenet300, LEARNED, epochs=10, rate=1e-3)}


def open_network(name: str, folder: Path, pictures: zoo.Pictures) -> keras.Model:
    """The network in `folder`, trained first where it is not there."""
    path = folder / f"{name}{TRAINING_PLANS[name].suffix}"
    if not path.exists():
        model, facts = zoo.train(TRAINING_PLANS[name], pictures)
        model.save(path)
        zoo.record(folder / "facts.json", name, facts)
    return keras.models.load_model(path, compile=False)


def images_for(model: keras.Model, images: zoo.Images) -> zoo.Images:
    """The images in the shape that the network takes."""
    return images.reshape(-1, *model.input_shape[1:])


def accuracy(model: keras.Model, pictures: zoo.Pictures) -> float:
    """Percent of the test images."""
    chosen = model.predict(images_for(model, pictures.test), 500, verbose=0).argmax(axis=1)
    return 100 * float((chosen == pictures.test_labels).mean())


def repair_network(graph: Graph, scores: criteria.Float64, amount: Amount, examples: Examples) -> keras.Model:
    """The network with those units, fitted to the original by inputs alone."""
    kept = select(graph, scores, amount)
    small = without(graph, kept)
    repair(graph, kept, small, examples)
    return small


def list_untrained(folder: Path, pictures: zoo.Pictures, seeds: int) -> list[str]:
    """Points that LeNet-300-100 loses without training, by what is done."""
    model = open_network("lenet300", folder, pictures)
    graph, whole = trace(model, is_exact=False), accuracy(model, pictures)
    l1, l2 = (criteria.scores_by_weights(graph, name) for name in ("l1", "l2"))
    lines = [f"LeNet-300-100, {whole:.2f} % of the test images, points lost without training. The last three columns "
             "are repaired by 5,000 images without labels (median: the geometric median of filters), the mean of "
             f"{seeds} draws of the images (largest - least).", "",
             "| units removed | L1 | L2, merged | OBS, assumed | L1, repaired | median, repaired | OBS, repaired |",
             "|---|--:|--:|--:|--:|--:|--:|"]  # fmt: skip
    for part in REMOVED:
        amount = Amount("width", 1 - part, uniform=True)
        kept = select(graph, l2, amount)
        cut = whole - accuracy(without(graph, select(graph, l1, amount)), pictures)
        merged = whole - accuracy(without(graph, kept, merging.merge(graph, kept)), pictures)
        chosen = select(graph, score_without_data(graph), amount)
        assumed = whole - accuracy(without(graph, chosen, repair_without_data(graph, chosen)), pictures)
        columns: list[list[float]] = [[], [], []]
        for seed in range(seeds):
            rows = np.random.default_rng(seed).choice(LEARNED, 5000, replace=False)
            examples = Examples((images_for(model, pictures.train[rows]),))
            median = criteria.scores_by_weights(graph, "geometric-median")
            for column, scores in zip(columns, (l1, median, scores_by_obs(graph, examples)), strict=True):
                column.append(whole - accuracy(repair_network(graph, scores, amount, examples), pictures))
        spread = [f"{np.mean(one):.2f} ({max(one) - min(one):.2f})" for one in columns]
        lines.append(f"| {part:.0%} | {cut:.2f} | {merged:.2f} | {assumed:.2f} | {' | '.join(spread)} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def train_row(name: str, folder: Path, pictures: zoo.Pictures, amount: Amount, epochs: int, scratch: bool) -> str:
    """A row: one network of the zoo at a part of its size."""
    model = open_network(name, folder, pictures)
    graph, whole = trace(model, is_exact=False), accuracy(model, pictures)
    train = images_for(model, pictures.train[:LEARNED])
    examples = Examples((train[:2000],))
    scores = scores_by_obs(graph, examples)
    kept = select(graph, scores, amount)
    cut = without(graph, kept)
    small = without(graph, kept)
    repair(graph, kept, small, examples)
    before = accuracy(cut, pictures), accuracy(small, pictures)
    learning = Examples((train,), (pictures.train_labels[:LEARNED],))
    fitting.fit(small, learning, fitting.targets_of(model, learning), epochs)
    fresh = f"{accuracy(from_scratch(small, train, pictures, epochs), pictures):.2f}" if scratch else "-"
    macs = cost_of(graph, kept).macs / cost_of(graph, np.ones(graph.count, bool)).macs
    times = [seconds_of((model, small), batch) for batch in (1, 256)]
    faster = " | ".join(f"{one / other:.2f}" for one, other in times)
    sizes = f"{model.count_params():,} -> {small.count_params():,} | {macs:.2f}"
    rates = f"{whole:.2f} | {before[0]:.2f} | {before[1]:.2f} | {accuracy(small, pictures):.2f} | {fresh}"
    return f"| {name} | {sizes} | {rates} | {faster} |"


def from_scratch(small: keras.Model, train: zoo.Images, pictures: zoo.Pictures, epochs: int) -> keras.Model:
    """The same network with random weights, trained as the zoo is."""

    def build() -> keras.Model:
        return type(small).from_config(small.get_config())

    plan = zoo.TrainingPlan(build, len(train), epochs)
    return zoo.train(plan, pictures)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description="Slim networks, and measure what is lost.")
    parser.add_argument("--data", type=Path, required=True, help="an archive such as Keras' fashion_mnist.npz")
    parser.add_argument("--zoo", type=Path, default=Path("zoo"), help="folder of trained networks (default: zoo)")
    parser.add_argument("--networks", nargs="*", default=["resnet_bn"], choices=list(zoo.TRAINING_PLANS), metavar="N")
    parser.add_argument("--by", choices=["params", "width", "macs"], default="params", help="what is counted")
    parser.add_argument("--uniform", action="store_true", help="the same part of every layer")
    parser.add_argument("--blocks", action="store_true", help="whole blocks of channels, as --speedup keeps them")
    parser.add_argument("--part", type=float, default=0.5, help="of these that stays")
    parser.add_argument("--scratch", action="store_true", help="also train the small network from random weights")
    parser.add_argument("--epochs", type=int, default=10, help="of training after slimming")
    parser.add_argument("--seeds", type=int, default=3, help="draws of images for the first table; 0: leave it out")
    options = parser.parse_args()
    options.zoo.mkdir(parents=True, exist_ok=True)
    pictures = zoo.read_pictures(options.data)
    if options.seeds:
        print("\n".join(list_untrained(options.zoo, pictures, options.seeds)), flush=True)
    if options.networks:
        counted = {"params": "parameters", "width": "units", "macs": "multiply-adds"}[options.by]
        alike = ", of every layer alike" if options.uniform else ""
        alike += ", in whole blocks of channels" if options.blocks else ""
        print(f"\nAt {options.part:g} of the {counted}{alike}, units by OBS, repaired by 2,000 images without "
              f"labels; then {options.epochs} epochs:\n\n"
              "| network | parameters | multiply-adds | before | cut | repaired | trained | from scratch | faster, 1 "
              "| faster, 256 |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")  # fmt: skip
    for name in options.networks:
        amount = Amount(options.by, options.part, options.uniform, options.blocks)
        print(train_row(name, options.zoo, pictures, amount, options.epochs, options.scratch), flush=True)


if __name__ == "__main__":
    main()
