"""Lossless coding of pretrained weights: wcodec against zipnn, lmzip, zstd -19 and xz -9e, in one run.

    python benchmarks/lossless.py [--models hed,minilm,efficientnet_lite0] [--without xz,zstd] [--out lossless.md]

Each set is a model's float32 tensors, or the same rounded to bfloat16 or float16. Sizes are percent of the tensors' raw
bytes; speeds are raw megabytes a CPU second (user and system), the best of several runs. `zipnn`, `lmzip` are installed
by name from PyPI into a folder of their own. wcodec's rows are the coder in memory, as the peers'; the second table is
the whole command, start-up, hashing, reading and writing included.
"""

from __future__ import annotations

import argparse
import lzma
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from packages import fetch
from page import publish
from peers import Result, Set, install_peers, least, lmzip, xz, zipnn, zstd

import wcodec
from wcodec.codec import lossless
from wcodec.modelfiles import open_model

LENET = Path(__file__).resolve().parent.parent / "samples" / "lenet300.h5"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="hed,minilm,efficientnet_lite0")
    parser.add_argument("--without", default="", help="peers to leave out: zipnn, lmzip, zstd, xz")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--commands", action="store_true", help="the whole commands alone")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    install_peers()
    files = {name: fetch(name) for name in arguments.models.split(",") if name}
    lines = [
        "Percent of the raw bytes (MB a CPU second in, out).",
        "",
        "| set | raw bytes | " + " | ".join(columns(arguments)) + " |",
        "|---" * (2 + len(columns(arguments))) + "|",
    ]
    if arguments.commands:
        publish(commands(files, arguments.runs), arguments.out)
        return 0
    for name, file in files.items():
        for chosen in sets_of(name, file):
            row = []
            for column, measure in columns(arguments).items():
                result = measure(chosen, arguments.runs)
                raw = chosen.nbytes / 1e6
                row.append(f"{1e-4 * result.nbytes / raw:.2f} ({raw / result.encode:.0f}, {raw / result.decode:.0f})")
                print(chosen.name, chosen.dtype, column, row[-1], file=sys.stderr, flush=True)
            lines.append(f"| {chosen.name} {chosen.dtype} | {chosen.nbytes:,} | " + " | ".join(row) + " |")
    lines += ["", *commands(files, arguments.runs), "", *write_pruned(files)]
    publish(lines, arguments.out)
    return 0


def columns(arguments: argparse.Namespace) -> dict[str, Callable[[Set, int], Result]]:
    """What is measured, by the head of its column."""
    every: dict[str, Callable[[Set, int], Result]] = {
        "wcodec": lambda chosen, runs: own(chosen, runs, fast=False),
        "wcodec --fast": lambda chosen, runs: own(chosen, runs, fast=True),
        "zipnn": zipnn, "lmzip": lmzip, "zstd -19": zstd, "xz -9e": xz,
    }  # fmt: skip
    return {name: measure for name, measure in every.items() if name.split()[0] not in arguments.without.split(",")}


def sets_of(name: str, file: Path) -> Iterator[Set]:
    """The float32 tensors of a model file, and their casts."""
    with open_model(file) as model:
        arrays = {t.name: np.ascontiguousarray(t.read()) for t in model.tensors if t.dtype == "float32"}
    yield Set(name, "float32", arrays)
    yield Set(name, "bfloat16", {key: bfloat16(array) for key, array in arrays.items()})
    yield Set(name, "float16", {key: array.astype(np.float16) for key, array in arrays.items()})


def bfloat16(array: np.ndarray) -> np.ndarray:
    """Rounded to nearest even, as words."""
    bits = array.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def own(chosen: Set, runs: int, fast: bool) -> Result:
    """wcodec's coder, piece by piece."""
    most = lossless.FAST if fast else lossless.MOST
    size, seconds = 0, [0.0, 0.0]
    for array in chosen.arrays.values():
        flat = array.reshape(-1)
        for start, stop, shape in lossless.split_pieces(array.shape, most):
            piece = flat[start:stop]
            payload = lossless.encode(piece, piece.itemsize, shape, chosen.dtype, fast)
            back = np.empty(piece.nbytes, np.uint8)
            lossless.decode_into(payload, back, piece.itemsize)
            assert back.tobytes() == piece.tobytes()
            size += len(payload)
            encode = partial(lossless.encode, piece, piece.itemsize, shape, chosen.dtype, fast)
            seconds[0] += least(encode, runs)
            seconds[1] += least(partial(lossless.decode_into, payload, back, piece.itemsize), runs)
    return Result(size, *seconds)


