"""What a search gains over calibration: python benchmarks/policy_search.py --data fashion_mnist.npz --zoo DIR [name]

Networks of `benchmarks/zoo.py` are coded within half a point by calibration without labels, and by `--search` from
there; test images, which choose nothing, tell what was lost. Rows are added to benchmarks/results/policy_search.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "policy_search.md"
HEADER = """\
| network | trials | sampler | weight bytes calibrated | searched | gain | test points lost | searched | seconds |
| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"""
NAMES = ("resnet_bn", "inverted_residual")


def wcodec(*words: object) -> str:
    """The program's standard output. Raises: CalledProcessError."""
    program = [sys.executable, "-m", "wcodec", *map(str, words)]
    return subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout


def measure(source: Path, data: Path, folder: Path, words: list[object]) -> tuple[int, float]:
    """Weight bytes of a file, and points of accuracy that it loses on the test images."""
    coded = folder / "coded.wcz"
    wcodec("encode", source, "-o", coded, "-f", "-q", "--data", f"{data}:train", *words)
    size = int(json.loads(wcodec("inspect", coded, "--json"))["weight_bytes"])
    told = json.loads(wcodec("evaluate", coded, "--data", f"{data}:test", "--baseline", source, "--json"))
    return size, float(told["accuracy_drop"])


def main() -> None:
    """Measure the networks, one row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of the zoo (default: {', '.join(NAMES)})")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--zoo", type=Path, default=Path("zoo"), help="folder of the networks, see benchmarks/zoo.py")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--limit", type=int, default=3000)
    options = parser.parse_args()
    if not RESULTS.exists():
        RESULTS.write_text(f"{__doc__}\n{HEADER}\n")
    for name in options.names or NAMES:
        source = next(file for file in options.zoo.glob(f"{name}.*") if file.suffix in (".keras", ".h5"))
        common: list[object] = ["--limit", options.limit, "--max-drop", 0.5]
        with tempfile.TemporaryDirectory() as folder:
            plain, lost = measure(source, options.data, Path(folder), [*common, "--tune", 0])
            start = time.perf_counter()
            words = [*common, "--search", options.trials, "--sampler", options.sampler, "-T", 1]
            size, searched = measure(source, options.data, Path(folder), words)
            seconds = time.perf_counter() - start
        gain = f"{100 * (1 - size / plain):.1f} %"
        drops = f"{lost:+.2f}", f"{searched:+.2f}"
        cells = (name, options.trials, options.sampler, f"{plain:,}", f"{size:,}", gain, *drops)
        row = f"| {' | '.join(map(str, cells))} | {seconds:.0f} |"
        print(row, flush=True)
        with RESULTS.open("a") as file:
            file.write(row + "\n")


if __name__ == "__main__":
    main()
