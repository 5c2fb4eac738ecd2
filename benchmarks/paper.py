"""The experiment of the starting paper, row by row, and what wcodec makes of the same network.

    python benchmarks/paper.py [--out benchmarks/results/paper.md] [--keep FOLDER]

Trains everything from samples/mnist.npz: a few minutes on two cores. Accuracies are of the 10,000 test images;
sizes are whole files. The test images choose nothing: budgets of wcodec are kept to on training images kept apart.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from page import publish
from paper_networks import ROOT, baseline, pruned_network
from paper_score import BASELINE_ACCURACY, BASELINE_BYTES, ROWS, Printed, list_slips, tabulate_scores, z_scores
from tflite_sizes import KINDS, accuracy, flat

from wcodec import evaluate

MNIST = "samples/mnist.npz"
PARAMETERS = 20_410
TFLITE = {"float16", "int8"}


def words_of(row: Printed) -> list[str]:
    """What wcodec is asked for in a row of the paper."""
    sparsity = ["--sparsity", f"{row.part:g}"] if row.part else []
    return {
        "float32": ["--lossless"],
        "float16": ["--quantizer", "float16"],
        "int8": [*sparsity, "--quantizer", "symmetric", "--bits", "8"],
    }[row.kind]


BASELINE = Printed("baseline", BASELINE_ACCURACY, BASELINE_BYTES, 1.0)
PAPER = (BASELINE, *ROWS)
OWN = (
    ("default", []),
    ("calibrated", ["--data", f"{MNIST}:train", "--limit", "20000", "--max-drop", "0.5", "--tune", "3000"]),
    ("methods", ["--data", f"{MNIST}:train", "--finetune", "8", "--method", "gradual,quantized",
                 "--sparsity", "0.9", "--set", "conv2d:sparsity=0.3", "--bits", "4"]),
    ("fine-tuned, 0.1 points", ["--data", f"{MNIST}:train", "--finetune", "20", "--max-drop", "0.1"]),
    ("fine-tuned, 1 point", ["--data", f"{MNIST}:train", "--finetune", "20", "--max-drop", "1"]),
)  # fmt: skip


ABOUT = f"""\
The CNN of TensorFlow's tutorials ({PARAMETERS:,} parameters, {4 * PARAMETERS:,} bytes of float32) on MNIST. Accuracy on
the 10,000 test images, percent; delta in points; whole files, bytes; reduction over the gzipped baseline. Score: the
paper's, the z-score (sample deviation, ddof 1) of delta times reduction over the eight rows below the baseline, of the
paper's rows with its misprint mended. *Paper*: its accuracies and bytes. *Here*: its protocol run again; gzip -9 of the
.h5, and of TFLite's file for float16 and int8. *.wcz*: the same networks by wcodec, float32 rows bit for bit, float16
and int8 by `--quantizer`."""


@dataclass(frozen=True)
class Result:
    """A file. accuracy: percent, of the test images."""

    accuracy: float
    size: int
    command: str = ""


def main(words: list[str]) -> None:
    """Print the tables, and write them to a file where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--keep", type=Path, help="folder for the networks and files")
    given = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        page = report(*measure(folder))
    publish(page, given.out)


def measure(folder: Path) -> tuple[list[tuple[Printed, Result, Result]], list[tuple[str, Result]], dict[str, int]]:
    """The paper's rows, each as the paper packs it and as a .wcz; wcodec's own rows; TFLite's files of the baseline."""
    base = note("baseline", lambda: baseline(folder))
    networks = {0.0: base}
    for row in PAPER:
        if row.part not in networks:
            networks[row.part] = note(row.name, lambda row=row: pruned_network(base, row.part, folder))
    rows = []
    for row in PAPER:
        source = networks[row.part]
        coded = note(row.name + ".wcz", lambda row=row, source=source: run_command(source, words_of(row), folder))
        rows.append((row, as_the_paper(source, row) or Result(coded.accuracy, 0), coded))
    own = [(name, note(name, lambda words=words: run_command(base, words, folder))) for name, words in OWN]
    contents = {kind: flat(base, kind) for kind in KINDS}
    return rows, own, {kind: len(content) for kind, content in contents.items() if content}


