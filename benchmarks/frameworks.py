"""What inputs buy for networks of ONNX and PyTorch.

python benchmarks/frameworks.py --data fashion_mnist.npz --networks DIR [NAME ...]

DIR holds what `benchmarks/torch_networks.py` wrote: NAME.safetensors and NAME.onnx. For each: the bytes of the default,
data-free file and of the file that is calibrated on 10,000 training inputs without labels for half a point, and what
that one loses on the test images. magika.onnx, which tells types of files, is taken from its package; it is calibrated
on files of this Python's packages, and judged on others of them, which have no labels.
The rows go to the terminal as they come, and to `--out`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from packages import fetch_member
from page import publish

HERE = Path(__file__).parent
NAMES = "mlp.onnx cnn_bn.onnx lstm.onnx vit.onnx cnn_bn.safetensors lstm.safetensors vit.safetensors magika.onnx"
MAGIKA, PADDING, PART = "magika.onnx", 256, 1024
HEADER = """\
| file | bytes | without data | calibrated | part | points lost, without data | calibrated | \
agreement, without data | calibrated | seconds |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""


@dataclass(frozen=True)
class Row:
    """One file. lost: points of accuracy, without data and calibrated, where there are labels; agreement: percent, of
    both."""

    name: str
    source: int
    plain: int
    calibrated: int
    lost: tuple[float | None, float | None]
    agreement: tuple[float, float]
    seconds: float

    @property
    def part(self) -> float:
        """Calibrated over data-free bytes."""
        return self.calibrated / self.plain

    def __str__(self) -> str:
        sizes = f"{self.source:,} | {self.plain:,} | {self.calibrated:,} | {self.part:.3f}"
        lost = " | ".join("" if one is None else f"{one:+.2f}" for one in self.lost)
        agreement = " | ".join(f"{one:.2f} %" for one in self.agreement)
        return f"| {self.name} | {sizes} | {lost} | {agreement} | {self.seconds:.0f} |"


def wcodec(*words: object) -> str:
    """The program's standard output. Raises: CalledProcessError."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    program = [sys.executable, "-m", "wcodec", *map(str, words)]
    return subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def measure(file: Path, given: Path, test: str, limit: str) -> Row:
    """Encode a network in both ways, calibrated on the inputs `given`, and evaluate both on `test`."""
    model = [] if file.suffix == ".onnx" else ["--model", f"torch_networks:{file.stem}"]
    with tempfile.TemporaryDirectory() as folder:
        plain, calibrated = Path(folder) / f"plain{file.suffix}.wcz", Path(folder) / f"calibrated{file.suffix}.wcz"
        wcodec("encode", file, "-o", plain, "-q")
        start = time.perf_counter()
        words = ["--data", given, *model, "--max-drop", "0.5", "--time-limit", limit]
        wcodec("encode", file, "-o", calibrated, *words)
        seconds = time.perf_counter() - start
        found = [
            json.loads(wcodec("evaluate", one, "--data", test, *model, "--baseline", file, "--json", "-q"))
            for one in (plain, calibrated)
        ]
        return Row(
            file.name,
            file.stat().st_size,
            plain.stat().st_size,
            calibrated.stat().st_size,
            (found[0].get("accuracy_drop"), found[1].get("accuracy_drop")),
            (found[0]["agreement"], found[1]["agreement"]),
            seconds,
        )


def images(data: Path, folder: Path) -> tuple[Path, str]:
    """Training inputs without labels, and the test images with them."""
    with np.load(data) as arrays:
        np.savez(folder / "x.npz", x=arrays["x_train"][:10_000])
    return folder / "x.npz", f"{data}:test"


def beginnings_and_ends(folder: Path, count: int = 2000) -> tuple[Path, str]:
    """Inputs of magika: the first and the last bytes of files, 40 of a suffix at most; half of them to be judged on."""
    seen: Counter[str] = Counter()
    rows = []
    files = sorted(path for path in Path(np.__file__).parents[1].rglob("*") if path.is_file())
    for at in np.random.default_rng(0).permutation(len(files)).tolist():
        if len(rows) == count:
            break
        content = files[at].read_bytes()
        if 8 < len(content) < 1 << 22 and seen[files[at].suffix] < 40:
            seen[files[at].suffix] += 1
            first, last = (np.frombuffer(part, np.uint8) for part in _ends(content))
            row = np.full(2 * PART, PADDING, np.int32)
            row[: len(first)], row[len(row) - len(last) :] = first, last
            rows.append(row)
    np.savez(folder / "known.npz", x=np.stack(rows[::2]))
    np.savez(folder / "other.npz", x=np.stack(rows[1::2]))
    return folder / "known.npz", str(folder / "other.npz")


def _ends(content: bytes) -> tuple[bytes, bytes]:
    """As magika takes them: of 4,096 bytes at each end, without white space."""
    return content[:4096].lstrip()[:PART], content[-4096:].rstrip()[-PART:]


def describe_columns() -> str:
    """What was done, and what the columns say."""
    return textwrap.fill(
        "`--data` with 10,000 inputs without labels, `--max-drop 0.5`. Points and agreement are of test images, looked "
        "at when a file is finished; seconds are of the clock. A part is calibrated bytes over bytes without data.",
        120,
    )


def main() -> None:
    """Measure the files, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES.split())
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--networks", type=Path, required=True)
    parser.add_argument("--time-limit", default="3m")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    lines = [HEADER]
    print(HEADER, file=sys.stderr, flush=True)
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.names:
            file = args.networks / name
            if name == MAGIKA:
                member = fetch_member("magika", "magika/models/standard_v3_3/model.onnx")
                file = Path(shutil.copy(member, Path(folder) / name))
            inputs = beginnings_and_ends(Path(folder)) if name == MAGIKA else images(args.data, Path(folder))
            row = measure(file, *inputs, args.time_limit)
            parts.append(row.part)
            lines.append(str(row))
            print(row, file=sys.stderr, flush=True)
    mean = math.exp(sum(map(math.log, parts)) / len(parts))
    lines.append(f"\nGeometric mean of the parts {mean:.3f}, the largest {max(parts):.3f}.")
    publish([describe_columns(), "", *lines], args.out)


if __name__ == "__main__":
    main()
