"""One page of what users would take instead: python benchmarks/compare.py [--out benchmarks/results/compare.md]

Reads the pages that `make compare` writes before, and says for each coder how large a file of wcodec is that loses as
much: between two of its files the logarithm of the loss is taken as linear in the bytes.
"""

from __future__ import annotations

import argparse
import itertools
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from page import publish

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "docs"))
from figures import RESULTS, Row, number, read, tables  # noqa: E402

Point = tuple[int, float]


def bytes_at(loss: float, curve: list[Point]) -> float | None:
    """Bytes of a file that loses so much, None outside of the curve."""
    for (larger, less), (smaller, more) in itertools.pairwise(curve):
        if less <= loss <= more:
            part = (math.log(loss) - math.log(less)) / (math.log(more) - math.log(less)) if more > less else 0.0
            return larger + part * (smaller - larger)
    return None


def curve(rows: list[Row], loss: str, wanted: str) -> list[Point]:
    """The lower hull of wcodec's files: each loses more than every larger one."""
    points = sorted((-number(row["bytes"]), float(row[loss])) for row in rows if re.fullmatch(wanted, row["coder"]))
    kept: list[Point] = []
    for nbytes, lost in points:
        while kept and kept[-1][1] >= lost:
            kept.pop()
        if lost > 0:
            kept.append((-nbytes, lost))
    return kept


def beside(page: str, loss: str, plain: str, informed: str) -> Iterator[str]:
    """Who takes fewer bytes, and a table: every other coder of a page, and what wcodec takes for as little loss."""
    rows = [row for row in tables(page) if "coder" in row]
    others = [row for row in rows if not row["coder"].startswith("wcodec")]
    curves = {"weights alone": curve(rows, loss, plain), "with inputs": curve(rows, loss, informed)}
    sizes = {how: [bytes_at(float(row[loss]), one) for row in others] for how, one in curves.items()}
    for how, found in sizes.items():
        yield summarise(how, others, found)
    yield ""
    yield f"| coder | bytes | {loss} | wcodec, weights alone | wcodec, with inputs |"
    yield "|---|--:|--:|--:|--:|"
    for row, *both in zip(others, *sizes.values(), strict=True):
        cells = [f"{one:,.0f} ({one / number(row['bytes']) - 1:+.0%})" if one else "-" for one in both]
        yield f"| {row['coder']} | {row['bytes']} | {row[loss]} | {' | '.join(cells)} |"


def summarise(how: str, others: list[Row], sizes: list[float | None]) -> str:
    """A sentence: beside how many files wcodec's are smaller, and beside which they are larger."""
    changes = {
        row["coder"]: size / number(row["bytes"]) - 1
        for row, size in zip(others, sizes, strict=True)
        if size is not None
    }
    smaller = [change for change in changes.values() if change < 0]
    larger = [f"{name} ({change:+.0%})" for name, change in changes.items() if change >= 0]
    by = f", by {-max(smaller):.0%} to {-min(smaller):.0%}" if smaller else ""
    return (
        f"- wcodec, {how}: smaller at equal loss than {len(smaller)} of {len(changes)} files{by}; "
        f"larger than {', '.join(larger) if larger else 'none'}."
    )


def page() -> Iterator[str]:
    """The page's lines."""
    yield "# Beside what people use instead"
    yield ""
    yield "A percentage says how much smaller (-) or larger (+) wcodec's file is that loses as"
    yield "much; `-` stands where none of the measured files is on both sides."
    yield ""
    yield "## Embeddings: MiniLM, 22.7 M weights ([all files](embeddings.md))"
    yield "`python benchmarks/embeddings.py`; inputs: second moments of other sentences (`--moments`)."
    yield ""
    yield from beside("embeddings.md", "1 - cosine, mean", r"wcodec (?!.*moments).*", r"wcodec .*moments")
    yield ""
    if (RESULTS / "language_model.md").exists():
        yield "## A language model: 2.5 M weights, trained here ([all files](language_model.md))"
        yield "Lost are bits a byte of held-out text; inputs: calibration by text without labels, and training with it."
        yield ""
        yield from beside("language_model.md", "lost", r"wcodec (?!.*--data).*", r"wcodec .*--data")
        yield ""
    if (RESULTS / "wild.md").exists():
        yield "## Keras networks of packages ([all files](wild.md))"
        yield "The smallest file of each kind whose outputs' error (over the variance of the outputs) is at most 1 %:"
        yield ""
        yield from smallest_in_the_wild()
        yield ""
    yield "## Without loss, and beside the ISO standard"
    yield "[Lossless](lossless.md) beside zipnn, lmzip, zstd and xz; [NNCodec](nncodec.md) at equal errors of the"
    yield "weights; [chains of checkpoints](chains.md) beside zstd of the XOR."


def smallest_in_the_wild(most: float = 0.01) -> Iterator[str]:
    """A row a network: bytes of the smallest file of wcodec and of the others within an error of the outputs."""
    yield "| network | original | wcodec | the smallest other | which |"
    yield "|---|--:|--:|--:|---|"
    for section in read("wild.md").split("\n### ")[1:]:
        title, _, size = section.splitlines()[0].rpartition(", ")
        found: dict[bool, tuple[int, str]] = {}
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
            if line.startswith("| ") and cells[0] != "coder" and float(cells[3]) <= most:
                ours, one = cells[0].startswith("wcodec"), (number(cells[1]), cells[0])
                found[ours] = min(found.get(ours, one), one)
        ours, other = found.get(True), found.get(False)
        cells = [f"{ours[0]:,} ({ours[1]})" if ours else "-", *((f"{other[0]:,}", other[1]) if other else ("-", "-"))]
        yield f"| {title} | {size.split()[0]} | {' | '.join(cells)} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    publish(page(), parser.parse_args().out)
