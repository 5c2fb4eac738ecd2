"""Inspection counts every byte of a file once, and its JSON has the documented keys."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from attack.random_models import Array, models
from attack.small_models import encode_small, weights
from hypothesis import given
from hypothesis import strategies as st
from round_trips import RECIPES, model

from wcodec.container.reader import is_container
from wcodec.reporting.inspection import inspect

KEYS = {
    "schema_version",
    "format_version",
    "file_bytes",
    "source_bytes",
    "tensor_bytes",
    "weight_bytes",
    "parts",
    "tensors",
}
PARTS = {"codes", "gaps", "levels", "codebooks", "tables", "lossless", "skeleton", "index", "container"}
TENSOR = {"name", "layer", "shape", "dtype", "weights", "kept", "bits_per_weight", "bytes", "parts"}


def assert_parts_sum(packed: Path) -> None:
    numbers = inspect(packed)
    assert numbers.parts.total() == numbers.file_bytes == packed.stat().st_size
    for tensor in numbers.tensors:
        assert tensor.parts.total() == tensor.bytes
    overhead = numbers.parts.skeleton + numbers.parts.container
    index = numbers.parts.index - sum(tensor.parts.index for tensor in numbers.tensors)
    assert sum(tensor.bytes for tensor in numbers.tensors) + overhead + index == numbers.file_bytes


@pytest.mark.parametrize("recipe", [*RECIPES, "lossless"])
def test_the_parts_sum_to_the_file(recipe: str, tmp_path: Path) -> None:
    assert_parts_sum(encode_small(tmp_path, "npz", model(), **RECIPES.get(recipe, {"lossless": True})))


@given(models(), st.sampled_from(sorted(RECIPES)))
def test_the_parts_sum_to_the_file_for_any_model(arrays: dict[str, Array], recipe: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert_parts_sum(encode_small(Path(folder), "npz", arrays, **RECIPES[recipe]))


def test_the_json_has_the_documented_keys(tmp_path: Path) -> None:
    packed = encode_small(tmp_path, "hdf5", model(), sparsity=0.5, bits=4, coder="huffman")
    numbers = json.loads(json.dumps(inspect(packed).to_json(), allow_nan=False))
    assert set(numbers) >= KEYS
    assert set(numbers["parts"]) == PARTS
    assert numbers["format_version"] == numbers["schema_version"] == 1
    for tensor in numbers["tensors"]:
        assert set(tensor) >= TENSOR
        assert set(tensor["parts"]) == PARTS
    assert sum(numbers["parts"].values()) == numbers["file_bytes"]


def test_the_numbers_are_those_of_the_model(tmp_path: Path) -> None:
    arrays = model()
    packed = encode_small(tmp_path, "npz", arrays, sparsity=0.92, bits=3, coder="huffman")
    numbers = inspect(packed)
    assert numbers.source_bytes == packed.with_suffix("").stat().st_size
    assert numbers.tensor_bytes == sum(array.nbytes for array in arrays.values())
    by_name = {tensor.name: tensor for tensor in numbers.tensors}
    assert {name: tensor.shape for name, tensor in by_name.items()} == {name: a.shape for name, a in arrays.items()}
    dense = by_name["dense/kernel"]
    assert (dense.layer, dense.dtype, dense.weights, dense.raw_bytes) == ("dense", "float32", 7200, 28800)
    assert dense.kept is not None
    assert dense.kept <= 0.09 * dense.weights
    assert dense.bits_per_weight == 8 * dense.bytes / 7200
    assert dense.parts.codes > 0 < dense.parts.gaps
    assert dense.parts.codebooks > 0
    assert by_name["tied/kernel"].duplicate_of == "dense/kernel"
    assert by_name["step"].error is None
    assert by_name["step"].parts.lossless > 0


def test_the_parts_of_a_tensor_of_many_chunks_sum_to_the_file(tmp_path: Path) -> None:
    arrays = {"big": np.tile(weights(1, 1 << 10), (1 << 11, 1)), "vector": np.zeros((1 << 21) + 5, np.float32)}
    for words in ({"lossless": True}, {"bits": 3, "coder": "huffman"}):
        packed = encode_small(tmp_path, "npz", arrays, **words)
        assert_parts_sum(packed)


def test_a_container_is_distinguished_from_a_model_file(tmp_path: Path) -> None:
    packed = encode_small(tmp_path, "npz", {"a": weights(1, 3)})
    assert is_container(packed)
    assert not is_container(packed.with_suffix(""))


def test_a_file_in_which_only_vectors_are_rounded_is_not_lossless(tmp_path: Path) -> None:
    packed = encode_small(tmp_path, "npz", {"norm/gamma": weights(1, 300)})
    numbers = inspect(packed)
    assert not numbers.relative_error
    assert not numbers.is_lossless
