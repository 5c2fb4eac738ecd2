"""How long commands take beyond their --time-limit: python benchmarks/time_limits.py --data fashion_mnist.npz --zoo DIR

Every command that searches or trains runs with a limit on networks of `benchmarks/zoo.py`, from the start of the
process to its end: Python, the framework, the data and the written file are counted too. The limit is of the clock. On
a machine with other work the CPU time of a process with one thread tells more.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from page import publish

WCODEC = str(Path(sys.executable).parent / "wcodec")
COMMANDS = (
    "encode --max-drop 0.5",
    "encode --max-drop 0.5 --finetune 10",
    "encode --finetune 10 --method gradual,quantized --sparsity 0.8 --bits 4",
    "encode --max-drop 0.5 --search 100",
    "encode --bits auto:4",
    "encode --max-drop 5 --quantizer product",
    "slim --width 0.5 --finetune 5",
    "slim --max-drop 1",
    "sweep",
)


def measure(source: Path, words: list[str], folder: Path) -> tuple[float, float, int]:
    """Seconds of the clock, CPU seconds and the exit code of a command."""
    command, *options = words
    output = [] if command == "sweep" else ["-o", folder / f"x{'.wcz' if command == 'encode' else source.suffix}", "-f"]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run([WCODEC, command, source, *output, *options], capture_output=True, text=True, check=False)
    taken, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    return taken, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["resnet_bn", "lstm"], help="of networks in the zoo")
    parser.add_argument("--data", type=Path, required=True, help="an archive such as Keras' fashion_mnist.npz")
    parser.add_argument("--zoo", type=Path, default=Path("zoo"), help="folder of the networks, see zoo.py")
    parser.add_argument("--limit", type=int, default=20, help="seconds")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    publish(page(options), options.out)


def page(options: argparse.Namespace) -> Iterator[str]:
    """A row for every network and command."""
    yield f"# Commands with `--time-limit {options.limit}s`"
    yield ""
    yield "All take the 60,000 training images (`--data`), and one thread; from the start of the process to its end."
    yield ""
    yield "| network | command | seconds of the clock | CPU seconds | exit code |"
    yield "|---|---|--:|--:|--:|"
    over = []
    for name in options.names:
        (source,) = (path for path in options.zoo.glob(f"{name}.*") if path.suffix in (".keras", ".h5"))
        for command in COMMANDS:
            words = [*command.split(), "--data", f"{options.data}:train", "--time-limit", f"{options.limit}s"]
            with tempfile.TemporaryDirectory() as folder:
                taken, used, code = measure(source, words, Path(folder))
            over.append(min(taken, used) - options.limit)
            yield f"| {name} | `{command}` | {taken:.1f} | {used:.1f} | {code} |"
    late = sum(one > 10 for one in over)
    yield ""
    yield (
        f"Of {len(over)} commands, {late} end more than 10 s after their limit, by the smaller of both times; "
        f"the last ends {max(0.0, *over):.1f} s after it."
    )


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
