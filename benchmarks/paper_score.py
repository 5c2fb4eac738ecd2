"""The starting paper's own score, and its slips: python benchmarks/paper_score.py

The score of a row is the z-score, over the paper's eight rows, of (accuracy - baseline's) * reduction, with the sample
standard deviation (ddof 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

BASELINE_ACCURACY, BASELINE_BYTES = 97.89, 78_041


@dataclass(frozen=True)
class Printed:
    """A row of the paper as it is printed. reduction: as printed; part: pruned; kind: of numbers."""

    name: str
    accuracy: float
    size: int
    reduction: float
    part: float = 0.0
    kind: str = "float32"

    @property
    def delta(self) -> float:
        """Points of accuracy over the baseline."""
        return self.accuracy - BASELINE_ACCURACY

    @property
    def mended(self) -> float:
        """The reduction that the printed bytes come to, in two digits as the paper's."""
        return round(BASELINE_BYTES / self.size, 2)


ROWS = (
    Printed("pruned 50 %", 97.77, 48_380, 1.61, 0.5),
    Printed("pruned 75 %", 97.35, 48_850, 1.60, 0.75),
    Printed("pruned 90 %", 94.68, 17_409, 4.48, 0.9),
    Printed("pruned 95 %", 58.49, 12_979, 6.01, 0.95),
    Printed("float16", 97.94, 39_572, 1.97, 0.0, "float16"),
    Printed("int8", 94.86, 18_553, 4.21, 0.0, "int8"),
    Printed("75 % + int8", 96.84, 12_792, 8.91, 0.75, "int8"),
    Printed("90 % + int8", 94.67, 5_518, 14.14, 0.9, "int8"),
)


def z_scores(deltas: Sequence[float], reductions: Sequence[float]) -> list[float]:
    """The paper's score of each row: its delta times its reduction, in standard deviations from the mean of all.

    >>> [round(score, 2) for score in z_scores([0.0, 1.0], [1.0, 2.0])]
    [-0.71, 0.71]
    """
    products = [delta * reduction for delta, reduction in zip(deltas, reductions, strict=True)]
    middle, spread = mean(products), stdev(products)
    return [(product - middle) / spread for product in products]


def tabulate_scores() -> list[str]:
    """The paper's table with its score, as printed and with the misprint mended: lines of Markdown."""
    deltas = [row.delta for row in ROWS]
    printed = z_scores(deltas, [row.reduction for row in ROWS])
    mended = z_scores(deltas, [row.mended for row in ROWS])
    lines = [
        "| row | accuracy | delta | bytes | reduction, printed | z-score | reduction, mended | z-score |",
        "|---|" + "--:|" * 7,
    ]
    for row, before, after in zip(ROWS, printed, mended, strict=True):
        changed = "**" if row.reduction != row.mended else ""
        lines.append(
            f"| {row.name} | {row.accuracy:.2f} | {row.delta:+.2f} | {row.size:,} | {row.reduction:.2f} | {before:.3f} "
            f"| {changed}{row.mended:.2f}{changed} | {after:.3f} |"
        )
    return lines


def list_slips() -> list[str]:
    """What the paper's text says and its table or its sources do not, as items of Markdown."""
    quantised = [row for row in ROWS if row.part == 0.0 and row.kind != "float32"]
    average = mean(row.mended for row in quantised)
    worst = min(quantised, key=lambda row: row.delta)
    wrong = next(row for row in ROWS if row.reduction != row.mended)
    return [
        f"- Reduction of {wrong.name}: {wrong.reduction} printed; {BASELINE_BYTES:,} / {wrong.size:,} is "
        f"{wrong.mended:.2f}.",
        f"- Average reduction of quantisation: 4.55 in the text; its table gives {average:.2f}.",
        f"- Smallest delta of quantisation: 0.02 in the text; its table has {worst.delta:.2f} ({worst.name}).",
        "- Gradual pruning: the cube is missing; Zhu and Gupta have "
        "`s_t = s_f + (s_i - s_f) (1 - (t - t0) / (n dt))^3` (`--method gradual`; without it: `gradual-linear`).",
        "- Symmetric quantisation: the scale is upside down; `q = round(clip(r q_max / scale))` multiplies by "
        "`q_max / scale`.",
        "- Pruned to 75 % takes more bytes (48,850) than to 50 % (48,380); run again it does not.",
    ]


if __name__ == "__main__":
    print("\n".join([*tabulate_scores(), "", *list_slips()]))
