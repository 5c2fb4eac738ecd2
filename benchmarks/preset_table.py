"""What the presets do to networks: python benchmarks/preset_table.py zoo/ more.keras --data fashion_mnist.npz

Every network (a folder stands for the ones in it) is encoded, decoded, loaded and measured in this one process. Prints
a Markdown table, a row as soon as it is known: `ratio` is of the tensors' bytes to those of their sections, accuracies
are in percent, `drop` in points, `same` the percent of images that keep their class.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wcodec.errors import WcodecError
from wcodec.evaluation.datasets import load_examples
from wcodec.evaluation.evaluate import Evaluation, evaluate
from wcodec.evaluation.keras_backend import keras, silence_keras
from wcodec.evaluation.model_loader import load_model, model_inputs
from wcodec.pipeline.decoder import decode
from wcodec.pipeline.encoder import encode
from wcodec.planning.parsing import parse_recipe
from wcodec.planning.recipe import PRESETS
from wcodec.reporting.inspection import Inspection, inspect

SUFFIXES = (".keras", ".h5")
HEADS = (
    "network",
    "preset",
    "tensor bytes",
    "file bytes",
    "ratio",
    "relative error",
    "before",
    "after",
    "drop",
    "same",
)


@dataclass(frozen=True)
class Measured:
    """One network under one preset."""

    network: str
    preset: str
    numbers: Inspection
    found: Evaluation

    @property
    def ratio(self) -> float:
        """Tensor bytes by weight bytes."""
        return self.numbers.tensor_bytes / max(1, self.numbers.weight_bytes)


def networks(paths: Sequence[Path]) -> Iterator[Path]:
    """The model files among `paths` and directly in the folders among them, in order of their names."""
    for path in paths:
        yield from sorted(p for p in path.iterdir() if p.suffix in SUFFIXES) if path.is_dir() else (path,)


def measure(
    source: Path, presets: Sequence[str], spec: str, words: dict[str, object], limit: int
) -> Iterator[Measured]:
    """The network under each of the presets.

    words: said to every encoding beside the preset; see `request.parse_recipe`.
    limit: of the test images, taken from the first, for speed.
    Raises: WcodecError.
    """
    original = load_model(source)
    examples = load_examples(spec, model_inputs(original))
    examples = examples.take(np.arange(min(limit, examples.count)))
    for preset in presets:
        with tempfile.TemporaryDirectory(prefix="wcodec-") as folder:
            coded, decoded = Path(folder, "network.wcz"), Path(folder, f"network{source.suffix}")
            encode(source, coded, parse_recipe({**words, "preset": preset}))
            decode(coded, decoded)
            yield Measured(source.stem, preset, inspect(coded), evaluate(decoded, examples, original))


def row(one: Measured) -> str:
    """One line of the table."""
    numbers, found = one.numbers, one.found
    cells = [one.network, one.preset, f"{numbers.tensor_bytes:,}", f"{numbers.file_bytes:,}", f"{one.ratio:.2f}"]
    cells.append(f"{numbers.relative_error:.2e}")
    cells += [_number(found.baseline_accuracy, ".2f"), _number(found.accuracy, ".2f")]
    cells += [_number(found.accuracy_drop, "+.2f"), _number(found.agreement, ".2f")]
    return f"| {' | '.join(cells)} |"


def summary(preset: str, every: Sequence[Measured]) -> str:
    """All networks under one preset, in a line."""
    if not every:
        return f"- {preset}: nothing measured"
    times = sum(one.numbers.tensor_bytes for one in every) / sum(one.numbers.file_bytes for one in every)
    drops = [one.found.accuracy_drop for one in every if one.found.accuracy_drop is not None]
    most = f"; drop at most {max(drops):+.2f}, mean {sum(drops) / len(drops):+.2f} points" if drops else ""
    return f"- {preset}: tensor bytes by file bytes, all together, {times:.2f}{most}"


def _number(value: float | None, how: str) -> str:
    return "-" if value is None else format(value, how)


def word(text: str) -> tuple[str, object]:
    """A word of a recipe and its value: "max_error=1e-3"."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected word=value, got {text!r}")
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value


def main() -> None:
    parser = argparse.ArgumentParser(description="A table of what the presets do to networks.")
    parser.add_argument("models", nargs="+", type=Path, help="model files, or folders of them")
    parser.add_argument("--data", required=True, metavar="D", help="FILE.npz or anything else that evaluate takes")
    parser.add_argument("--preset", action="append", choices=PRESETS, help="only this one (may be repeated)")
    parser.add_argument(
        "--say", action="append", default=[], type=word, metavar="WORD=VALUE", help="such as effort=best"
    )
    parser.add_argument("--limit", type=int, default=10_000, help="test images, from the first (default: 10000)")
    options = parser.parse_args()
    presets = options.preset or PRESETS
    print(f"| {' | '.join(HEADS)} |\n|{'---|' * 2}{'---:|' * (len(HEADS) - 2)}", flush=True)
    every: list[Measured] = []
    for source in networks(options.models):
        try:
            with silence_keras():
                for one in measure(source, presets, options.data, dict(options.say), options.limit):
                    print(row(one), flush=True)
                    every.append(one)
        except WcodecError as error:
            print(f"| {source.stem} | {type(error).__name__}: {error} |{' |' * (len(HEADS) - 2)}", flush=True)
        keras().backend.clear_session()
    print()
    for preset in presets:
        print(summary(preset, [one for one in every if one.preset == preset]))


if __name__ == "__main__":
    main()
