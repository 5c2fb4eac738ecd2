"""`--bits auto:N` without data: bits or steps for each tensor with a mean of N bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import wcodec
from wcodec.errors import RecipeError
from wcodec.pipeline.precision import allocate, mean_bits, measure_rates
from wcodec.planning.parsing import parse_recipe

RNG = np.random.default_rng(5)
ARRAYS = {
    "small/kernel": RNG.normal(size=(24, 40)).astype(np.float32),
    "large/kernel": RNG.normal(0, 0.1, size=(120, 100)).astype(np.float32),
    "other/kernel": RNG.laplace(size=(60, 50)).astype(np.float32),
    "other/bias": RNG.normal(size=50).astype(np.float32),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("precision") / "model.npz"
    np.savez(path, **ARRAYS)
    return path


KERNELS = [name for name in ARRAYS if name.endswith("kernel")]


@pytest.mark.parametrize("mean", [1.5, 4])
def test_coded_bits_have_the_requested_mean(source: Path, tmp_path: Path, mean: float) -> None:
    target = tmp_path / "coded.wcz"
    wcodec.encode(source, target, bits=f"auto:{mean}")
    assert 0.95 * mean <= mean_bits(target, KERNELS) <= mean


def test_integers_have_the_requested_mean_and_costly_tensors_more_bits(source: Path) -> None:
    recipe = parse_recipe({"bits": "auto:4", "quantizer": "symmetric"})
    rates = measure_rates(source, recipe)
    costs = dict.fromkeys(KERNELS, 1.0)
    chosen = allocate(rates, costs, 4.0)
    spent = sum((chosen[name].bits or 0) * ARRAYS[name].size for name in KERNELS)
    assert spent <= 4 * sum(ARRAYS[name].size for name in KERNELS)
    more = allocate(rates, costs | {"other/kernel": 1e4}, 4.0)
    assert (more["other/kernel"].bits or 0) > (chosen["other/kernel"].bits or 0)
    floored = allocate(rates, costs | {"other/kernel": 1e9}, 4.0, floor=3.0)
    assert min(options.bits or 0 for options in floored.values()) == 3


def test_measured_rates_and_losses_equal_those_of_the_file(source: Path, tmp_path: Path) -> None:
    recipe = parse_recipe({"bits": "auto:3"})
    (first, *_) = measure_rates(source, recipe)
    step = first.options[4].step
    assert step is not None
    numbers = wcodec.encode(
        source, tmp_path / "one.wcz", set={first.name: {"step": step.amount, "quantizer": "uniform"}}
    )
    (tensor,) = [tensor for tensor in numbers.tensors if tensor.name == first.name]
    assert tensor.error == pytest.approx(first.curve.losses[4] / first.energy, rel=0.01)
    assert abs(8 * tensor.bytes - first.curve.bits[4]) <= 8 * 40  # bytes of the tensor in the index


def test_tensors_with_their_own_precision_keep_it(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "kept.wcz"
    wcodec.encode(
        source, target, bits="auto:3", quantizer="symmetric", exclude="small", set={"other/kernel": {"bits": 8}}
    )
    weights = wcodec.open(target)
    assert np.array_equal(weights["small/kernel"], ARRAYS["small/kernel"])
    assert len(np.unique(weights["other/kernel"])) > 32
    assert len(np.unique(weights["large/kernel"])) <= 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"bits": "auto:1", "quantizer": "symmetric"}, "expected a mean from 2 to 16"),
        ({"bits": "auto:40"}, "expected a mean from 0.5 to 16"),
        ({"bits": "auto"}, "bits: expected a number"),
        ({"bits": "auto:4", "quantizer": "kmeans"}, "expected a quantizer with steps"),
        ({"bits": "auto:4", "target_size": 100}, "nothing else that sets the precision, got target_bytes"),
        ({"bits": "auto:4", "exclude": "kernel"}, "found none"),
        ({"bits": "auto:4", "sensitivity": "fisher"}, "expected data="),
    ],
)
def test_unusable_options_of_precision_are_refused(
    source: Path, tmp_path: Path, words: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        wcodec.encode(source, tmp_path / "no.wcz", **words)
    if "=" not in message:
        assert message in str(caught.value)
    assert not (tmp_path / "no.wcz").exists()
