"""What inputs without labels buy: python benchmarks/calibrated.py --data mnist.npz [--inputs 10000] MODEL ...

For each network and each drop that is asked: the bytes of the weights, what the drop was on test images (looked at
once, when the file is finished), the seconds of the whole command on the clock and of the processors, and the bytes of
the weights without inputs. `--seeds 5` does all of it by other inputs and another seed each time. The table is added to
`--out`, by default benchmarks/results/calibrated.md, and its rows go to the terminal as they come.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results" / "calibrated.md"
HEADER = """\
| network | asked | weight bytes | without inputs | part | test accuracy lost | agreement | seconds | of processors |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""


@dataclass(frozen=True)
class Row:
    """One file. asked, lost: points of accuracy; agreement: percent; plain: weight bytes of the default, data-free."""

    network: str
    asked: float
    weights: int
    plain: int
    lost: float
    agreement: float
    seconds: float
    processors: float

    def __str__(self) -> str:
        part = f"{self.weights:,} | {self.plain:,} | {self.weights / self.plain:.3f}"
        measured = f"{self.lost:+.2f} | {self.agreement:.2f} % | {self.seconds:.0f} | {self.processors:.0f}"
        return f"| {self.network} | {self.asked:g} | {part} | {measured} |"


def wcodec(*words: object) -> str:
    """The program's standard output. Raises: CalledProcessError."""
    program = [sys.executable, "-m", "wcodec", *map(str, words)]
    return subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout


def weight_bytes(coded: Path) -> int:
    """Bytes of all tensors."""
    return int(json.loads(wcodec("inspect", coded, "--json"))["weight_bytes"])


def measured(model: Path, inputs: Path, test: str, asked: float, plain: int, words: Sequence[str]) -> Row:
    """Encode by `inputs`, then look at the test images."""
    with tempfile.TemporaryDirectory() as folder:
        coded = Path(folder) / f"{model.name}.wcz"
        started, used = time.perf_counter(), processors()
        wcodec("encode", model, "-o", coded, "--data", inputs, "--max-drop", asked, "-q", *words)
        seconds, used = time.perf_counter() - started, processors() - used
        found = json.loads(wcodec("evaluate", coded, "--data", test, "--baseline", model, "--json"))
        lost, agreement = found["accuracy_drop"], found["agreement"]
        return Row(model.stem, asked, weight_bytes(coded), plain, lost, agreement, seconds, used)


def processors() -> float:
    """Seconds of all processors that finished commands took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def plain_bytes(model: Path) -> int:
    """Weight bytes of the file that the default makes."""
    with tempfile.TemporaryDirectory() as folder:
        coded = Path(folder) / f"{model.name}.wcz"
        wcodec("encode", model, "-o", coded, "-q")
        return weight_bytes(coded)


def write_inputs(archive: Path, count: int, target: Path, seed: int) -> None:
    """`count` training images, spread evenly (others for every seed), and nothing that tells what they are."""
    with np.load(archive, allow_pickle=False) as arrays:
        images = arrays["x_train"]
    places = np.linspace(0, len(images) - 1, count).round().astype(np.intp)
    np.savez(target, x=images[(places + seed) % len(images)])


def main() -> None:
    parser = argparse.ArgumentParser(description="Weight bytes and drops of networks coded by inputs without labels.")
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--data", required=True, type=Path, help="an archive such as Keras' mnist.npz")
    parser.add_argument("--inputs", type=int, default=10_000, help="of the training images (default: 10000)")
    parser.add_argument("--drops", type=float, nargs="+", default=[0.5, 0.1], help="asked (default: 0.5 0.1)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--words", default="", help="more for `wcodec encode`, in one text: '--time-limit 3m'")
    parser.add_argument("--seeds", type=int, default=1, help="times, each by inputs and a seed of its own (default: 1)")
    options = parser.parse_args()
    rows = []
    print(HEADER, flush=True)
    for model in options.models:
        plain = plain_bytes(model)
        for asked in options.drops:
            for seed in range(options.seeds):
                with tempfile.TemporaryDirectory() as folder:
                    inputs = Path(folder) / "inputs.npz"
                    write_inputs(options.data, options.inputs, inputs, seed)
                    words = [*options.words.split(), "--seed", str(seed)]
                    rows.append(measured(model, inputs, f"{options.data}:test", asked, plain, words))
                print(rows[-1], flush=True)
    part = math.exp(sum(math.log(row.weights / row.plain) for row in rows) / len(rows))
    over = [row.lost - row.asked for row in rows]
    said = f"{options.inputs:,} inputs of {options.data.name} without labels; `{options.words or 'default'}`."
    summary = (
        f"Geometric mean of the parts {part:.3f}, the largest {max(row.weights / row.plain for row in rows):.3f}; "
        f"the drop on test images beyond the one asked: {sum(over) / len(over):+.2f} points on average, "
        f"{max(over):+.2f} at most."
    )
    with options.out.open("a", encoding="utf-8") as out:
        out.write("\n".join([said, "", HEADER, *map(str, rows), "", summary, "", ""]))


if __name__ == "__main__":
    main()
