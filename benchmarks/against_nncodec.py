"""Whole .wcz files against NNCodec's weight bitstreams at the same relative squared error.

    python benchmarks/against_nncodec.py nncodec.csv lenet300=lenet300.h5 hed=hed.h5 [--errors 0.002,0.008,0.03]

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

from wcodec.encoder import encode
from wcodec.request import recipe_from


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


def main(words: list[str]) -> None:
    """Print one Markdown row a model and error, then the geometric mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("models", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--errors", default="0.002,0.008,0.03")
    given = parser.parse_args(words)
    curves = read_curves(given.table)
    ratios: list[float] = []
    print("| model | error | bytes | NNCodec, lambda 0 | ratio | NNCodec, best lambda | ratio | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for named in given.models:
        name, _, path = named.partition("=")
        for wanted in given.errors.split(","):
            with tempfile.TemporaryDirectory() as room:
                start = time.perf_counter()
                done = encode(Path(path), Path(room) / "model.wcz", recipe_from({"max_error": float(wanted)}))
                seconds = time.perf_counter() - start
            plain, best = (size_at(curves[name, every], done.error) for every in (False, True))
            ratios.append(done.file_bytes / plain)
            print(
                f"| {name} | {done.error:.5f} | {done.file_bytes:,} | {plain:,.0f} | {ratios[-1]:.3f} "
                f"| {best:,.0f} | {done.file_bytes / best:.3f} | {seconds:.1f} |",
                flush=True,
            )
    known = [math.log(ratio) for ratio in ratios if not math.isnan(ratio)]
    if known:
        print(f"\nGeometric mean of {len(known)} ratios (lambda 0): {math.exp(sum(known) / len(known)):.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
