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
from conftest import HANG, THOROUGH

from wcodec.kernels.static import coder
from wcodec.kernels.trellis import search
from wcodec.pipeline.decoder import decode
from wcodec.pipeline.encoder import encode
from wcodec.planning.parsing import parse_recipe

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
from wcodec.pipeline.encoder import encode
from wcodec.planning.parsing import parse_recipe
source, target, threads, words = sys.argv[1:]
encode(Path(source), Path(target), parse_recipe(eval(words)), threads=int(threads))
"""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def encode_in_another_process(source: Path, target: Path, threads: int, words: dict[str, object]) -> None:
    """Encode with another seed for hashes and another number of threads for linear algebra."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONHASHSEED": "7",
        "OPENBLAS_NUM_THREADS": "1",
    }
    program = [sys.executable, "-c", ENCODE, str(source), str(target), str(threads), repr(words)]
    subprocess.run(program, check=True, env=environment, timeout=HANG, cwd=target.parent)


@pytest.fixture(scope="module")
def many_chunks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2.3 million weights: a matrix and a vector of two chunks, and small tensors before and after them."""
    arrays = {
        "first/bias": weights(1, 100),
        "big/kernel": np.tile(weights(2, 1100, 200), (5, 1)),
        "big/vector": np.tile(weights(3, 1200), 900),
        "conv/kernel": weights(4, 5, 5, 8, 12),
        "last/kernel": weights(5, 30, 40),
    }
    return write_npz(tmp_path_factory.mktemp("many") / "many.npz", arrays)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_sample_gives_the_same_bytes_everywhere(recipe: str, samples: Path, tmp_path: Path) -> None:
    sample = "lenet300.h5" if THOROUGH else "tutorial_cnn.h5"
    assert_same_bytes(samples / sample, RECIPES[recipe], tmp_path)


@pytest.mark.parametrize("recipe", ["lossless", "kmeans", "fast"])
def test_a_model_of_many_chunks_gives_the_same_bytes_everywhere(recipe: str, many_chunks: Path, tmp_path: Path) -> None:
    assert_same_bytes(many_chunks, RECIPES.get(recipe, {"effort": "fast"}), tmp_path)


def assert_same_bytes(source: Path, words: dict[str, object], folder: Path) -> None:
    for threads in (1, 2):
        encode(source, folder / f"{threads}.wcz", parse_recipe(words), threads=threads)
    encode_in_another_process(source, folder / "other.wcz", 3, words)
    assert len({digest(folder / f"{name}.wcz") for name in ("1", "2", "other")}) == 1
    for threads in (1, 2, 5):
        decode(folder / "1.wcz", folder / f"{threads}.out", threads=threads)
    assert len({digest(folder / f"{threads}.out") for threads in (1, 2, 5)}) == 1


def test_the_bytes_do_not_depend_on_uninitialised_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors have rows and columns of zeros: no value that a kernel does not write is read."""
    matrix, kernel, vector = weights(6, 150, 120), weights(7, 3, 3, 40, 60), weights(8, 700)
    matrix[np.abs(matrix) < 0.15], kernel[np.abs(kernel) < 0.2], vector[::3] = 0, 0, 0
    matrix[10:60], matrix[:, 7:30], kernel[..., 8:20, :], kernel[..., 30:] = 0, 0, 0, 0
    source = write_npz(tmp_path / "m.npz", {"a": matrix, "b": kernel, "c": vector, "d": weights(9, 2000, 30)})
    empty = np.empty
    for name, words in RECIPES.items():
        digests = set()
        for garbage in (0x00, 0x3F, 0xFF):

            def allocate_garbage(*args: object, garbage: int = garbage, **words: object) -> np.ndarray:
                array = empty(*args, **words)
                if array.size and not array.dtype.hasobject:
                    array.view(np.dtype((np.void, array.itemsize)))[...] = np.void(bytes([garbage]) * array.itemsize)
                return array

            with monkeypatch.context() as patched:
                patched.setattr(np, "empty", allocate_garbage)
                encode(source, tmp_path / "m.wcz", parse_recipe(words), threads=1)
                (tmp_path / "o.npz").unlink(missing_ok=True)
                decode(tmp_path / "m.wcz", tmp_path / "o.npz")
            digests.add((digest(tmp_path / "m.wcz"), digest(tmp_path / "o.npz")))
        assert len(digests) == 1, name


@pytest.mark.parametrize("name", ["balanced", "by-error"])
def test_a_processor_without_avx2_writes_and_reads_the_same(
    name: str, many_chunks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for masked in (False, True):
        if masked:
            for kernel in (search, coder):
                monkeypatch.setattr(kernel, "AVX2", False)
        packed, back = tmp_path / f"{masked}.wcz", tmp_path / f"{masked}.npz"
        encode(many_chunks, packed, parse_recipe(RECIPES[name]))
        decode(packed, back)
        digests.append((digest(packed), digest(back)))
    assert digests[0] == digests[1]
