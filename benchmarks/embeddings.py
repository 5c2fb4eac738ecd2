"""MiniLM's embeddings after compression: wcodec beside GGUF's types and plain rounding, bytes against cosine.

    python benchmarks/embeddings.py [--sentences 240] [--out page.md]

Every coder gets the same 2-dimensional tensors. The others leave vectors as they are and do not count them; wcodec
codes them, and its whole file is counted. GGUF's types go through `libgguf` (the kernels of llama.cpp); where a type
needs rows of 256 and a tensor has 384, two rows are taken as one of 768, which llama.cpp would refuse: it would take a
larger type.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import minilm_numpy as minilm
import numpy as np
from packages import CACHE, fetch
from page import publish

import wcodec
from wcodec.modelfiles import open_model

GGUF = ("Q8_0", "Q6_K", "Q5_K", "Q5_0", "Q4_K", "Q4_0", "IQ4_XS", "IQ4_NL", "Q3_K", "IQ3_S", "Q2_K", "IQ2_S")
WCODEC = (
    "--preset safe",
    "--preset balanced",
    "--preset balanced --best",
    "--preset small",
    *(f"--target-size {size}" for size in ("14MB", "12MB", "10MB", "8.5MB", "7.6MB")),
)
Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Row:
    """One coder's result.

    nbytes:    bytes of the tensors of two dimensions; all of them for wcodec, whose whole file is counted too.
    cosine:    mean cosine between an embedding and the original's; worst: the smallest.
    neighbour: part of the sentences whose nearest other sentence stays the same.
    """

    name: str
    nbytes: int
    bits: float
    cosine: float
    worst: float
    neighbour: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=240)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    original = minilm.weights()
    texts = minilm.sentences(args.sentences)
    moments = minilm.second_moments(minilm.sentences(args.sentences, args.sentences))
    truth = minilm.embed(original, texts)
    rows = []
    for name, make in (*_wcodec(moments), *_gguf(original, moments), *_rounding(original)):
        begin = time.process_time()
        nbytes, tensors = make()
        seconds = time.process_time() - begin
        rows.append(_measure(name, nbytes, tensors, texts, truth, original, seconds))
        print(rows[-1], file=sys.stderr)
    publish(_page(rows, args.sentences), args.out)


def _measure(
    name: str, nbytes: int, tensors: Tensors, texts: list[str], truth: np.ndarray, original: Tensors, seconds: float
) -> Row:
    found = minilm.embed(original | tensors, texts)
    cosines = (found * truth).sum(1)
    same = float(np.mean(_nearest(found) == _nearest(truth)))
    count = sum(array.size for array in original.values() if array.ndim == 2)
    return Row(name, nbytes, 8 * nbytes / count, float(cosines.mean()), float(cosines.min()), same, seconds)


def _nearest(vectors: np.ndarray) -> np.ndarray:
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -1)
    return similar.argmax(1)


Make = Callable[[], tuple[int, Tensors]]


def _wcodec(moments: Tensors) -> Iterator[tuple[str, Make]]:
    """Whole files of wcodec, vectors and names included."""
    folder = Path(tempfile.mkdtemp(prefix="wcodec-embeddings-"))
    np.savez(folder / "moments.npz", **moments)

    def make(arguments: list[str]) -> tuple[int, Tensors]:
        command = [sys.executable, "-m", "wcodec", "encode", fetch("minilm"), "-qf", "-o", folder / "m.wcz", *arguments]
        subprocess.run(list(map(str, command)), check=True)
        wcodec.decode(folder / "m.wcz", folder / "m.safetensors")
        with open_model(folder / "m.safetensors") as model:
            return (folder / "m.wcz").stat().st_size, {tensor.name: tensor.read() for tensor in model.tensors}

    for name in WCODEC:
        yield f"wcodec {name}", lambda name=name: make(name.split())
        if "size" in name:
            more = ["--moments", str(folder / "moments.npz")]
            yield f"wcodec {name} --moments", lambda name=name, more=more: make([*name.split(), *more])


def _gguf(original: Tensors, moments: Tensors) -> Iterator[tuple[str, Make]]:
    """Types of GGUF with and without an importance matrix, the mean square of each input."""
    libgguf = _install("libgguf")

    def make(kind: str, important: bool) -> tuple[int, Tensors]:
        qtype, total, tensors = libgguf.GGMLQuantizationType[kind], 0, {}
        for name, array in _matrices(original):
            width = array.shape[1]
            narrow = width % 256 and kind not in {"Q8_0", "Q5_0", "Q4_0", "IQ4_NL"}
            rows = array.reshape(-1, 2 * width) if narrow else array
            weight = None
            if important and name in moments:
                weight = np.tile(moments[name].diagonal(), rows.shape[1] // width)
            coded = libgguf.quantize_rows(rows, qtype, weight)
            total += coded.nbytes
            tensors[name] = libgguf.dequantize_rows(coded, qtype, n_per_row=rows.shape[1]).reshape(array.shape)
        return total, tensors

    for kind in GGUF:
        yield f"GGUF {kind}", lambda kind=kind: make(kind, False)
        if kind != "Q8_0":
            yield f"GGUF {kind}, importance matrix", lambda kind=kind: make(kind, True)


def _rounding(original: Tensors) -> Iterator[tuple[str, Make]]:
    """Symmetric integers: a float32 scale for each output, or a float16 scale for each 32 weights of a row."""

    def make(bits: int, group: int) -> tuple[int, Tensors]:
        total, tensors = 0, {}
        top = 2 ** (bits - 1) - 1
        for name, array in _matrices(original):
            blocks = array.reshape(-1, group or array.shape[1])
            scales = np.maximum(np.abs(blocks).max(1, keepdims=True) / top, np.finfo(np.float32).tiny)
            scales = scales.astype(np.float16).astype(np.float32) if group else scales
            levels = np.clip(np.rint(blocks / np.maximum(scales, 1e-12)), -top, top)
            tensors[name] = (levels * scales).reshape(array.shape)
            total += array.size * bits // 8 + scales.size * (2 if group else 4)
        return total, tensors

    yield "int8, a scale for each output", lambda: make(8, 0)
    yield "int8, groups of 32", lambda: make(8, 32)
    yield "int4, groups of 32", lambda: make(4, 32)


def _matrices(original: Tensors) -> Iterator[tuple[str, np.ndarray]]:
    return ((name, array) for name, array in original.items() if array.ndim == 2 and array.shape[0] > 2)


def _install(package: str):
    folder = CACHE / "peers"
    if not (folder / package).exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), package]
        subprocess.run(command, check=True)
    sys.path.append(str(folder))
    return importlib.import_module(package)


def _page(rows: list[Row], sentences: int) -> Iterator[str]:
    yield f"`python benchmarks/embeddings.py`, MiniLM-L6 (22.7 M weights, 90,868,376 bytes), {sentences} sentences of"
    yield "Python's help; moments and importance matrices are measured on other sentences. Sorted by the mean cosine to"
    yield "the original's embedding."
    yield ""
    yield "| coder | bytes | bits a weight | 1 - cosine, mean | 1 - cosine, worst | same neighbour | CPU s |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for row in sorted(rows, key=lambda one: -one.cosine):
        yield (
            f"| {row.name} | {row.nbytes:,} | {row.bits:.2f} | {1 - row.cosine:.5f} | {1 - row.worst:.4f} "
            f"| {row.neighbour:.1%} | {row.seconds:.1f} |"
        )


if __name__ == "__main__":
    main()