def as_the_paper(source: Path, row: Printed) -> Result | None:
    """The gzipped .h5, or TFLite's file where numbers are shorter; None where TFLite does not run."""
    if row.kind not in TFLITE:
        return Result(evaluate(source, f"{MNIST}:test").accuracy or 0.0, len(gzip.compress(source.read_bytes(), 9)))
    content = flat(source, row.kind)
    if content is None:
        return None
    with np.load(MNIST, allow_pickle=False) as mnist:
        percent = accuracy(content, mnist["x_test"] / np.float32(255), mnist["y_test"])
    return Result(percent, len(gzip.compress(content, 9)))


def run_command(source: Path, words: list[str], folder: Path) -> Result:
    """What the command makes of a network."""
    target = folder / "coded.wcz"
    command = ["encode", str(source), "-o", str(target), "-f", *words]
    subprocess.run([sys.executable, "-P", "-m", "wcodec", *command, "-q"], check=True, cwd=ROOT)
    found = evaluate(target, f"{MNIST}:test")
    said = f"wcodec encode {source.name} {shlex.join(words)}".strip()
    return Result(found.accuracy or 0.0, target.stat().st_size, said)


def note(name: str, work):
    """Do it, and say how long it took."""
    begun = time.monotonic()
    done = work()
    print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return done


def report(
    rows: list[tuple[Printed, Result, Result]],
    own: list[tuple[str, Result]],
    tflite: dict[str, int],
) -> list[str]:
    """The lines of the page."""
    packed = rows[0][1]
    columns = [
        _cells([(row.accuracy, row.size) for row, _, _ in rows], BASELINE_ACCURACY, BASELINE_BYTES),
        _cells([(mine.accuracy, mine.size) for _, mine, _ in rows], packed.accuracy, packed.size),
        _cells([(coded.accuracy, coded.size) for _, _, coded in rows], packed.accuracy, packed.size),
    ]
    lines = [
        "# The starting paper's experiment, and wcodec's",
        "",
        ABOUT,
        "",
        "| row | paper | delta | bytes | reduction | score | here | delta | bytes | reduction | score "
        "| .wcz | delta | bytes | reduction | score |",
        "|---|" + "--:|" * 15,
        *(f"| {row.name} | {' | '.join(cells)} |" for (row, _, _), *cells in zip(rows, *columns, strict=True)),
        "",
        "## The paper's score, as printed and mended",
        "",
        *tabulate_scores(),
        "",
        "What the paper says and its table or its sources do not:",
        "",
        *list_slips(),
        "",
        "## wcodec's own rows, from the same baseline",
        "",
        "| row | accuracy | delta | bytes | reduction |",
        "|---|" + "--:|" * 4,
        *(f"| {name} | {_figures(one.accuracy, one.size, packed.accuracy, packed.size)} |" for name, one in own),
        "",
        *(f"- {name}: `{one.command}`" for name, one in own),
        "",
    ]
    if tflite:
        sizes = ", ".join(f"{kind} {size:,}" for kind, size in tflite.items())
        lines.append(f"TFLite's files of the baseline, not gzipped, bytes: {sizes}.")
    else:
        lines.append("TFLite did not run here: rows without bytes.")
    return lines


def _cells(rows: list[tuple[float, int]], accuracy: float, whole: int) -> list[str]:
    """The cells of a group of columns, of the baseline and the rows below it, whose scores are of these rows."""
    known = [(one, size) for one, size in rows[1:] if size]
    scores = iter(z_scores([one - accuracy for one, _ in known], [whole / size for _, size in known]))
    tails = ["-", *(f"{next(scores):.3f}" if size else "-" for _, size in rows[1:])]
    return [f"{_figures(*row, accuracy, whole)} | {tail}" for row, tail in zip(rows, tails, strict=True)]


def _figures(accuracy: float, size: int, before: float, whole: int) -> str:
    if not size:
        return f"{accuracy:.2f} | {accuracy - before:+.2f} | - | -"
    return f"{accuracy:.2f} | {accuracy - before:+.2f} | {size:,} | {whole / size:.2f}"


if __name__ == "__main__":
    os.chdir(ROOT)
    main(sys.argv[1:])
