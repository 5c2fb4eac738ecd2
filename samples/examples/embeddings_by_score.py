"""A text encoder coded by a measure of our own: python samples/examples/embeddings_by_score.py [--help]

Sentence encoders have no labels, and wcodec does not know how to run this one. So we give it a function that gets the
decoded tensors and returns the number that matters here: the mean cosine of the embeddings with the original's. It
looks for the largest steps with which that stays above 0.995. No framework is needed; `benchmarks/minilm.py` does the
same with MiniLM.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

import wcodec

Arrays = Mapping[str, npt.NDArray[np.float32]]
WORDS, SIZE = 2000, 64
SENTENCES = np.random.default_rng(1).integers(0, WORDS, (300, 12))


def make_encoder() -> dict[str, npt.NDArray[np.float32]]:
    """Weights like those of a trained encoder: a table of words that is nearly of low rank, and two layers."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(WORDS, 8)) @ rng.normal(size=(8, SIZE)) + rng.normal(size=(WORDS, SIZE))
    layers = {f"layer.{i}.weight": rng.normal(size=(SIZE, SIZE)) / SIZE**0.5 for i in (0, 1)}
    return {name: array.astype(np.float32) for name, array in {"words.weight": table, **layers}.items()}


def embed(tensors: Arrays) -> npt.NDArray[np.float32]:
    """float32[sentences, SIZE], of length 1."""
    x = tensors["words.weight"][SENTENCES].mean(1)
    for i in (0, 1):
        x = x + np.tanh(x @ tensors[f"layer.{i}.weight"].T)
    normed: npt.NDArray[np.float32] = x / np.linalg.norm(x, axis=1, keepdims=True)
    return normed


def main() -> None:
    """Encode within the loss that is asked, and decode again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-drop", type=float, default=0.005, help="of the mean cosine")
    args = parser.parse_args()
    original = make_encoder()
    expected = embed(original)

    def cosine(tensors: Arrays) -> float:
        return float((embed(tensors) * expected).sum(1).mean())

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "encoder.wcz"
        numbers = wcodec.encode(original, target, score=cosine, max_drop=args.max_drop)
        back = wcodec.load(target)
    before = sum(array.nbytes for array in original.values())
    print(f"{before:,} -> {numbers.file_bytes:,} bytes, mean cosine {cosine(back):.4f}")


if __name__ == "__main__":
    main()
