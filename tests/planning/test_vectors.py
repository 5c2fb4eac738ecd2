"""The error of a vector is that of its effect: means by variances, biases by kernels; other vectors are exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attack.small_models import weights, write_npz
from hypothesis import given, settings
from hypothesis import strategies as st

import wcodec as package


def round_trip(folder: Path, arrays: dict[str, np.ndarray], **options: object) -> dict[str, np.ndarray]:
    write_npz(folder / "m.npz", arrays)
    package.encode(folder / "m.npz", folder / "m.wcz", **options)
    package.decode(folder / "m.wcz", folder / "back.npz")
    with np.load(folder / "back.npz") as back:
        return {name: back[name] for name in back.files}


def normalization(centre: float, spread: float, count: int = 64) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "bn/gamma": 1 + 0.1 * rng.normal(size=count).astype(np.float32),
        "bn/beta": rng.normal(size=count).astype(np.float32),
        "bn/moving_mean": (centre * (1 + 0.025 * rng.normal(size=count))).astype(np.float32),
        "bn/moving_variance": (spread**2 * (1 + rng.random(count))).astype(np.float32),
    }


@given(st.sampled_from([1.0, 300.0, 2000.0, 101_325.0]), st.sampled_from([0.5, 5.0]))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_the_error_of_a_mean_is_a_small_fraction_of_the_deviation(
    tmp_path_factory: pytest.TempPathFactory, mean: float, spread: float
) -> None:
    arrays = normalization(mean, spread)
    back = round_trip(tmp_path_factory.mktemp("m"), arrays)
    moved = np.abs(back["bn/moving_mean"] - arrays["bn/moving_mean"]) / np.sqrt(arrays["bn/moving_variance"])
    assert moved.max() <= 2**-7


def test_a_large_bias_and_its_kernel_keep_the_outputs(tmp_path: Path) -> None:
    kernel = weights(1, 64, 32)
    mean = np.full(64, 2000, np.float32)
    arrays = {"d/kernel": kernel, "d/bias": -mean @ kernel}
    back = round_trip(tmp_path, arrays)
    inputs = mean + 5 * np.random.default_rng(2).normal(size=(500, 64)).astype(np.float32)
    before, after = (inputs @ found["d/kernel"] + found["d/bias"] for found in (arrays, back))
    assert np.abs(after - before).max() <= 0.01 * before.std()


def test_a_small_bias_takes_less_than_two_bytes_an_element(tmp_path: Path) -> None:
    arrays = {"d/kernel": weights(1, 64, 320), "d/bias": weights(2, 320)}
    package.encode(write(tmp_path, arrays), tmp_path / "m.wcz")
    bias = next(t for t in package.inspect(tmp_path / "m.wcz").tensors if t.name == "d/bias")
    assert bias.bytes < 2 * 320


def write(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    write_npz(folder / "m.npz", arrays)
    return folder / "m.npz"


@pytest.mark.parametrize("shape", [(64,), (1, 64), (64, 1), ()])
def test_a_vector_without_a_role_is_exact(shape: tuple[int, ...], tmp_path: Path) -> None:
    edges = np.linspace(1900, 2030, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    arrays = {"bins.edges": edges, "d.kernel": weights(1, 64, 32)}
    back = round_trip(tmp_path, arrays)
    assert back["bins.edges"].tobytes() == edges.tobytes()


def test_an_option_for_the_name_of_a_vector_applies(tmp_path: Path) -> None:
    arrays = {"bins.edges": weights(1, 500), "d.kernel": weights(1, 64, 32)}
    back = round_trip(tmp_path, arrays, set={"^bins.edges$": {"clusters": 4}})
    assert len(np.unique(back["bins.edges"])) <= 5


def test_a_tensor_of_subnormal_numbers_is_exact(tmp_path: Path) -> None:
    arrays = {"d.kernel": weights(1, 64, 32) * np.float32(1e-40)}
    assert np.array_equal(round_trip(tmp_path, arrays)["d.kernel"], arrays["d.kernel"])


@pytest.mark.parametrize("size", [1e-40, 1e-46, 1e-60, 1e-200])
@pytest.mark.parametrize(
    "options",
    [{}, {"max_error": 1e-6}, {"bits": 4}, {"quantizer": "symmetric"}, {"quantizer": "float16"}, {"sparsity": 0.5}],
)
def test_float64_values_out_of_the_range_of_float32_are_exact(
    size: float, options: dict[str, object], tmp_path: Path
) -> None:
    small = weights(1, 64, 32).astype(np.float64) * size
    special = np.where(np.arange(2048).reshape(64, 32) == 7, np.inf, small)
    arrays = {"d.kernel": small, "e.kernel": special, "f.kernel": weights(2, 64, 32)}
    back = round_trip(tmp_path, arrays, **options)
    assert back["d.kernel"].tobytes() == small.tobytes()
    assert back["e.kernel"].tobytes() == special.tobytes()


def test_the_stated_error_of_float64_values_includes_their_rounding_to_float32(tmp_path: Path) -> None:
    values = np.random.default_rng(1).choice([0.1, 0.2, 0.7], size=(300, 40))
    back = round_trip(tmp_path, {"d.kernel": values}, bits=4)["d.kernel"]
    error = np.square(back - values).sum() / np.square(values).sum()
    found = package.inspect(tmp_path / "m.wcz")
    assert 0 < error <= (found.tensors[0].error or 0) <= 1.01 * error
    assert not found.is_lossless


@pytest.mark.parametrize("kernel", [(0, 5), (4, 5)])
def test_empty_vectors_and_their_kernels_are_decoded(kernel: tuple[int, ...], tmp_path: Path) -> None:
    names = {"a.weight": kernel, "a.bias": (0,), "b.weight": (0,), "b.bias": (0,), "b.running_mean": (0,)}
    arrays = {name: np.zeros(shape, np.float32) for name, shape in names.items()}
    arrays |= {"b.running_var": arrays["a.bias"], "d.weight": weights(1, 64, 32), "c.kernel": np.zeros((5, 0), "f4")}
    arrays |= {"c.bias": np.zeros(0, np.float32), "e.kernel": np.zeros((0, 3), "f4"), "e.bias": np.ones(3, "f4")}
    for options in ({}, {"max_error": 1e-4}):
        back = round_trip(tmp_path, arrays, **options)
        assert {name: array.shape for name, array in back.items()} == {n: a.shape for n, a in arrays.items()}
        (tmp_path / "m.wcz").unlink()
        (tmp_path / "back.npz").unlink()


def test_an_empty_layer_of_pytorch_is_decoded() -> None:
    arrays = {"a": np.zeros((0, 5), np.float32), "c": np.zeros(0, np.float32), "w": weights(1, 30, 30)}
    back = package.load(package.encode(arrays))
    assert [back[name].shape for name in arrays] == [(0, 5), (0,), (30, 30)]
