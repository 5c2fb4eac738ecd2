"""Decoding of every tensor inside one process, one thread: python benchmarks/decoding.py [MODEL ...] [--out FILE]

What is left out, beside whole commands (`speed.py`): start-up, and writing the model file. Best of three, CPU time. The
last column is the level coder alone, on the chunks of tensors of over 65,536 weights.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from packages import fetch
from page import publish

from wcodec.codec.entropy.level_coders import decode_chunk
from wcodec.codec.tensor_decoder import open_tensor
from wcodec.codec.tensor_header import chunk_shape
from wcodec.container.reader import read_section
from wcodec.pipeline.decoder import open_container
from wcodec.pipeline.encoder import encode
from wcodec.planning.recipe import Options, Recipe

ROUNDS = 3
LARGE = 1 << 16
CODERS = {
    "contexts": Recipe(preset="small", options=Options(coder="context")),
    "static scales": Recipe(preset="small", options=Options(coder="static")),
    "Huffman (`--fast --coder huffman`)": Recipe(preset="small", effort="fast", options=Options(coder="huffman")),
}


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


def levels_a_second(packed: Path) -> float:
    """Of the level coder alone, CPU time."""
    spent, count = 0.0, 0
    with open_container(packed) as opened:
        for number, facts in enumerate(opened.container.tensors):
            record = opened.container.resolve(number)
            reader = open_tensor(opened.file, facts, record, None)
            rule = reader.header.dequantizer
            if facts.count <= LARGE or rule is None:
                continue
            for at, section in enumerate(record.sections):
                chunk = memoryview(read_section(opened.file, section, facts.name)) if at else reader.first
                shape, best = rule.level_shape(chunk_shape(facts, reader.header, at)), float("inf")
                for _ in range(ROUNDS):
                    start = time.process_time()
                    levels, _ = decode_chunk(chunk, shape, rule.states)
                    best = min(best, time.process_time() - start)
                spent, count = spent + best, count + levels.size
    return count / spent


def rows(model: Path) -> list[str]:
    """The table of a model."""
    lines = [
        "",
        f"## {model.name}, `--preset small`",
        "",
        "| coder | file bytes | bits a weight | CPU s | M weights/s | M levels/s, the coder alone |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, recipe in CODERS.items():
            packed = Path(folder) / "m.wcz"
            size = encode(model, packed, recipe, threads=1).file_bytes
            cpu, count = seconds(packed)
            pace = f"{count / cpu / 1e6:.1f} | {levels_a_second(packed) / 1e6:.0f}"
            lines.append(f"| {name} | {size:,} | {8 * size / count:.2f} | {cpu:.2f} | {pace} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=["hed"], metavar="MODEL")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    lines = ["CPU seconds of one thread."]
    for name in args.models:
        lines += rows(fetch(name))
    publish(lines, args.out)


if __name__ == "__main__":
    main()
