"""For any model, lossless coding keeps every bit; lossy coding keeps the structure and states its error."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from attack.random_models import FLOATS, Array, models
from attack.small_models import encode_small, weights, write_npz, write_safetensors
from hypothesis import given
from hypothesis import strategies as st
from round_trips import RECIPES, model

from wcodec.codec.statistics import measure_tensor
from wcodec.errors import RecipeError
from wcodec.model import Tensor
from wcodec.pipeline.decoder import decode, open_container
from wcodec.pipeline.encoder import encode
from wcodec.planning.parsing import parse_recipe
from wcodec.reporting.inspection import inspect


def round_trip(folder: Path, arrays: dict[str, Array], **words: object) -> tuple[Path, dict[str, Array]]:
    """Encode and decode arrays; return the .wcz and the tensors."""
    packed = encode_small(folder, "npz", arrays, **words)
    restored = folder / "restored.npz"
    decode(packed, restored, threads=1)
    with np.load(restored) as file:
        return packed, dict(file)


@given(models())
def test_lossless_restores_every_bit(arrays: dict[str, Array]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        packed, restored = round_trip(Path(folder), arrays, lossless=True)
        assert_same_structure(arrays, restored)
        for name, array in arrays.items():
            assert restored[name].tobytes() == array.tobytes()
        assert inspect(packed).relative_error == 0.0
        assert_never_larger(packed)


@given(models(), st.sampled_from(sorted(RECIPES)))
def test_lossy_keeps_structure_and_exact_tensors_and_is_within_the_stated_error(
    arrays: dict[str, Array], recipe: str
) -> None:
    assert_lossy(arrays, recipe)


@pytest.mark.parametrize(
    ("array", "recipe"),
    [
        (np.full(320, 0.3, np.float32), "balanced"),
        (np.random.default_rng(162).integers(-5, 6, 320).astype(np.float32) / 8, "balanced"),
        *((np.array([[65504, -0.01]], np.float16), how) for how in ("symmetric", "asymmetric")),
        *((np.array([[3.4028235e38, -0.01]], np.float32), how) for how in ("symmetric", "asymmetric", "balanced")),
    ],
)
def test_nan_and_the_largest_weights_are_within_the_stated_error(array: Array, recipe: str) -> None:
    if array.size == 320:
        array[[0, 1, 122]] = np.nan, 1e-40, np.nan
        array = array.reshape(1, 5, 8, 8)
    assert_lossy({"w": array}, recipe)


def assert_lossy(arrays: dict[str, Array], recipe: str) -> None:
    """Assert that structure and exact tensors are kept and the error is the stated one."""
    with tempfile.TemporaryDirectory() as folder:
        packed, restored = round_trip(Path(folder), arrays, **RECIPES[recipe])
        assert_same_structure(arrays, restored)
        numbers = {tensor.name: tensor for tensor in inspect(packed).tensors}
        for name, array in arrays.items():
            if array.dtype.name not in FLOATS or numbers[name].error is None:
                assert restored[name].tobytes() == array.tobytes()
            else:
                assert_error_as_stated(
                    array, restored[name], numbers[name].error, 65504.0 if recipe == "float16" else np.inf
                )
        assert_never_larger(packed)


def assert_same_structure(arrays: dict[str, Array], restored: dict[str, Array]) -> None:
    assert list(restored) == list(arrays)
    for name, array in arrays.items():
        assert (restored[name].shape, restored[name].dtype) == (array.shape, array.dtype)


def assert_error_as_stated(array: Array, restored: Array, stated: float | None, most: float) -> None:
    """Assert that irregular weights, and those above `most`, are exact, and the error of the others is as stated."""
    assert stated is not None
    limit = min(most, measure_tensor(Tensor("w", array.dtype.name, array.shape), array).limit)
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    regular = np.abs(single) <= limit  # False for NaN
    assert restored[~regular].tobytes() == array[~regular].tobytes()
    wide, back = single[regular].astype(np.float64), restored[regular].astype(np.float32).astype(np.float64)
    assert np.isfinite(back).all()
    energy = float(np.square(wide).sum())
    error = float(np.square(wide - back).sum()) / energy if energy else 0.0
    assert error <= stated * (1 + 1e-6)
    assert stated <= error * (1 + 2**-6) + 1e-37


def assert_never_larger(packed: Path) -> None:
    numbers = inspect(packed)
    assert numbers.weight_bytes <= 1.01 * numbers.tensor_bytes + 3 * len(numbers.tensors)


@pytest.mark.parametrize("kind", ["hdf5", "keras", "npz", "safetensors"])
@pytest.mark.parametrize("words", [{"lossless": True}, {"bits": 5}], ids=str)
def test_every_kind_of_model_file_is_decoded(kind: str, words: dict[str, object], tmp_path: Path) -> None:
    arrays: dict[str, Array] = {"a/kernel": weights(1, 20, 30), "a/bias": weights(2, 30), "b/count": np.arange(3)}
    packed = encode_small(tmp_path, kind, arrays, **words)
    source = packed.with_suffix("")
    restored, again = tmp_path / f"restored{source.suffix}", tmp_path / "again.wcz"
    decode(packed, restored, threads=1)
    encode(restored, again, parse_recipe({"lossless": True}), threads=1)
    with open_container(packed) as first, open_container(again) as second:
        assert sorted(first.names()) == sorted(second.names()) == sorted(arrays)
        for name in first.names():
            assert first[name].tobytes() == second[name].tobytes()


@pytest.mark.parametrize("words", [{"lossless": True}, {}, {"bits": 4}, {"preset": "small"}], ids=str)
def test_bfloat16_is_rounded_if_lossy_and_exact_if_lossless(words: dict[str, object], tmp_path: Path) -> None:
    bits = (weights(4, 70, 50).view(np.uint32) >> 16).astype(np.uint16)
    bits[3, 4], bits[5, 6] = 0x7FC1, 0xFF80
    source = write_safetensors(tmp_path / "m.safetensors", {"w": bits}, frozenset({"w"}))
    encode(source, tmp_path / "m.wcz", parse_recipe(words), threads=1)
    with open_container(tmp_path / "m.wcz") as opened:
        back = opened["w"].copy()
    assert (back[3, 4], back[5, 6]) == (0x7FC1, 0xFF80)
    if "lossless" in words:
        assert np.array_equal(back, bits)
    back[3, 4] = bits[3, 4] = back[5, 6] = bits[5, 6] = 0
    wide, restored = ((b.astype(np.uint32) << 16).view(np.float32) for b in (bits, back))
    assert np.square(wide - restored).sum() <= 0.5 * np.square(wide).sum()


def test_codebooks_have_at_most_the_requested_number_of_values(tmp_path: Path) -> None:
    for bits in (2, 4, 6):
        _, restored = round_trip(tmp_path, model(), bits=bits, quantizer="kmeans")
        for name in ("dense/kernel", "out/kernel"):
            assert len(np.unique(restored[name])) <= 1 << bits


def test_uniform_quantisation_has_at_most_the_requested_number_of_levels(tmp_path: Path) -> None:
    _, restored = round_trip(tmp_path, model(), bits=5, quantizer="uniform", coder="huffman")
    values = np.unique(restored["dense/kernel"])
    assert len(values) <= 32
    assert np.allclose(values / np.diff(values).min() % 1.0 % 0.999, 0.0, atol=2e-3)


def test_sparsity_is_the_fraction_of_zeros_of_every_weight_tensor(tmp_path: Path) -> None:
    arrays = model()
    packed, restored = round_trip(tmp_path, arrays, sparsity=0.7)
    for name in ("conv/kernel", "dense/kernel", "out/kernel"):
        zeros = restored[name] == 0
        assert 0.695 <= zeros.mean() <= 0.80
        assert np.abs(arrays[name][zeros]).max() <= np.abs(arrays[name][~zeros]).min() * 1.35
    kept = {tensor.name: tensor.kept for tensor in inspect(packed).tensors}
    assert kept["dense/kernel"] == np.count_nonzero(restored["dense/kernel"])
    assert np.count_nonzero(restored["dense/bias"]) == 60, "biases are not pruned"


def test_global_sparsity_ranks_all_weights_together(tmp_path: Path) -> None:
    arrays = model() | {"out/kernel": weights(5, 60, 40) * np.float32(0.01)}
    _, restored = round_trip(tmp_path, arrays, sparsity=0.5, global_sparsity=True)
    assert not restored["out/kernel"].any()
    kernels = [restored[name] for name in ("conv/kernel", "dense/kernel", "out/kernel", "tied/kernel")]
    assert sum(map(np.count_nonzero, kernels)) <= 0.51 * sum(kernel.size for kernel in kernels)


def test_a_threshold_zeroes_the_weights_below_it(tmp_path: Path) -> None:
    arrays = model()
    _, restored = round_trip(tmp_path, arrays, threshold=0.08, bits=8)
    for name in ("dense/kernel", "out/kernel"):
        assert not restored[name][np.abs(arrays[name]) <= 0.08].any()


def test_a_rule_by_name_changes_only_the_tensors_it_finds(tmp_path: Path) -> None:
    arrays = model()
    (tmp_path / "a").mkdir()
    _, plain = round_trip(tmp_path, arrays, bits=6)
    _, ruled = round_trip(tmp_path / "a", arrays, bits=6, set={"^out": {"bits": 2}})
    assert len(np.unique(ruled["out/kernel"])) <= 4 < len(np.unique(plain["out/kernel"]))
    for name in set(arrays) - {"out/kernel", "out/bias"}:
        assert np.array_equal(plain[name], ruled[name])


def test_excluded_and_not_included_tensors_are_exact(tmp_path: Path) -> None:
    arrays = model()
    for words in ({"exclude": "^dense"}, {"include": ["conv", "out", "tied"]}, {"set": "^dense:lossless"}):
        _, restored = round_trip(tmp_path, arrays, bits=3, **words)
        assert np.array_equal(restored["dense/kernel"], arrays["dense/kernel"])
        assert np.array_equal(restored["dense/bias"], arrays["dense/bias"])
        assert not np.array_equal(restored["out/kernel"], arrays["out/kernel"])


@pytest.mark.parametrize("words", [{"set": "nowhere:bits=4"}, {"include": "nowhere"}, {"exclude": "nowhere"}], ids=str)
def test_a_pattern_without_a_match_is_an_error_and_leaves_no_file(words: dict[str, object], tmp_path: Path) -> None:
    source = write_npz(tmp_path / "m.npz", model())
    with pytest.raises(RecipeError, match="nowhere"):
        encode(source, tmp_path / "m.wcz", parse_recipe(words), threads=1)
    assert list(tmp_path.iterdir()) == [source]


def test_duplicates_are_stored_once(tmp_path: Path) -> None:
    for words in ({"lossless": True}, {}):
        packed, restored = round_trip(tmp_path, model(), **words)
        tied = next(tensor for tensor in inspect(packed).tensors if tensor.name == "tied/kernel")
        assert tied.duplicate_of == "dense/kernel"
        assert tied.bytes <= 3
        assert np.array_equal(restored["tied/kernel"], restored["dense/kernel"])


def test_tensors_of_the_same_bytes_but_other_plans_are_not_duplicates(tmp_path: Path) -> None:
    _, restored = round_trip(tmp_path, model(), bits=2, exclude="tied")
    assert not np.array_equal(restored["tied/kernel"], restored["dense/kernel"])


@pytest.mark.parametrize("bound", [0.1, 0.01, 1e-3, 1e-5])
def test_the_error_is_between_90_and_100_percent_of_max_error(bound: float, tmp_path: Path) -> None:
    arrays = model()
    packed, restored = round_trip(tmp_path, arrays, max_error=bound)
    kernels = [name for name in arrays if arrays[name].ndim >= 2]
    squared = sum(float(np.square(arrays[k].astype(np.float64) - restored[k]).sum()) for k in kernels)
    error = squared / sum(float(np.square(arrays[k].astype(np.float64)).sum()) for k in kernels)
    assert 0.9 * bound <= error <= bound
    assert error <= inspect(packed).relative_error <= error * 1.01


def test_presets_trade_size_for_error(tmp_path: Path) -> None:
    sizes, errors = [], []
    for words in ({"lossless": True}, {"preset": "safe"}, {"preset": "balanced"}, {"preset": "small"}):
        numbers = inspect(round_trip(tmp_path, model(), **words)[0])
        sizes.append(numbers.file_bytes)
        errors.append(numbers.relative_error)
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors)
    assert len(set(sizes)) == len(set(errors)) == 4


@pytest.mark.parametrize("words", [{"target_ratio": 8.0}, {"target_ratio": 25.0}, {"target_size": 9000}], ids=str)
def test_a_target_is_met_within_two_percent_from_below(words: dict[str, float], tmp_path: Path) -> None:
    arrays = {"a/kernel": weights(1, 300, 200), "b/kernel": weights(2, 3, 3, 40, 60), "b/bias": weights(3, 60)}
    packed = encode_small(tmp_path, "npz", arrays, **words)
    source = packed.with_suffix("").stat().st_size
    target = words.get("target_size", 0) or source / words["target_ratio"]
    assert 0.98 * target <= packed.stat().st_size <= target


@pytest.mark.parametrize("words", [{"target_size": "1MB"}, {"step": 1e-30}, {"max_error": 1e-18}], ids=str)
def test_targets_that_lossless_coding_meets_give_exact_weights(words: dict[str, object], tmp_path: Path) -> None:
    arrays = {"a/kernel": weights(1, 300, 200), "b/kernel": weights(2, 3, 3, 40, 60), "c/kernel": weights(3, 40, 10)}
    _, restored = round_trip(tmp_path, arrays, **words)
    assert all(np.array_equal(arrays[name], restored[name]) for name in arrays)


def test_surviving_weights_have_a_tiny_error_at_the_finest_step(tmp_path: Path) -> None:
    arrays = {"a/kernel": weights(1, 300, 200)}
    _, restored = round_trip(tmp_path, arrays, step=1e-30, sparsity=0.5)
    kept = restored["a/kernel"] != 0
    assert 0.49 < kept.mean() < 0.51
    assert np.abs(restored["a/kernel"] - arrays["a/kernel"])[kept].max() < 1e-7


PRUNED_WORDS = [{}, {"effort": "fast"}, {"max_error": 1e-3}, {"preset": "small"}, {"coder": "static"}]


@pytest.mark.parametrize("words", PRUNED_WORDS)
def test_zeros_of_pruned_weights_remain_zero(tmp_path: Path, words: dict[str, object]) -> None:
    rng = np.random.default_rng(5)
    dense, kernel, matrix = (rng.normal(size=size).astype(np.float32) for size in ((96, 64), (3, 3, 16, 24), (200, 16)))
    groups = dense.reshape(-1, 4)
    np.put_along_axis(groups, np.argsort(np.abs(groups), axis=1)[:, :2], 0, axis=1)
    kernel[np.abs(kernel) < 1.2] = 0
    matrix[rng.random(matrix.shape) < 0.6] = 0
    arrays = {"two_of_four": dense, "conv": kernel, "tall": matrix}
    _, decoded = round_trip(tmp_path, arrays, **words)
    for name, array in arrays.items():
        assert not decoded[name][array == 0].any()
        assert np.count_nonzero(decoded[name]) > 0.5 * np.count_nonzero(array)