def commands(files: dict[str, Path], runs: int) -> list[str]:
    """The whole command on the model files, and what two threads gain."""
    lines = [
        "| command | file bytes | % | CPU s in | CPU s out | in a process that runs, MB a CPU second in, out "
        "| coder in memory, two threads |",
        "|---" * 7 + "|",
    ]
    for name, file in files.items():
        for words in ([], ["--fast"]):
            with tempfile.TemporaryDirectory() as folder:
                packed, back = Path(folder) / "m.wcz", Path(folder) / file.name
                encode = ["encode", str(file), "--lossless", *words, "-T", "1", "-f", "-q", "-o", str(packed)]
                decode = ["decode", str(packed), "-T", "1", "-f", "-q", "-o", str(back)]
                spent = [min(cpu_of(command) for _ in range(runs)) for command in (encode, decode)]
                assert back.read_bytes() == file.read_bytes()
                share = 100 * packed.stat().st_size / file.stat().st_size
                lines.append(
                    f"| {name} --lossless {' '.join(words)} | {packed.stat().st_size:,} | {share:.2f} | "
                    f"{spent[0]:.2f} | {spent[1]:.2f} | {in_process(file, packed, back, bool(words), runs)} | "
                    f"{two_threads(name, file, bool(words))} |"
                )
                print(lines[-1], file=sys.stderr, flush=True)
    return lines


def in_process(file: Path, packed: Path, back: Path, fast: bool, runs: int) -> str:
    """From file to file without start-up."""
    size = file.stat().st_size / 1e6
    effort = "fast" if fast else "normal"
    encode = least(lambda: wcodec.encode(file, packed, lossless=True, effort=effort, threads=1), runs + 1)
    return f"{size / encode:.0f}, {size / least(lambda: wcodec.decode(packed, back, threads=1), runs + 1):.0f}"


def cpu_of(words: list[str]) -> float:
    """CPU seconds of a command of wcodec's."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "wcodec", *words], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def two_threads(name: str, file: Path, fast: bool) -> str:
    """How many times as fast two threads are, in and out, by the clock."""
    chosen = next(sets_of(name, file))
    pieces = [
        (array.reshape(-1)[start:stop], shape)
        for array in chosen.arrays.values()
        for start, stop, shape in lossless.split_pieces(array.shape, lossless.FAST if fast else lossless.MOST)
    ]
    pieces.sort(key=lambda piece: -len(piece[0]))

    def encode(piece: tuple[np.ndarray, tuple[int, ...]]) -> bytes:
        return lossless.encode(piece[0], 4, piece[1], "float32", fast)

    def decode(number: int) -> None:
        lossless.decode_into(packed[number], np.empty(pieces[number][0].nbytes, np.uint8), 4)

    def seconds(threads: int, run: Callable[[ThreadPoolExecutor], object]) -> float:
        best = float("inf")
        with ThreadPoolExecutor(threads) as pool:
            for _ in range(3):
                begin = time.perf_counter()
                run(pool)
                best = min(best, time.perf_counter() - begin)
        return best

    packed = [encode(piece) for piece in pieces]
    gains = []
    for run in (lambda pool: list(pool.map(encode, pieces)), lambda pool: list(pool.map(decode, range(len(pieces))))):
        gains.append(seconds(1, run) / seconds(2, run))
    return f"{gains[0]:.2f}x in, {gains[1]:.2f}x out"


def write_pruned(files: dict[str, Path]) -> list[str]:
    """A network of which 90 % are zeros, by magnitude in each tensor, as .h5: wcodec against xz -9e."""
    lines = ["| 90 % zeros, .h5 | file | wcodec --lossless | xz -9e |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for name, file in ({"lenet300": LENET} | files).items():
            chosen = next(sets_of(name, file))
            source, packed = Path(folder) / f"{name}.h5", Path(folder) / f"{name}.wcz"
            with h5py.File(source, "w") as target:
                for key, array in chosen.arrays.items():
                    limit = np.quantile(np.abs(array), 0.9) if array.ndim > 1 else 0.0
                    target.create_dataset(key, data=np.where(np.abs(array) >= limit, array, np.float32(0)))
            cpu_of(["encode", str(source), "--lossless", "-q", "-o", str(packed)])
            best = len(lzma.compress(source.read_bytes(), preset=9 | lzma.PRESET_EXTREME))
            lines.append(f"| {name} | {source.stat().st_size:,} | {packed.stat().st_size:,} | {best:,} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
