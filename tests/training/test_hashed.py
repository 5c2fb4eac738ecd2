"""--method hashed: buckets and a seed in the file, from which any decoder builds the kernel."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

import wcodec as package
from tests.conftest import Run
from wcodec.codec.quantizers.hashing import hash_places
from wcodec.training.methods.hashed import HashedKernel, start_hashed

sys.path.append(str(ROOT / "formats"))
from reference_decoder import decode
from reference_rules import hashed


@given(st.integers(1, 200), st.integers(0, 2**32 - 1), st.integers(1, 1 << 21))
def test_the_hash_is_that_of_the_specification(count: int, seed: int, buckets: int) -> None:
    places, signs = hash_places(count, seed, buckets)
    assert [*zip(places.tolist(), signs.tolist(), strict=True)] == [hashed(i, seed, buckets) for i in range(count)]
    assert 0 <= places.min() <= places.max() < buckets


def test_buckets_and_signs_of_the_hash_are_uniformly_distributed() -> None:
    places, signs = hash_places(1 << 16, 5, 64)
    assert np.abs(np.bincount(places, minlength=64) - 1024).max() < 5 * 32  # five standard deviations
    assert abs(int(signs.sum())) < 5 * 256
    other, _ = hash_places(1 << 16, 6, 64)
    assert abs(float((places == other).mean()) - 1 / 64) < 0.003


@pytest.mark.parametrize("shape", [(30, 8), (3, 3, 4, 6), (3, 3, 5, 1)])
def test_the_trained_kernel_has_the_values_that_the_decoder_computes_from_the_hash(shape: tuple[int, ...]) -> None:
    kernel = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    begun = start_hashed(kernel, 1 / 8, 77)
    assert isinstance(begun, HashedKernel)
    coded = begun.export()
    assert np.abs(coded.levels).max() == 127
    assert len(coded.levels) == round(kernel.size / 8)
    assert float(np.sqrt(np.mean(coded.values**2))) == pytest.approx(float(np.sqrt(np.mean(kernel**2))), rel=0.3)


def test_the_file_of_a_hashed_network_has_only_the_shared_values(
    small_network: tuple[Path, Path], wcodec: Run, tmp_path: Path
) -> None:
    source, data = small_network
    words = ["encode", source, "--data", data, "--method", "hashed", "-o", tmp_path / "x.wcz"]
    done = wcodec(*words, "--finetune", 20, "--ratio", "1/4", "--max-drop", 20)
    assert done.returncode == 0, done.stderr
    with package.open(tmp_path / "x.wcz") as coded:
        weights = {name: coded[name] for name in coded}
    kernels = {name: values for name, values in weights.items() if values.ndim > 1}
    assert kernels
    for values in kernels.values():
        assert len(np.unique(np.abs(values))) <= values.size // 4 + 1
    reference = decode((tmp_path / "x.wcz").read_bytes())
    assert all(np.array_equal(reference[name], values) for name, values in weights.items())
    numbers = package.inspect(tmp_path / "x.wcz")
    assert sum(one.bytes for one in numbers.tensors if one.name in kernels) < sum(v.size for v in kernels.values()) / 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--bits", "4"], "--method hashed: expected no bits and no clusters with it"),
        (["--quantizer", "uniform"], "--method hashed: expected no quantizer with it"),
        (["--ratio", "2"], "--ratio: expected over 0 to less than 1, got 2"),
        (["--ratio", "1/0"], "ratio: expected a number other than 0 under the line"),
    ],
)
def test_options_that_hashing_does_not_support_are_refused(
    more: list[str], message: str, wcodec: Run, tmp_path: Path, samples: Path
) -> None:
    words = ["encode", samples / "lenet300.h5", "--data", samples / "mnist.npz:train", "-o", tmp_path / "x.wcz"]
    done = wcodec(*words, "--finetune", 1, "--method", "hashed", *more)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert list(tmp_path.iterdir()) == []
