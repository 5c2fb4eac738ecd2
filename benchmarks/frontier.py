"""python benchmarks/frontier.py [PAGE]: bytes at equal error, and CPU seconds, of trellis states x level coder."""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from packages import fetch
from page import publish

from wcodec.modelfiles.shards import open_source
from wcodec.pipeline.decoder import decode
from wcodec.pipeline.encoder import encode
from wcodec.planning import allocation
from wcodec.planning.recipe import Options, Recipe

MODELS = ("hed", "minilm")
CHOICES = [(states, coder) for states in (0, 8, 128) for coder in ("huffman", "static", "context")]
CHOICES.remove((8, "huffman"))  # plain rounding is all that Huffman codes are planned with
CHOICES.remove((128, "huffman"))


def measure(source: Path, states: int, coder: str, folder: Path) -> tuple[int, float, float, float]:
    """Bytes, relative squared error, CPU seconds of encoding and of decoding, in one thread."""
    allocation._STATES = states
    allocation._LAMBDA.setdefault(states, allocation._LAMBDA[128])
    packed, back = folder / "m.wcz", folder / source.name
    begin = time.process_time()
    made = encode(source, packed, Recipe(options=Options(coder=coder)), threads=1)
    middle = time.process_time()
    decode(packed, back, threads=1)
    return made.file_bytes, made.error, middle - begin, time.process_time() - middle


def rows(name: str) -> Iterator[str]:
    """The table of a model, bytes brought to the error of the last row by half a bit a weight a factor of two."""
    source = fetch(name)
    with open_source(source, False, None) as model:
        weights = sum(tensor.count for tensor in model.tensors if len(tensor.shape) > 1)
    with tempfile.TemporaryDirectory() as folder:
        found = [measure(source, *choice, Path(folder)) for choice in CHOICES]
    last_bytes, last_error = found[-1][:2]
    yield f"## {name}, `balanced`"
    yield "| states | coder | bytes | error | bytes at equal error, to contexts of 128 states | encode s | decode s |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    for (states, coder), (size, error, encoding, decoding) in zip(CHOICES, found, strict=True):
        equal = size + weights / 8 * 0.5 * math.log2(error / last_error)
        cells = f"{size:,} | {error:.6f} | {equal / last_bytes:.3f} | {encoding:.2f} | {decoding:.2f}"
        yield f"| {states or 'plain'} | {coder} | {cells} |"
    yield ""


def main() -> None:
    """Print the page, and write it where one is named."""
    lines = ["# Bytes, encoding and decoding: states of the trellis x level coder", ""]
    lines += [f"CPU seconds of one thread, numpy {np.__version__}.", ""]
    for name in MODELS:
        lines += rows(name)
        publish(lines, Path(sys.argv[1]) if sys.argv[1:] else None)


if __name__ == "__main__":
    main()
