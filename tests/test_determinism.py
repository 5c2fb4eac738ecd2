"""Same input, same options, same bytes: in any process, with any number of threads."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from attack.small_models import weights, write_npz

from wcodec.decoder import decode
from wcodec.encoder import encode
from wcodec.request import recipe_from

RECIPES: dict[str, dict[str, object]] = {
    "balanced": {},
    "lossless": {"lossless": True},
    "kmeans": {"bits": 5, "coder": "huffman"},
    "product": {"quantizer": "product"},
    "sparse": {"sparsity": 0.9, "bits": 4},
    "by-error": {"max_error": 0.01, "effort": "fast"},
}
ENCODE = """
import sys
from pathlib import Path
from wcodec.encoder import encode
from wcodec.request import recipe_from
source, target, threads, words = sys.argv[1:]
encode(Path(source), Path(target), recipe_from(eval(words)), threads=int(threads))
"""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def in_another_process(source: Path, target: Path, threads: int, words: dict[str, object]) -> None:
    """Encode with another seed for hashes and another number of threads for linear algebra."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONHASHSEED": "7",
        "OPENBLAS_NUM_THREADS": "1",
    }
    program = [sys.executable, "-c", ENCODE, str(source), str(target), str(threads), repr(words)]
    subprocess.run(program, check=True, env=environment, timeout=120, cwd=target.parent)


@pytest.fixture(scope="module")
def many_chunks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3.4 million weights: a matrix of three chunks, a vector of two, and small ones around them."""
    arrays = {
        "first/bias": weights(1, 100),
        "big/kernel": np.tile(weights(2, 1100, 200), (10, 1)),
        "big/vector": np.tile(weights(3, 1200), 1000),
        "conv/kernel": weights(4, 5, 5, 8, 12),
        "last/kernel": weights(5, 30, 40),
    }
    return write_npz(tmp_path_factory.mktemp("many") / "many.npz", arrays)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_sample_gives_the_same_bytes_everywhere(recipe: str, samples: Path, tmp_path: Path) -> None:
    assert_same_bytes(samples / "lenet300.h5", RECIPES[recipe], tmp_path)


@pytest.mark.parametrize("recipe", ["lossless", "kmeans", "fast"])
def test_a_model_of_many_chunks_gives_the_same_bytes_everywhere(recipe: str, many_chunks: Path, tmp_path: Path) -> None:
    assert_same_bytes(many_chunks, RECIPES.get(recipe, {"effort": "fast"}), tmp_path)


def assert_same_bytes(source: Path, words: dict[str, object], folder: Path) -> None:
    for threads in (1, 2):
        encode(source, folder / f"{threads}.wcz", recipe_from(words), threads=threads)
    in_another_process(source, folder / "other.wcz", 3, words)
    assert len({digest(folder / f"{name}.wcz") for name in ("1", "2", "other")}) == 1
    for threads in (1, 2, 5):
        decode(folder / "1.wcz", folder / f"{threads}.out", threads=threads)
    assert len({digest(folder / f"{threads}.out") for threads in (1, 2, 5)}) == 1
