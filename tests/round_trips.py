"""Models and checks that the tests of several rooms share."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from attack.random_models import Array
from attack.small_models import weights, write_safetensors

from wcodec.pipeline.decoder import decode, open_container, verify
from wcodec.pipeline.encoder import encode
from wcodec.planning.parsing import parse_recipe
from wcodec.reporting.inspection import inspect

RECIPES: dict[str, dict[str, object]] = {
    "balanced": {},
    "safe": {"preset": "safe"},
    "small": {"preset": "small"},
    "fast": {"effort": "fast"},
    "best": {"effort": "best"},
    "sparse": {"sparsity": 0.8},
    "sparse-huffman": {"sparsity": 0.8, "bits": 4, "coder": "huffman"},
    "threshold": {"threshold": "1.5std"},
    "kmeans": {"bits": 3, "quantizer": "kmeans"},
    "clusters": {"clusters": 100},
    "uniform": {"bits": 6, "quantizer": "uniform"},
    "uniform-huffman": {"quantizer": "uniform", "coder": "huffman"},
    "product": {"quantizer": "product"},
    "kmeans-by-rate": {"quantizer": "kmeans"},
    "step": {"step": 0.05},
    "symmetric": {"quantizer": "symmetric", "bits": 4, "per_channel": True},
    "asymmetric": {"quantizer": "asymmetric", "bits": 5, "sparsity": 0.5},
    "binary": {"quantizer": "binary", "per_channel": True, "coder": "huffman"},
    "float16": {"quantizer": "float16"},
}


def model() -> dict[str, Array]:
    """A small network: a kernel, two matrices, biases, statistics and a tied matrix."""
    matrix = weights(1, 120, 60)
    return {
        "conv/kernel": weights(2, 3, 3, 8, 24), "conv/bias": weights(3, 24), "dense/kernel": matrix,
        "dense/bias": weights(4, 60), "out/kernel": weights(5, 60, 40), "tied/kernel": matrix,
        "step": np.array(3, np.int64),
    }  # fmt: skip


def lossless(source: Path, threads: int = 2, effort: str = "normal") -> Path:
    target = source.with_name(source.name + ".wcz")
    encode(source, target, parse_recipe({"lossless": True, "effort": effort}), threads=threads)
    return target


def assert_identical(source: Path, *known: str) -> Path:
    """The file comes back from a container that is hardly larger, and these tensors can be asked for by name."""
    packed, size = lossless(source), source.stat().st_size
    back = source.with_name("back")
    decode(packed, back, threads=2)
    assert hashlib.sha256(back.read_bytes()).digest() == hashlib.sha256(source.read_bytes()).digest()
    assert packed.stat().st_size <= size * 1.001 + 300
    verify(packed, threads=2)
    assert inspect(packed).parts.total() == packed.stat().st_size
    with open_container(packed) as opened:
        assert set(known) <= set(opened.names())
    return packed


def checkpoint(folder: Path, count: int = 3) -> Path:
    """A sharded checkpoint as Hugging Face writes it, with a configuration beside; its index."""
    folder.mkdir(parents=True)
    mapped = {}
    for number in range(count):
        name = f"model-{number + 1:05}-of-{count:05}.safetensors"
        arrays = {f"layers.{number}.{part}.weight": weights(10 * number + i, 80, 60) for i, part in enumerate("abc")}
        write_safetensors(folder / name, arrays)
        mapped |= dict.fromkeys(arrays, name)
    (folder / "config.json").write_text('{"layers": 3}')
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": mapped}))
    return index


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its path inside."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).digest() for path in found}
