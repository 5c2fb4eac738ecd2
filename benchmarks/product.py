"""Product codebooks beside scalar codebooks and uniform steps: python benchmarks/product.py --data fashion_mnist.npz

Networks of `benchmarks/zoo.py` (trained first where --zoo lacks them) are coded by vectors in about 8, 12 and 20 times
fewer bytes than float32: by the weights alone, fitted to unlabelled training images, and trained by them. Beside them,
at about the bytes of the fitted vectors: scalar codebooks, with the number of values that comes nearest, and uniform
steps with contexts, in at most those bytes. The test images are looked at once a file, when it is finished. With
--rows, what was measured is kept there, and a second run goes on from it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import keras
import numpy as np
import numpy.typing as npt
import zoo
from page import publish
from slim import images_for, open_network

import wcodec

VECTORS = {
    "resnet_bn": {8: (2, 192), 12: (3, 160), 20: (4, 56)},
    "vgg_bn": {8: (2, 256), 12: (3, 256), 20: (4, 128)},
}
"""The block and the number of vectors, by network and ratio."""
MOST_VALUES = 48
HOWS = (
    "vectors, untrained", "vectors, fitted", "shared values, untrained", "uniform steps, no data", "vectors, trained",
    "uniform steps, calibrated", "shared values, trained",
)  # fmt: skip
"""In the order in which files are made; a size and a number of values are those of a file before."""


@dataclass(frozen=True)
class Row:
    """One file. size: vectors and block, or values; lost: points of accuracy; kl: nats; see `OutputScores`."""

    network: str
    ratio: int
    how: str
    size: str
    file_bytes: int
    weight_bytes: int
    accuracy: float
    lost: float
    agreement: float
    kl: float
    seconds: float


@dataclass(frozen=True)
class Bench:
    """A network. answers: its log probabilities for the test images, [examples, classes]."""

    source: Path
    learning: zoo.Images
    test: zoo.Images
    labels: zoo.Labels
    answers: npt.NDArray[np.float64]
    steps: int
    coded: Path

    def encode(self, **words: object) -> wcodec.Encoded:
        """The file of these options. With data, only the size limits the loss."""
        if "tune" in words:
            words |= {"data": self.learning} | ({} if "target_size" in words else {"max_drop": 100})
        return wcodec.encode(self.source, self.coded, force=True, threads=1, **words)

    def find_values(self, wanted: int) -> int:
        """The number of shared values whose file without data comes nearest to so many bytes."""
        low, high, sizes = 2, MOST_VALUES, {}
        while high - low > 1:
            middle = (low + high) // 2
            sizes[middle] = self.encode(quantizer="kmeans", clusters=middle).file_bytes
            low, high = (low, middle) if sizes[middle] > wanted else (middle, high)
        return min(sizes, key=lambda count: abs(sizes[count] - wanted))

    def options(self, how: str, vectors: tuple[int, int], known: Mapping[str, Row]) -> tuple[str, dict[str, object]]:
        """The size of a codebook, in words, and the options of `encode`. known: rows of the same ratio."""
        kind, _, way = how.partition(", ")
        tune = {"fitted": 0, "calibrated": 0, "trained": self.steps}.get(way)
        trained: dict[str, object] = {} if tune is None else {"tune": tune}
        if kind == "vectors":
            block, clusters = vectors
            return f"{clusters} of {block}", {"quantizer": "product", "block": block, "clusters": clusters} | trained
        wanted = known["vectors, fitted"].file_bytes
        if kind == "uniform steps":
            return "", {"target_size": wanted} | trained
        before = known.get("shared values, untrained")
        values = int(before.size) if before else self.find_values(wanted)
        return str(values), {"quantizer": "kmeans", "clusters": values} | trained

    def measure(self, ratio: int, how: str, vectors: tuple[int, int], known: Mapping[str, Row]) -> Row:
        """One file, and what its network answers for the test images."""
        size, words = self.options(how, vectors, known)
        begin = time.process_time()
        coded = self.encode(**words)
        seconds = time.process_time() - begin
        answers = log_probabilities(wcodec.load_model(self.coded, compile=False), self.test)
        chosen, before = answers.argmax(axis=1), self.answers.argmax(axis=1)
        right, lost = (chosen == self.labels).mean(), (before == self.labels).mean() - (chosen == self.labels).mean()
        kl = float((np.exp(self.answers) * (self.answers - answers)).sum(axis=1).mean())
        figures = (100 * float(one) for one in (right, lost, (chosen == before).mean()))
        return Row(self.source.stem, ratio, how, size, coded.file_bytes, coded.weight_bytes, *figures, kl, seconds)


def log_probabilities(model: keras.Model, images: zoo.Images) -> npt.NDArray[np.float64]:
    """The logarithms of what a network with logits or probabilities predicts."""
    found = model.predict(images, 500, verbose=0).astype(np.float64)
    if model.layers[-1].activation is keras.activations.softmax:
        return np.log(np.maximum(found, 1e-12))
    found -= found.max(axis=1, keepdims=True)
    return found - np.log(np.exp(found).sum(axis=1, keepdims=True))


def measure_network(name: str, options: argparse.Namespace, known: list[Row]) -> Iterator[Row]:
    """Every file of a network that is not known."""
    pictures = zoo.read_pictures(options.data)
    original = open_network(name, options.zoo, pictures)
    images, test = (images_for(original, one) for one in (pictures.train[: options.inputs], pictures.test))
    source = options.zoo / f"{name}{zoo.TRAINING_PLANS[name].suffix}"
    answers = log_probabilities(original, test)
    with tempfile.TemporaryDirectory() as folder:
        coded = Path(folder) / "coded.wcz"
        bench = Bench(source, images, test, pictures.test_labels, answers, options.steps, coded)
        for how in HOWS:
            for ratio in options.ratios:
                same = {row.how: row for row in known if (row.network, row.ratio) == (name, ratio)}
                if how in options.hows and how not in same:
                    yield bench.measure(ratio, how, VECTORS[name][ratio], same)


def page(rows: list[Row], options: argparse.Namespace) -> Iterator[str]:
    """The lines of the page."""
    facts = json.loads((options.zoo / "facts.json").read_text("utf-8"))
    yield "# Product codebooks beside scalar codebooks and uniform steps"
    yield ""
    yield f"Fitted, calibrated and trained (`--tune {options.steps}`) by {options.inputs:,} training images"
    yield "without labels, a fifth of them held out. Points lost, agreement and KL divergence are from the original,"
    yield "on the test images, looked at once a file."
    for name in dict.fromkeys(row.network for row in rows):
        yield f"\n## {name}: {4 * facts[name]['params']:,} bytes in float32, {facts[name]['accuracy']} %"
        yield ""
        yield "| ratio | how | size | file bytes | of weights | accuracy | lost | agreement | KL | CPU s |"
        yield "|--:|---|---|--:|--:|--:|--:|--:|--:|--:|"
        for row in sorted((one for one in rows if one.network == name), key=lambda one: (one.ratio, one.how[::-1])):
            shares = (
                f"{row.accuracy:.2f} % | {row.lost:+.2f} | {row.agreement:.2f} % | {row.kl:.4f} | {row.seconds:.0f}"
            )
            yield f"| {row.ratio} | {row.how} | {row.size} | {row.file_bytes:,} | {row.weight_bytes:,} | {shares} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(VECTORS), help=f"of {', '.join(VECTORS)}")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--zoo", type=Path, default=Path("zoo"), help="folder of the networks, see benchmarks/zoo.py")
    parser.add_argument("--ratios", type=int, nargs="+", default=[8, 12, 20])
    parser.add_argument("--hows", nargs="+", default=HOWS, choices=HOWS, metavar="HOW", help=f"of {'; '.join(HOWS)}")
    parser.add_argument("--inputs", type=int, default=3000)
    parser.add_argument("--steps", type=int, default=200, help="of training (default: 200)")
    parser.add_argument("--rows", type=Path, help="where rows are kept, and what a run goes on from")
    parser.add_argument("--out", type=Path, help="also write the page to this file")
    options = parser.parse_args()
    options.zoo.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    if options.rows and options.rows.exists():
        rows = [Row(**json.loads(line)) for line in options.rows.read_text("utf-8").splitlines()]
    for name in options.names:
        for row in measure_network(name, options, rows):
            print(row, file=sys.stderr, flush=True)
            rows.append(row)
            if options.rows:
                options.rows.write_text("".join(json.dumps(asdict(one)) + "\n" for one in rows), "utf-8")
    publish(page(rows, options), options.out)


if __name__ == "__main__":
    main()
