"""MiniLM's embeddings after compression, bytes against cosine: wcodec beside GGUF, onnxruntime, torchao and rounding.

    python benchmarks/embeddings.py [--sentences 240] [--rows rows.jsonl] [--out page.md]

With --rows, what was measured is kept there, and a second run goes on from it.

Every coder gets the same 2-dimensional tensors. The others leave vectors as they are and do not count them; wcodec
codes them, and its whole file is counted. GGUF's types that need rows of 256 are tried on rows of 384, see
`weight_peers.gguf`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import minilm_numpy as minilm
import numpy as np
import runtime_peers
import weight_peers
from packages import fetch
from page import publish
from weight_peers import Make, Tensors

import wcodec
from wcodec.modelfiles import open_model

WCODEC = (
    "--max-error 1e-5",
    "--max-error 3e-5",
    "--preset safe",
    "--preset balanced",
    "--preset balanced --best",
    "--preset small",
    *(f"--target-size {size}" for size in ("14MB", "12MB", "10MB", "8.5MB", "7.6MB")),
)


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
    parser.add_argument("--rows", type=Path, help="where rows are kept, and what a run goes on from")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    original = minilm.weights()
    texts = minilm.sentences(args.sentences)
    moments = minilm.second_moments(minilm.sentences(args.sentences, args.sentences))
    truth = minilm.embed(original, texts)
    matrices = {name: array for name, array in original.items() if array.ndim == 2 and array.shape[0] > 2}
    importance = {name: moment.diagonal() for name, moment in moments.items() if moment.ndim == 2}
    rows = _read_kept(args.rows)
    for name, make in (
        *_wcodec(moments),
        *weight_peers.gguf(matrices, importance),
        *weight_peers.rounding(matrices),
        *runtime_peers.runtimes(matrices),
    ):
        if name not in {row.name for row in rows}:
            begin = sum(os.times()[:4])
            nbytes, tensors = make()
            seconds = sum(os.times()[:4]) - begin
            rows.append(_measure(name, nbytes, tensors, texts, truth, original, seconds))
            print(rows[-1], file=sys.stderr, flush=True)
            if args.rows:
                args.rows.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows), "utf-8")
    publish(_page(rows, args.sentences), args.out)


def _read_kept(path: Path | None) -> list[Row]:
    """The rows of an earlier run."""
    if path is None or not path.exists():
        return []
    return [Row(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]


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


def _page(rows: list[Row], sentences: int) -> Iterator[str]:
    yield f"MiniLM-L6 (22.7 M weights, 90,868,376 bytes), {sentences} sentences of"
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
