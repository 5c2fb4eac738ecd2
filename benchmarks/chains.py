"""Lossless chains: eight bfloat16 checkpoints of a fine-tuning, each coded against the one before.

    python benchmarks/chains.py --model samples/lenet5.keras --data samples/mnist.npz --out benchmarks/results/chains.md

Beside it: zstd -19 of each file, of the XOR with the file before, and of that XOR as two planes of bytes; zipnn of each
file and of that XOR; and bsdiff, a delta of bytes like xdelta's with a better coder. Both are packages.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import ml_dtypes
import numpy as np
import zstandard
from packages import install
from page import publish

import wcodec

COUNT = 8


def checkpoints(model_path: str, data: str, rate: float) -> list[dict[str, np.ndarray]]:
    """The weights after each of COUNT parts of an epoch, bfloat16."""
    keras.utils.set_random_seed(1)
    model = keras.models.load_model(model_path, compile=False)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    with np.load(data) as file:
        x, y = file["x_train"][:16_000, ..., None].astype(np.float32) / 255, file["y_train"][:16_000]
    made = []
    for part in range(COUNT):
        at = slice(2000 * part, 2000 * part + 2000)
        model.fit(x[at].reshape(-1, *model.input_shape[1:]), y[at], batch_size=100, verbose=0)
        made.append({weight.path: np.array(weight).astype(ml_dtypes.bfloat16) for weight in model.weights})
    return made


def count_packed(raw: bytes) -> int:
    return len(zstandard.ZstdCompressor(level=19).compress(raw))


ZIPNN = """
import sys; sys.path.append(sys.argv[1]); import zipnn
for size in map(int, sys.argv[2:]):
    raw = bytearray(sys.stdin.buffer.read(size))
    print(len(zipnn.ZipNN(input_format="byte", bytearray_dtype="bfloat16").compress(raw)))
"""


def count_zipped(raws: list[bytes]) -> int:
    """Bytes of zipnn, for bfloat16, in a process of its own: it ends with a fault where TensorFlow is loaded."""
    folder = Path(install("zipnn").__file__).parents[1]
    command = [sys.executable, "-c", ZIPNN, str(folder), *(str(len(raw)) for raw in raws)]
    return sum(map(int, subprocess.check_output(command, input=b"".join(raws)).split()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="samples/lenet5.keras")
    parser.add_argument("--data", default="samples/mnist.npz")
    parser.add_argument("--rates", type=float, nargs="*", default=[1e-3, 1e-4, 1e-5])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    heads = "learning rate|raw|zstd -19|zipnn|zstd -19 of XOR|of XOR in planes|zipnn of XOR|bsdiff|wcodec alone|"
    heads += "wcodec chain|chain / zstd of XOR"
    lines = [f"|{heads}|", "|--:" * 11 + "|"]
    for rate in args.rates:
        made, start = checkpoints(args.model, args.data, rate), time.process_time()
        raws = [b"".join(np.ascontiguousarray(one).tobytes() for one in weights.values()) for weights in made]
        words = [np.frombuffer(raw, np.uint16) for raw in raws]
        xors = [words[0], *(after ^ before for before, after in pairwise(words))]
        planes = [np.ascontiguousarray(one.view(np.uint8).reshape(-1, 2).T).tobytes() for one in xors]
        alone = sum(len(wcodec.encode(weights, lossless=True)) for weights in made)
        with TemporaryDirectory() as folder:
            files: list[Path] = []
            for number, weights in enumerate(made):
                files.append(Path(folder) / f"{number}.wcz")
                wcodec.encode(weights, files[-1], lossless=True, base=files[-2] if number else None)
            chain = sum(file.stat().st_size for file in files)
            found = wcodec.load(files[-1])
            assert all(np.array_equal(found[name], values) for name, values in made[-1].items())
        xor = sum(count_packed(one.tobytes()) for one in xors)
        delta = count_packed(raws[0]) + sum(len(install("bsdiff4").diff(*pair)) for pair in pairwise(raws))
        row = (
            sum(map(len, raws)),
            sum(map(count_packed, raws)),
            count_zipped(raws),
            xor,
            sum(map(count_packed, planes)),
        )
        row += (count_zipped([one.tobytes() for one in xors]), delta, alone, chain)
        lines.append(f"| {rate:g} | " + " | ".join(f"{one:,}" for one in row) + f" | {chain / xor:.3f} |")
        print(lines[-1], f"{time.process_time() - start:.0f} s", file=sys.stderr)
    publish([f"Bytes of {COUNT} bfloat16 checkpoints of {args.model}.", "", *lines], args.out)


if __name__ == "__main__":
    main()
