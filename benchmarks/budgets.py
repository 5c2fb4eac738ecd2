"""How often a budget is kept: python benchmarks/budgets.py --fashion F.npz --mnist M.npz --zoo DIR [--words '--tune 0']

Twelve networks, those of `benchmarks/zoo.py` in DIR and those of `samples/`, are coded within budgets of accuracy, each
three times: by other training images, without labels, and another seed. What wcodec predicts is set beside what the
test images lose, which are looked at when a file is finished. Networks that DIR lacks are trained first. With --rows,
what was measured is kept there, and a second run, of other networks say, goes on from it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import zoo
from page import publish
from slim import images_for, open_network

import wcodec

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
PREDICTED = re.compile(r"^chosen: .*?(-?[\d.]+) points predicted")
CASES: dict[str, Callable[[zoo.Pictures, zoo.Pictures], zoo.Pictures]] = {
    **dict.fromkeys(zoo.TRAINING_PLANS, lambda fashion, _: fashion),
    **dict.fromkeys(("lenet300.h5", "lenet5.keras", "tutorial_cnn.h5"), lambda _, mnist: mnist),
}


@dataclass(frozen=True)
class Row:
    """One file. asked, predicted, lost: points of accuracy; predicted is None where nothing was told.

    chance: the standard error of `lost` by the test images.
    """

    network: str
    asked: float
    seed: int
    predicted: float | None
    lost: float
    chance: float
    nbytes: int
    seconds: float


def classes(model: keras.Model, images: zoo.Images) -> np.ndarray:
    """The class that the network chooses for each image."""
    return np.argmax(model.predict(images, 500, verbose=0), axis=1)


def measure(path: Path, pictures: zoo.Pictures, options: argparse.Namespace, known: list[Row]) -> Iterator[Row]:
    """Every budget and seed for one network that is not known."""
    original = keras.models.load_model(path, compile=False)
    test = images_for(original, pictures.test)
    right = classes(original, test) == pictures.test_labels
    more = dict(zip(options.words.split()[::2], options.words.split()[1::2], strict=True))
    words = {name.removeprefix("--").replace("-", "_"): value for name, value in more.items()}
    for asked in options.drops:
        for seed in range(options.seeds):
            if any((row.network, row.asked, row.seed) == (path.stem, asked, seed) for row in known):
                continue
            rows = np.random.default_rng(seed).choice(len(pictures.train), options.inputs, replace=False)
            heard: list[str] = []
            begin = time.process_time()
            with tempfile.TemporaryDirectory() as folder:
                coded = Path(folder) / "m.wcz"
                try:
                    wcodec.encode(
                        path, coded, data=images_for(original, pictures.train[rows]), max_drop=asked, seed=seed,
                        progress=lambda event, heard=heard: heard.append(str(event)), **words,
                    )  # fmt: skip
                except wcodec.BudgetError as error:
                    print(f"{path.name}, {asked:g} points, seed {seed}: {error}", file=sys.stderr, flush=True)
                    continue
                seconds = time.process_time() - begin
                found = classes(wcodec.load_model(coded, compile=False), test) == pictures.test_labels
                told = [match[1] for line in heard if (match := PREDICTED.match(line))]
                changes = 100 * (right.astype(np.float64) - found)
                lost, chance = float(changes.mean()), float(changes.std()) / len(changes) ** 0.5
                predicted = float(told[-1]) if told else None
                yield Row(path.stem, asked, seed, predicted, lost, chance, coded.stat().st_size, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(CASES), help="of networks (default: all twelve)")
    parser.add_argument("--fashion", type=Path, required=True)
    parser.add_argument("--mnist", type=Path, default=SAMPLES / "mnist.npz")
    parser.add_argument("--zoo", type=Path, default=Path("zoo"), help="folder of networks, see zoo.py")
    parser.add_argument("--drops", type=float, nargs="+", default=[1.0, 0.5, 0.2])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--words", default="--tune 0", help="more for encode, a value each")
    parser.add_argument("--rows", type=Path, help="where rows are kept, and what a run goes on from")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.zoo.mkdir(parents=True, exist_ok=True)
    fashion, mnist = zoo.read_pictures(options.fashion), zoo.read_pictures(options.mnist)
    rows = []
    if options.rows and options.rows.exists():
        rows = [Row(**json.loads(line)) for line in options.rows.read_text("utf-8").splitlines()]
    for name in options.names:
        if name in zoo.TRAINING_PLANS:
            open_network(name, options.zoo, fashion)
            path = options.zoo / f"{name}{zoo.TRAINING_PLANS[name].suffix}"
        else:
            path = SAMPLES / name
        for row in measure(path, CASES[name](fashion, mnist), options, rows):
            print(row, file=sys.stderr, flush=True)
            rows.append(row)
            if options.rows:
                options.rows.write_text("".join(json.dumps(asdict(one)) + "\n" for one in rows), "utf-8")
    publish(page(rows, options), options.out)


def page(rows: list[Row], options: argparse.Namespace) -> Iterator[str]:
    """A row for every network and budget, with a column for all its seeds."""
    seeds = 1 + max(row.seed for row in rows)
    yield f"`--data` with {options.inputs:,} training images without labels, `{options.words}`; up to {seeds} seeds"
    yield "of other images. The 10,000 test images are looked at when a file is finished."
    yield ""
    yield "| network | asked, points | predicted | lost on test images | file bytes | CPU s |"
    yield "|---|--:|--:|--:|--:|--:|"
    for key in dict.fromkeys((row.network, row.asked) for row in rows):
        some = [row for row in rows if (row.network, row.asked) == key]
        predicted = ", ".join("-" if row.predicted is None else f"{row.predicted:.2f}" for row in some)
        lost = ", ".join(f"{row.lost:+.2f}" for row in some)
        sizes, seconds = np.mean([row.nbytes for row in some]), np.mean([row.seconds for row in some])
        yield f"| {key[0]} | {key[1]:g} | {predicted} | {lost} | {sizes:,.0f} | {seconds:.0f} |"
    over = [row.lost - row.asked for row in rows if row.lost > row.asked]
    sure = sum(row.lost - row.chance > row.asked for row in rows)
    yield ""
    yield (
        f"Of {len(rows)} files of {len({row.network for row in rows})} networks, {len(over)} lost more than was asked"
        + (f", by {np.median(over):.2f} points in the median and {max(over):.2f} at most" if over else "")
        + f"; {sure} by more than the standard error of the test images."
    )


if __name__ == "__main__":
    main()
