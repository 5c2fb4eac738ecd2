"""README's table: python benchmarks/samples_table.py [--out benchmarks/results/samples.md]

Every row is `wcodec encode`, then `wcodec evaluate` on the 10,000 MNIST test images, both run as commands.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from page import publish

ROOT = Path(__file__).resolve().parent.parent
CALIBRATED = "--data samples/mnist.npz:train --limit 10000 --max-drop 0.5"
ROWS = (
    ("samples/lenet300.h5", ""),
    ("samples/lenet5.keras", ""),
    ("samples/tutorial_cnn.h5", ""),
    ("samples/lenet300.h5", CALIBRATED),
    ("samples/lenet5.keras", CALIBRATED),
)


def wcodec(*words: str) -> str:
    """The program's standard output, run in the repository. Raises: CalledProcessError."""
    program = [sys.executable, "-m", "wcodec", *words]
    return subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout


def row(model: str, options: str) -> str:
    """One line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        target = f"{folder}/model.wcz"
        wcodec("encode", model, "-q", "-o", target, *options.split())
        words = ("--data", "samples/mnist.npz:test", "--baseline", model, "--json")
        found = json.loads(wcodec("evaluate", target, *words))
    before, after = (f"{found[key]:.2f} %" for key in ("baseline_accuracy", "accuracy"))
    sizes = f"{found['source_bytes']:,} | {found['file_bytes']:,} | {found['ratio']:.1f}x"
    name = Path(model).name
    return f"| {name} | {f'`{options}`' if options else ''} | {sizes} | {before} | {after} |"


def table() -> Iterator[str]:
    """The page."""
    yield "Accuracy is of the 10,000 test images of MNIST."
    yield ""
    yield "| model in `samples/` | options | model file, bytes | .wcz file, bytes | smaller | accuracy before | after |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    for model, options in ROWS:
        yield row(model, options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    publish(table(), parser.parse_args().out)
