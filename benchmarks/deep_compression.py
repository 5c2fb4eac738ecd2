"""Deep Compression run again beside its figures: python benchmarks/deep_compression.py [--out PAGE.md] [--network N]

Each sample network is encoded by the preset with the training images; the test images are looked at once, at the end.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from page import publish

from wcodec import evaluate
from wcodec.reporting.stages import Stages, stages_of

ROOT = Path(__file__).resolve().parent.parent
MNIST = "samples/mnist.npz"


@dataclass(frozen=True)
class Paper:
    """A network of Han, Mao and Dally (2016): ratios after each stage, error before and after, percent."""

    name: str
    source: str
    epochs: int
    size: str
    ratios: tuple[str, str, str]
    errors: tuple[float, float]


PAPER = (
    Paper("LeNet-300-100", "lenet300.h5", 20, "27 kB", ("12x", "32x", "40x"), (1.64, 1.58)),
    Paper("LeNet-5", "lenet5.keras", 14, "44 kB", ("12x", "33x", "39x"), (0.80, 0.74)),
)


def main(words: list[str]) -> None:
    """Print the page, and write it to a file where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--network", choices=[one.name for one in PAPER])
    given = parser.parse_args(words)
    lines = [
        "# Deep Compression, run again",
        "",
        "Bytes are of all weights, biases included, by the classic coder alone: gaps and codes by Huffman, no "
        "contexts. Units that die in training are left out: shares and ratios are of the weights that remain. Errors "
        "are of the 10,000 test images.",
    ]
    for paper in PAPER:
        if given.network in {None, paper.name}:
            lines += run_again(paper)
    publish(lines, given.out)


def run_again(paper: Paper) -> list[str]:
    """The command, its figures beside the paper's, and the stages of each tensor."""
    options = ["--preset", "deep-compression", "--data", f"{MNIST}:train", "--finetune", str(paper.epochs)]
    source = f"samples/{paper.source}"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "coded.wcz"
        begun = time.monotonic()
        command = [sys.executable, "-P", "-m", "wcodec", "encode", source, "-o", str(target), *options, "-q"]
        subprocess.run(command, check=True, cwd=ROOT)
        seconds = time.monotonic() - begun
        found, stages = evaluate(target, f"{MNIST}:test", baseline=source), stages_of(target)
    return [
        "",
        f"## {paper.name}",
        "",
        f"`wcodec encode {source} {' '.join(options)}`: {seconds:.0f} s",
        "",
        *compare(paper, stages[-1], (100 - (found.baseline_accuracy or 0.0), 100 - (found.accuracy or 0.0))),
        "",
        *tabulate(stages),
    ]


def compare(paper: Paper, total: Stages, errors: tuple[float, float]) -> list[str]:
    """Lines of Markdown: the paper's row and ours."""
    ours = [f"{total.ratio(stage):.1f}x" for stage in ("pruned", "shared", "coded")]
    return [
        "| | kept | pruned | + shared | + Huffman | bytes | error before | after |",
        "|---|" + "--:|" * 7,
        f"| the paper | 8 % | {' | '.join(paper.ratios)} | {paper.size} "
        f"| {paper.errors[0]:.2f} % | {paper.errors[1]:.2f} % |",
        f"| here | {100 * total.kept / total.weights:.1f} % | {' | '.join(ours)} | {total.coded:,} "
        f"| {errors[0]:.2f} % | {errors[1]:.2f} % |",
    ]


def tabulate(stages: tuple[Stages, ...]) -> list[str]:
    """Lines of Markdown: the stages of each tensor, bytes, and bits of gaps and codes for each kept weight."""
    lines = [
        "| tensor | kept | pruned | shared | Huffman | gap bits | fillers | entropy | Huffman | code bits | entropy "
        "| Huffman |",
        "|---|" + "--:|" * 11,
    ]
    for one in stages:
        bits = [
            f"{one.gap_bits}", f"{one.fillers:,}", f"{one.gap_entropy:.2f}", f"{one.gap_coded or 0:.2f}",
            f"{one.code_bits}", f"{one.code_entropy:.2f}", f"{one.code_coded or 0:.2f}",
        ]  # fmt: skip
        lines.append(
            f"| {one.shown} | {100 * one.kept / one.weights:.1f} % | {one.pruned:,} | {one.shared:,} | {one.coded:,} "
            f"| {' | '.join(bits if one.code_bits else ['-'] * 7)} |"
        )
    return lines


if __name__ == "__main__":
    os.chdir(ROOT)
    main(sys.argv[1:])
