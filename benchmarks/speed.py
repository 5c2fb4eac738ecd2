"""Whole commands side by side on a 59 MB model: wcodec, gzip -9 and zstd -19, in turn, several rounds.

    python benchmarks/speed.py [--rounds 3] [--only "one thread"] [--out benchmarks/results/speed.md]

Weights a second are of CPU time of the whole command, start and files included. --only: rows whose names have the text.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

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
WEIGHTS = 14_716_165
"""Of the model, in all."""
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


def run(command: str) -> Run:
    """Runs a shell command to its end and asks the system what it took. Raises: RuntimeError where it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(
        ["sh", "-c", f"exec {command}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=INSTALLED
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command}: exit {process.returncode}")
    return Run(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def contests(model: Path, folder: Path) -> list[Contest]:
    """Encoders first, so that the decoders find their input."""
    wcodec = shlex.quote(shutil.which("wcodec", path=str(Path(sys.executable).parent)) or "wcodec")
    source, zstd = shlex.quote(str(model)), f"{shlex.quote(sys.executable)} -c {shlex.quote(ZSTD)}"
    rows = []
    for number, (name, options, threads) in enumerate(WCODEC):
        packed, back = folder / f"{number}.wcz", folder / "back.h5"
        rows.append(Contest(f"{name}, in", f"{wcodec} encode -q -f {threads} {options} {source} -o {packed}", packed))
        rows.append(Contest(f"{name}, out", f"{wcodec} decode -q -f {threads} {packed} -o {back}", back))
    rows.append(Contest("gzip -9", f"gzip -9 -c {source} > {folder}/m.gz", folder / "m.gz"))
    rows.append(Contest("gunzip", f"gunzip -c {folder}/m.gz > {folder}/m.out", folder / "m.out"))
    rows.append(Contest("zstd -19", f"{zstd} in {source} {folder}/m.zst", folder / "m.zst"))
    rows.append(Contest("unzstd", f"{zstd} out {folder}/m.zst {folder}/m.out", folder / "m.out"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    model = fetch("hed")
    lines = [
        f"Medians of {args.rounds} whole commands, run in turn; {model.name}: {model.stat().st_size:,} file bytes",
        "",
        "| command | file bytes written | wall s | CPU s | M weights/s | peak MB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as name:
        rows = [row for row in contests(model, Path(name)) if args.only in row.name]
        for row in rows[:2]:
            run(row.command)
        runs: dict[str, list[Run]] = {row.name: [] for row in rows}
        for _ in range(args.rounds):
            for row in rows:
                runs[row.name].append(run(row.command))
        for row in rows:
            wall = statistics.median(each.wall for each in runs[row.name])
            cpu = statistics.median(each.cpu for each in runs[row.name])
            memory = statistics.median(each.memory for each in runs[row.name])
            size, rate = row.output.stat().st_size, WEIGHTS / cpu / 1e6
            lines.append(f"| {row.name} | {size:,} | {wall:.2f} | {cpu:.2f} | {rate:.1f} | {memory:.0f} |")
    publish(lines, args.out)


if __name__ == "__main__":
    main()
