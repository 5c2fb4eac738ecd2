"""Tensors of few distinct values are found by a sample, and are exact if that takes no more bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attack.small_models import weights

from wcodec.codec.quantizers.few_values import MOST, find_few_values
from wcodec.pipeline.decoder import decode
from wcodec.pipeline.encoder import Encoded, encode
from wcodec.planning.parsing import parse_recipe

ORDINARY = weights(1, 120, 200)
"""float32, with as many distinct values as weights."""


def cluster(values: np.ndarray, clusters: int) -> np.ndarray:
    """Each value, replaced by the nearest of `clusters` evenly spread quantiles."""
    centres = np.quantile(values, (np.arange(clusters) + 0.5) / clusters).astype(np.float32)
    return centres[np.searchsorted(centres[1:] / 2 + centres[:-1] / 2, values)]


def prune(values: np.ndarray) -> np.ndarray:
    return np.where(np.abs(ORDINARY) < np.quantile(np.abs(ORDINARY), 0.9), np.float32(0), values)


FEW = {
    "binary": (cluster(ORDINARY, 2), {}),
    "ternary": (np.sign(ORDINARY) * np.float32(0.07) * (np.abs(ORDINARY) > ORDINARY.std()), {}),
    "three unlike": (cluster(ORDINARY, 3), {}),
    "sparse and clustered": (prune(cluster(ORDINARY, 32)), {}),
    "clustered, little error": (cluster(ORDINARY, 16), {"max_error": 0.002}),
    "integers of four bits": (np.rint(ORDINARY / ORDINARY.std() * 2) * np.float32(0.031), {"max_error": 0.002}),
    "bits of float16": (cluster(ORDINARY, 8).astype(np.float16), {"preset": "safe"}),
}


def encode_values(values: np.ndarray, folder: Path, **words: object) -> tuple[Encoded, np.ndarray]:
    np.savez(folder / "m.npz", kernel=values)
    made = encode(folder / "m.npz", folder / "m.wcz", parse_recipe(words))
    (folder / "o.npz").unlink(missing_ok=True)
    decode(folder / "m.wcz", folder / "o.npz")
    with np.load(folder / "o.npz") as arrays:
        return made, arrays["kernel"]


@pytest.mark.parametrize("effort", ["normal", "fast"])
@pytest.mark.parametrize("name", FEW)
def test_few_values_are_exact_in_no_more_bytes_than_with_steps(tmp_path: Path, name: str, effort: str) -> None:
    values, words = FEW[name]
    made, back = encode_values(values, tmp_path, effort=effort, **words)
    by_steps, _ = encode_values(values, tmp_path, effort=effort, quantizer="uniform", **words)
    assert made.error == 0.0
    assert np.array_equal(back, values)
    assert made.file_bytes <= 1.05 * by_steps.file_bytes
    if effort == "normal" and "max_error" in words:
        assert made.file_bytes < by_steps.file_bytes


DEAR = {"many": ORDINARY, "many and zeros": prune(ORDINARY), "clusters": cluster(ORDINARY, 256)}


@pytest.mark.parametrize("values", DEAR.values(), ids=DEAR)
def test_steps_are_used_if_a_codebook_takes_more_bytes(tmp_path: Path, values: np.ndarray) -> None:
    made, _ = encode_values(values, tmp_path)
    kept = (tmp_path / "m.wcz").read_bytes()
    assert made.error > 0.0
    encode_values(values, tmp_path, quantizer="uniform")
    assert kept == (tmp_path / "m.wcz").read_bytes()


def test_outliers_of_few_values_are_exact(tmp_path: Path) -> None:
    values = cluster(ORDINARY, 2)
    values[3, 4], values[5, 6] = 1e30, np.nan
    assert np.array_equal(encode_values(values, tmp_path)[1], values, equal_nan=True)


def test_the_distinct_values_equal_those_of_numpy_unless_they_are_many() -> None:
    values = cluster(ORDINARY, 77)
    found = find_few_values(values)
    assert found is not None
    assert np.array_equal(found, np.unique(values))
    late = np.concatenate([np.zeros(1 << 21, np.float32), np.repeat(np.float32([3.0, -2.0]), 9)])
    assert np.array_equal(find_few_values(late), [-2.0, 3.0])
    for many in (ORDINARY, prune(ORDINARY), np.arange(2 * MOST, dtype=np.float32).repeat(40), np.float32([1, 2, 3])):
        assert find_few_values(many) is None
    assert np.array_equal(find_few_values(np.zeros((3, 3), np.float32)), [])
