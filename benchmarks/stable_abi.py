"""CPU time of every kernel, compiled for one version of Python and for the stable ABI.

    python benchmarks/stable_abi.py VERSIONED STABLE [--rounds 3] [--out page.md]

VERSIONED, STABLE: folders that hold `wcodec`, compiled both ways: a checkout after `setup.py build_ext --inplace`,
and where a wheel was installed by `pip install --target`. The kernels are seen as the rest calls them, in processes
that take turns; the least time of a kernel over the rounds counts. Kernels that take less than a millisecond in all
show what a call costs, not a loop.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from page import publish

JOBS: tuple[dict[str, object], ...] = (
    {}, {"effort": "fast"}, {"effort": "best"}, {"preset": "small"}, {"bits": 4}, {"quantizer": "product"},
    {"bits": 4, "sparsity": 0.8, "coder": "huffman"}, {"bits": 8, "coder": "context"}, {"lossless": True},
    {"lossless": True, "effort": "best"},
)  # fmt: skip
Times = dict[str, int]


def measure(tree: str) -> Times:
    """Nanoseconds in each kernel for all jobs, in this process."""
    sys.path.insert(0, tree)
    sys.meta_path = [one for one in sys.meta_path if "editable" not in repr(one)]
    kernels = importlib.import_module("wcodec.kernels")
    spent: Times = {}

    def timed(name: str, kernel: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object, **named: object) -> object:
            start = time.process_time_ns()
            try:
                return kernel(*given, **named)
            finally:
                spent[name] = spent.get(name, 0) + time.process_time_ns() - start

        return call

    for found in pkgutil.walk_packages(kernels.__path__, "wcodec.kernels."):
        module = importlib.import_module(found.name)
        for name, kernel in list(vars(module).items()):
            if "cython_function" in type(kernel).__name__ or type(kernel).__name__ == "builtin_function_or_method":
                setattr(module, name, timed(f"{found.name.removeprefix('wcodec.kernels.')}.{name}", kernel))
    wcodec = importlib.import_module("wcodec")
    rng = np.random.default_rng(0)
    shapes = {"a": (300, 784), "b": (100, 300)}
    arrays = {name: rng.laplace(size=shape).astype(np.float32) / 30 for name, shape in shapes.items()}
    for job in JOBS:
        wcodec.load(wcodec.encode(arrays, threads=1, **job))
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versioned", type=Path)
    parser.add_argument("stable", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.stable is None:
        print(json.dumps(measure(str(args.versioned.resolve()))))
        return
    best: list[Times] = [{}, {}]
    for _ in range(args.rounds):
        for at, tree in enumerate((args.versioned, args.stable)):
            found = json.loads(subprocess.check_output([sys.executable, __file__, str(tree)]))
            best[at] = {name: min(spent, best[at].get(name, spent)) for name, spent in found.items()}
    rows = ["| kernel | for one version, ms | stable ABI, ms | ratio |", "|---|---:|---:|---:|"]
    for name, spent in sorted(best[0].items(), key=lambda one: -one[1]):
        rows.append(f"| {name} | {spent / 1e6:.2f} | {best[1][name] / 1e6:.2f} | {best[1][name] / spent:.3f} |")
    both = [sum(times.values()) for times in best]
    publish([*rows, f"| together | {both[0] / 1e6:.1f} | {both[1] / 1e6:.1f} | {both[1] / both[0]:.3f} |"], args.out)


if __name__ == "__main__":
    main()
