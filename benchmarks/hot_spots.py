"""Where the time goes: python benchmarks/hot_spots.py [--out benchmarks/results/profile.md]

cProfile of encoding and decoding HED in one thread, in one process; seconds of CPU time. Kernels are seen as the Python
functions that call them, which do little else; the profiler itself takes about a tenth of what is shown.
"""

from __future__ import annotations

import argparse
import cProfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from packages import fetch
from page import publish

from wcodec.codec.plan import Effort
from wcodec.pipeline.decoder import decode
from wcodec.pipeline.encoder import encode
from wcodec.planning.recipe import Recipe

SHOWN = 12


def profile(job: Callable[[], object]) -> list[str]:
    """Rows of a table: the functions that take the most time themselves."""
    profiler = cProfile.Profile(time.process_time)
    profiler.runcall(job)
    own: dict[str, tuple[int, float]] = {}
    for entry in profiler.getstats():
        code = entry.code
        name = code if isinstance(code, str) else f"{Path(code.co_filename).stem}.{code.co_name}"
        calls, seconds = own.get(name, (0, 0.0))
        own[name] = calls + entry.callcount, seconds + entry.inlinetime
    every = sum(seconds for _, seconds in own.values())
    first = sorted(own.items(), key=lambda item: -item[1][1])[:SHOWN]
    rest = every - sum(seconds for _, (_, seconds) in first)
    rows = [
        f"| `{name}` | {calls:,} | {seconds:.2f} | {100 * seconds / every:.0f} % |" for name, (calls, seconds) in first
    ]
    return [*rows, f"| all others | | {rest:.2f} | {100 * rest / every:.0f} % |", f"| together | | {every:.2f} | |"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    model = fetch("hed")
    lines = [f"{model.name}, one thread, CPU time."]
    efforts: tuple[tuple[str, Effort], ...] = (("default", "normal"), ("--fast", "fast"))
    with tempfile.TemporaryDirectory() as folder:
        for name, effort in efforts:
            packed, back = Path(folder) / f"{effort}.wcz", Path(folder) / f"{effort}.h5"
            recipe = Recipe(effort=effort)
            jobs: tuple[tuple[str, Callable[[], object]], ...] = (
                ("encoding", lambda packed=packed, recipe=recipe: encode(model, packed, recipe, threads=1)),
                ("decoding", lambda packed=packed, back=back: decode(packed, back, threads=1)),
            )
            for what, job in jobs:
                lines += [
                    "",
                    f"## {what.capitalize()}, {name}",
                    "",
                    "| function | calls | s | part |",
                    "|---|--:|--:|--:|",
                ]
                lines += profile(job)
    publish(lines, args.out)


if __name__ == "__main__":
    main()
