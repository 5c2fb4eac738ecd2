"""The page beside the records: which networks are chosen, what the test images say of all of them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from wcodec.learning.evaluate import evaluate

HERE = Path(__file__).resolve().parent
EASIER = 0.75
"""Errors on the images that choose read lower than on those of the test (of the plain network by a fifth), the more so
for networks that were chosen by them: a record must keep to this part of its bar."""


@dataclass(frozen=True)
class Record:
    """bar: error in percent that the test images must show at most; most: bytes of weights, at most."""

    network: str
    bar: float
    most: int


@dataclass(frozen=True)
class Row:
    """One network at the end of one stage. Errors in percent; test: only known once all choices are made."""

    network: str
    seed: int
    stage: int
    price: float
    file_bytes: int
    weight_bytes: int
    error: float
    float_error: float
    test_error: float | None = None

    @property
    def file(self) -> str:
        """Name of the coded network."""
        return f"{self.network}-{self.seed}-{self.stage}.wcz"


RECORDS = {
    "lenet300": Record("lenet300", 1.60, 4000),
    "lenet300-small": Record("lenet300", 1.90, 3100),
    "lenet5": Record("lenet5", 0.80, 3300),
    "lenet5-small": Record("lenet5", 1.00, 1900),
    "tutorial_cnn": Record("tutorial_cnn", 2.11, 1600),
    "tutorial_cnn-small": Record("tutorial_cnn", 3.00, 800),
}


def chosen(rows: list[Row], record: Record) -> Row:
    """The smallest that keeps to the bar on the images that choose; where it has more bytes than it may have, the one
    with the fewest errors on them among those that have not."""
    own = [row for row in rows if row.network == record.network]
    within = [row for row in own if row.error <= EASIER * record.bar]
    best = min(within, key=lambda row: row.weight_bytes, default=None)
    if best is not None and best.weight_bytes <= record.most:
        return best
    small = [row for row in own if row.weight_bytes <= record.most] or own
    return min(small, key=lambda row: (row.error, row.weight_bytes))


def tested(rows: list[Row], folder: Path) -> list[Row]:
    """The rows with their errors on the test images."""

    found = []
    for row in rows:
        accuracy = evaluate(folder / row.file, f"{HERE / 'mnist.npz'}:test").accuracy
        assert accuracy is not None
        found.append(replace(row, test_error=round(100 - accuracy, 2)))
    return found


def report(rows: list[Row], picks: dict[str, Row]) -> str:
    """The page that lies beside the records."""
    lines = [INTRODUCTION, "## The files", ""]
    lines += ["| record | weight bytes | file bytes | error on 5,000 that chose | test error | seed | price |"]
    lines += ["|---|--:|--:|--:|--:|--:|--:|"]
    for name, pick in picks.items():
        row = next(row for row in rows if row.file == pick.file)
        lines.append(
            f"| `{name}.wcz` | {row.weight_bytes:,} | {row.file_bytes:,} | {row.error:.2f} % | {row.test_error:.2f} % "
            f"| {row.seed} | {row.price:g} |"
        )
    missed = [name for name, pick in picks.items() if tests_of(rows, pick) > RECORDS[name].bar]
    if missed:
        lines += ["", f"Not within its bar on the test images: {', '.join(missed)}."]
    lines += ["", "## All networks: mean over the seeds, and (least to most)", ""]
    lines += ["| network | price | seeds | weight bytes | error on 5,000 that chose | test error |"]
    lines += ["|---|--:|--:|--:|--:|--:|"]
    for name, stage in sorted({(row.network, row.stage) for row in rows}):
        own = [row for row in rows if (row.network, row.stage) == (name, stage)]
        columns = (
            spread([row.weight_bytes for row in own], ",.0f"),
            spread([row.error for row in own], ".2f"),
            spread([row.test_error or 0.0 for row in own], ".2f"),
        )
        lines.append(f"| {name} | {own[0].price:g} | {len(own)} | {' | '.join(columns)} |")
    floats = {(row.network, row.seed): row.float_error for row in rows}
    said = ", ".join(
        f"{name} {spread([error for (own, _), error in floats.items() if own == name], '.2f')}"
        for name in sorted({name for name, _ in floats})
    )
    return "\n".join([*lines, "", f"Errors of the networks before, on the 5,000 that chose, in percent: {said}.", ""])


def tests_of(rows: list[Row], pick: Row) -> float:
    """Error of a row on the test images."""
    return next(row.test_error or 0.0 for row in rows if row.file == pick.file)


def spread(values: list[float], form: str) -> str:
    """Mean (least to most)."""
    return f"{sum(values) / len(values):{form}} ({min(values):{form}} to {max(values):{form}})"


INTRODUCTION = """# Records

Made by `make records` (`samples/records.py`): networks of MNIST trained with labels under a price on every bit
(`wcodec encode --finetune` is the same training), coded with `--best`. Trained on the first 55,000 images; every choice
(price, seed) by the last 5,000 of the training set: the smallest file whose error on them is at most 0.75 times the bar
(1.60 and 1.90 % for lenet300, 0.80 and 1.00 % for lenet5, 2.11 and 3.00 % for tutorial_cnn; errors on them read lower
than on the test images), or the one with the fewest errors on them within 4,000, 3,100, 3,300, 1,900, 1,600 and 800
bytes. The 10,000 test images were looked at after all choices were made.

`wcodec evaluate samples/records/lenet5.wcz --data samples/mnist.npz:test --json` shows the figures of a file,
`wcodec inspect` its bytes. `weight bytes` are those of all tensors' sections, `file bytes` have the configuration too.
"""


def finish(rows: list[Row], folder: Path, into: Path) -> None:
    """Choose, then look at the test images, then write the records and their page."""
    known = {row.network for row in rows}
    picks = {name: chosen(rows, record) for name, record in RECORDS.items() if record.network in known}
    rows = tested(rows, folder)
    into.mkdir(parents=True, exist_ok=True)
    for name, pick in picks.items():
        shutil.copyfile(folder / pick.file, into / f"{name}.wcz")
    text = report(rows, picks)
    (into / "README.md").write_text(text)
    print(text)
