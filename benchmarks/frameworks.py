"""What inputs buy for networks of ONNX and PyTorch.

python benchmarks/frameworks.py --data fashion_mnist.npz --networks DIR [NAME ...]

DIR holds what `benchmarks/torch_networks.py` wrote: NAME.safetensors and NAME.onnx. For each: the bytes of the default,
data-free file and of the file that is calibrated on 10,000 training inputs without labels for half a point, and what
that one loses on the test images. The rows go to the terminal as they come, and to `--out`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
NAMES = "mlp.onnx cnn_bn.onnx lstm.onnx vit.onnx cnn_bn.safetensors lstm.safetensors vit.safetensors"
HEADER = """\
| file | bytes | without data | calibrated | part | accuracy lost, without data | calibrated | agreement | seconds |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""


@dataclass(frozen=True)
class Row:
    """One file. lost: points of accuracy on the test images, without data and calibrated; agreement: percent."""

    name: str
    source: int
    plain: int
    calibrated: int
    lost: tuple[float, float]
    agreement: float
    seconds: float

    @property
    def part(self) -> float:
        """Calibrated over data-free bytes."""
        return self.calibrated / self.plain

    def __str__(self) -> str:
        sizes = f"{self.source:,} | {self.plain:,} | {self.calibrated:,} | {self.part:.3f}"
        lost = f"{self.lost[0]:+.2f} | {self.lost[1]:+.2f} | {self.agreement:.2f} %"
        return f"| {self.name} | {sizes} | {lost} | {self.seconds:.0f} |"


def wcodec(*words: object) -> str:
    """The program's standard output. Raises: CalledProcessError."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    program = [sys.executable, "-m", "wcodec", *map(str, words)]
    return subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def measure(file: Path, data: Path, limit: str) -> Row:
    """Encode a network in both ways, and evaluate both."""
    model = [] if file.suffix == ".onnx" else ["--model", f"torch_networks:{file.stem}"]
    with tempfile.TemporaryDirectory() as folder:
        plain, calibrated = Path(folder) / f"plain{file.suffix}.wcz", Path(folder) / f"calibrated{file.suffix}.wcz"
        wcodec("encode", file, "-o", plain, "-q")
        with np.load(data) as arrays:
            np.savez(Path(folder) / "x.npz", x=arrays["x_train"][:10_000])
        start = time.perf_counter()
        words = ["--data", Path(folder) / "x.npz", *model, "--max-drop", "0.5", "--time-limit", limit]
        wcodec("encode", file, "-o", calibrated, *words)
        seconds = time.perf_counter() - start
        found = [
            json.loads(wcodec("evaluate", one, "--data", f"{data}:test", *model, "--baseline", file, "--json", "-q"))
            for one in (plain, calibrated)
        ]
        return Row(
            file.name,
            file.stat().st_size,
            plain.stat().st_size,
            calibrated.stat().st_size,
            (found[0]["accuracy_drop"], found[1]["accuracy_drop"]),
            found[1]["agreement"],
            seconds,
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
    print(HEADER, flush=True)
    parts = []
    for name in args.names:
        row = measure(args.networks / name, args.data, args.time_limit)
        parts.append(row.part)
        lines.append(str(row))
        print(row, flush=True)
    mean = math.exp(sum(map(math.log, parts)) / len(parts))
    lines.append(f"\nGeometric mean of the parts {mean:.3f}, the largest {max(parts):.3f}.")
    print(lines[-1])
    if args.out:
        args.out.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
