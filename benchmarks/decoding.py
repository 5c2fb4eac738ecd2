"""Decoding of every tensor inside one process, one thread: python benchmarks/decoding.py [--out FILE]

What is left out, beside whole commands (`speed.py`): start-up, and writing the model file. Best of five, CPU time.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from datetime import date
from pathlib import Path

from packages import fetch
from page import publish

from wcodec.codec.plan import Effort
from wcodec.pipeline.decoder import open_container
from wcodec.pipeline.encoder import encode
from wcodec.planning.recipe import Recipe

ROUNDS = 5
CODERS: tuple[tuple[str, Effort], ...] = (("contexts", "normal"), ("Huffman (--fast)", "fast"))


def seconds(packed: Path) -> tuple[float, int]:
    """CPU seconds for all tensors of a .wcz, and how many weights they are."""
    best = float("inf")
    with open_container(packed) as opened:
        tensors = opened.container.tensors
        for _ in range(ROUNDS):
            start = time.process_time()
            for number in range(len(tensors)):
                opened.values(number)
            best = min(best, time.process_time() - start)
        return best, sum(tensor.count for tensor in tensors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    model = fetch("hed")
    lines = [
        f"`python benchmarks/decoding.py`, {date.today()}, {platform.machine()}; {model.name}, --preset small.",
        "",
        "| coder | file bytes | bits a weight | CPU s | M weights/s |",
        "|---|--:|--:|--:|--:|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, effort in CODERS:
            packed = Path(folder) / "m.wcz"
            size = encode(model, packed, Recipe(preset="small", effort=effort)).file_bytes
            cpu, count = seconds(packed)
            lines.append(f"| {name} | {size:,} | {8 * size / count:.2f} | {cpu:.2f} | {count / cpu / 1e6:.1f} |")
    publish(lines, args.out)


if __name__ == "__main__":
    main()
