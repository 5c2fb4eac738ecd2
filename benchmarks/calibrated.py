"""What inputs without labels buy: python benchmarks/calibrated.py --data mnist.npz [--inputs 10000] MODEL ...

For each network and each drop that is asked: the bytes of the weights, what the drop was on test images (looked at
once, when the file is finished), the seconds of the whole command on the clock and of the processors, and the bytes of
the weights without inputs. `--seeds 5` does all of it by other inputs and another seed each time. `--beside WCODEC`
makes each file by the command of another version too, at the same time. `--rows FILE` keeps rows, so that runs with
other data make one page.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from page import publish

HEADER = """\
| network | inputs | command | asked | weight bytes | without inputs | part | points lost | agreement | s | CPU s |
| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""
Program = tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One file. asked, lost: points of accuracy; agreement: percent; plain: weight bytes of the default, data-free."""

    network: str
    inputs: int
    command: str
    asked: float
    weights: int
    plain: int
    lost: float
    agreement: float
    seconds: float
    processors: float

    @property
    def part(self) -> float:
        """Weight bytes with inputs over those without."""
        return self.weights / self.plain

    def __str__(self) -> str:
        made = f"{self.network} | {self.inputs:,} | {self.command} | {self.asked:g}"
        part = f"{self.weights:,} | {self.plain:,} | {self.part:.3f}"
        measured = f"{self.lost:+.2f} | {self.agreement:.2f} % | {self.seconds:.0f} | {self.processors:.0f}"
        return f"| {made} | {part} | {measured} |"


@dataclass(frozen=True)
class Version:
    """A command that encodes. name: in the page; program: its first words; words: more for `encode`."""

    name: str
    program: Program
    words: tuple[str, ...]


OWN: Program = (sys.executable, "-m", "wcodec")


def run(*words: object, program: Program = OWN) -> str:
    """The program's standard output. Raises: CalledProcessError."""
    return subprocess.run([*program, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True).stdout


def weight_bytes(coded: Path) -> int:
    """Bytes of all tensors."""
    return int(json.loads(run("inspect", coded, "--json"))["weight_bytes"])


def measure(version: Version, model: Path, inputs: Path, test: str, asked: float, plain: int, count: int) -> Row:
    """Encode by `count` inputs, then look at the test images."""
    with tempfile.TemporaryDirectory() as folder:
        coded, timed = Path(folder) / f"{model.name}.wcz", Path(folder) / "times"
        words = ("encode", model, "-o", coded, "--data", inputs, "--max-drop", asked, "-q", *version.words)
        started = time.perf_counter()
        run(TIMER, timed, *version.program, *words, program=(sys.executable, "-c"))
        seconds = time.perf_counter() - started
        found = json.loads(run("evaluate", coded, "--data", test, "--baseline", model, "--json"))
        lost, agreement = found["accuracy_drop"], found["agreement"]
        used, size = float(timed.read_text()), weight_bytes(coded)
        return Row(model.stem, count, version.name, asked, size, plain, lost, agreement, seconds, used)


TIMER = """\
import resource, subprocess, sys
subprocess.run(sys.argv[2:], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
open(sys.argv[1], "w").write(str(used.ru_utime + used.ru_stime))
"""
"""Writes the seconds of all processors that a command takes, also where two run at a time."""


def plain_bytes(model: Path) -> int:
    """Weight bytes of the file that the default makes."""
    with tempfile.TemporaryDirectory() as folder:
        coded = Path(folder) / f"{model.name}.wcz"
        run("encode", model, "-o", coded, "-q")
        return weight_bytes(coded)


def write_inputs(archive: Path, count: int, target: Path, seed: int) -> None:
    """`count` training images, spread evenly (others for every seed), and nothing that tells what they are."""
    with np.load(archive, allow_pickle=False) as arrays:
        images = arrays["x_train"]
    places = np.linspace(0, len(images) - 1, count).round().astype(np.intp)
    np.savez(target, x=images[(places + seed) % len(images)])


def measure_all(options: argparse.Namespace, versions: list[Version]) -> Iterator[Row]:
    """A row for each network, drop, seed and version; versions run at the same time."""
    for model in options.models:
        plain = plain_bytes(model)
        for asked, seed in itertools.product(options.drops, range(options.seeds)):
            with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(versions)) as pool:
                inputs = Path(folder) / "inputs.npz"
                write_inputs(options.data, options.inputs, inputs, seed)
                seeded = [replace(one, words=(*one.words, "--seed", str(seed))) for one in versions]
                given = (model, inputs, f"{options.data}:test", asked, plain, options.inputs)
                yield from pool.map(lambda one, given=given: measure(one, *given), seeded)


def page(rows: list[Row]) -> Iterator[str]:
    """The table, and a summary of each version."""
    yield "# What inputs without labels buy"
    yield ""
    yield "Part: weight bytes with inputs over those of the default without. Points lost and agreement are of the"
    yield "10,000 test images, looked at when a file is finished."
    yield ""
    yield HEADER
    yield from map(str, rows)
    yield ""
    for name in dict.fromkeys(row.command for row in rows):
        own = [row for row in rows if row.command == name]
        mean, over = math.exp(sum(math.log(row.part) for row in own) / len(own)), [row.lost - row.asked for row in own]
        yield f"{name}: geometric mean of the parts {mean:.3f}, the largest {max(row.part for row in own):.3f}; points"
        yield f"lost beyond those asked: {sum(over) / len(over):+.2f} on average, {max(over):+.2f} at most."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--data", required=True, type=Path, help="an archive such as Keras' mnist.npz")
    parser.add_argument("--inputs", type=int, default=10_000, help="of the training images (default: 10000)")
    parser.add_argument("--drops", type=float, nargs="+", default=[0.5, 0.1], help="asked (default: 0.5 0.1)")
    parser.add_argument("--words", default="", help="more for `wcodec encode`, in one text: '--time-limit 3m'")
    parser.add_argument("--seeds", type=int, default=1, help="times, each by inputs and a seed of its own (default: 1)")
    parser.add_argument("--beside", metavar="WCODEC", help="the program of another version")
    parser.add_argument("--beside-words", default="", help="as --words, for the other version")
    parser.add_argument("--rows", type=Path, help="a file that keeps rows, and whose rows come first")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    versions = [Version("encode --data", OWN, tuple(options.words.split()))]
    if options.beside:
        versions.append(Version("the other version", (options.beside,), tuple(options.beside_words.split())))
    rows = []
    if options.rows and options.rows.exists():
        rows = [Row(**json.loads(line)) for line in options.rows.read_text().splitlines()]
    for row in measure_all(options, versions):
        rows.append(row)
        print(row, file=sys.stderr, flush=True)
        if options.rows:
            options.rows.write_text("".join(json.dumps(asdict(one)) + "\n" for one in rows))
    publish(page(rows), options.out)


if __name__ == "__main__":
    main()
