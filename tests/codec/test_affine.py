"""Integers of a few bits, signs and shorter floats: the formulas, and files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from attack.small_models import encode_small, weights, write_safetensors
from conftest import Run
from hypothesis import given
from hypothesis import strategies as st

from wcodec.codec.quantizers.affine import compute_row_steps, quantize_rows
from wcodec.container.dtypes import from_float, to_float32
from wcodec.errors import RecipeError
from wcodec.pipeline.decoder import decode, open_container
from wcodec.pipeline.encoder import encode
from wcodec.planning.parsing import parse_recipe

Floats = npt.NDArray[np.float32]
ROWS = st.lists(
    st.lists(st.floats(-1e4, 1e4, width=32).filter(lambda x: x == 0 or abs(x) > 1e-4), min_size=5, max_size=5),
    min_size=1,
    max_size=6,
).map(lambda rows: np.array(rows, np.float32))
BITS = st.integers(2, 8)


def restore(folder: Path, array: Floats, **words: object) -> Floats:
    """Encode one tensor and decode it."""
    packed = encode_small(folder, "npz", {"w": array}, **words)
    decode(packed, folder / "restored.npz", threads=2)
    with np.load(folder / "restored.npz") as file:
        return file["w"]


@given(ROWS, BITS)
def test_symmetric_integers_follow_the_formula(rows: Floats, bits: int) -> None:
    steps = compute_row_steps(rows, "symmetric", bits)
    most = 2 ** (bits - 1) - 1
    levels = quantize_rows(rows, steps, "symmetric")
    largest = np.abs(rows).max(axis=1)
    assert np.array_equal(steps[largest > 0], (largest[largest > 0].astype(np.float64) / most).astype(np.float32))
    assert np.array_equal(levels, np.rint(rows / steps[:, None]))
    assert np.abs(levels).max() <= most


@given(ROWS, BITS)
def test_asymmetric_integers_follow_the_formula_and_zero_stays_zero(rows: Floats, bits: int) -> None:
    steps = compute_row_steps(rows, "asymmetric", bits)
    levels = quantize_rows(rows, steps, "asymmetric")
    low, high = np.minimum(rows.min(axis=1), 0), np.maximum(rows.max(axis=1), 0)
    zeros = np.rint(-low / steps).astype(int)
    integers = levels + zeros[:, None]
    assert integers.min() >= 0
    assert integers.max() <= 2**bits - 1
    assert np.all(levels[rows == 0] == 0)
    assert np.all(np.abs(levels * steps[:, None].astype(np.float64) - rows) <= 0.5001 * steps[:, None])
    spread = (high.astype(np.float64) - low)[high > low]
    assert np.all(steps[high > low] <= spread / (2**bits - 1) * (1 + 2**-20))


@given(ROWS)
def test_binary_weights_have_the_scale_with_the_least_squared_error(rows: Floats) -> None:
    steps = compute_row_steps(rows, "binary", 1).astype(np.float64)
    levels = quantize_rows(rows, steps.astype(np.float32), "binary")
    assert np.array_equal(levels, np.sign(rows))
    for row, signs, step in zip(rows.astype(np.float64), levels, steps, strict=True):
        if signs.any():
            best = row @ signs / (signs @ signs)
            assert abs(step - best) <= 2**-8 * best


def test_rows_of_zeros_and_of_subnormal_numbers_have_positive_steps() -> None:
    rows = np.array([[0, 0], [1e-45, 0], [-1e-38, 1e-38], [3.4e38, -3.4e38]], np.float32)
    for how in ("symmetric", "asymmetric", "binary"):
        steps = compute_row_steps(rows, how, 8)
        assert np.all(steps > 0)
        assert np.all(np.isfinite(steps))
        assert not quantize_rows(rows, steps, how)[0].any()


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("how", ["symmetric", "asymmetric"])
def test_every_output_has_its_own_values_in_a_file(tmp_path: Path, how: str, bits: int) -> None:
    array = weights(1, 90, 7) * np.geomspace(0.01, 100, 7, dtype=np.float32)
    alone = restore(tmp_path, array, quantizer=how, bits=bits, per_channel=True)
    together = restore(tmp_path, array, quantizer=how, bits=bits)
    for output in range(7):
        assert len(np.unique(alone[:, output])) <= 2**bits
        spread = array[:, output].max() - array[:, output].min()
        assert np.abs(alone[:, output] - array[:, output]).max() <= spread / (2**bits - 2)
    assert len(np.unique(together)) <= 2**bits
    assert np.square(alone - array).sum() < np.square(together - array).sum()


@pytest.mark.parametrize("shape", [(3, 3, 4, 6), (5, 4, 6), (40, 6), (3, 3, 6, 1)])
def test_the_axis_of_outputs_is_the_last_in_keras_and_the_first_in_torch(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    scales = np.geomspace(1, 1000, 6, dtype=np.float32)
    last = (np.sign(weights(2, *shape)) * (scales[:, None] if shape[-1] == 1 else scales)).astype(np.float32)
    assert np.allclose(restore(tmp_path, last, quantizer="binary", per_channel=True), last, rtol=2**-8)
    if shape[-1] > 1:
        first = np.ascontiguousarray(np.moveaxis(last, -1, 0))
        source = write_safetensors(tmp_path / "m.safetensors", {"w": first})
        recipe = parse_recipe({"quantizer": "binary", "per_channel": True})
        encode(source, tmp_path / "m.wcz", recipe)
        with open_container(tmp_path / "m.wcz") as opened:
            assert np.allclose(opened["w"], first, rtol=2**-8)


@pytest.mark.parametrize("coder", ["huffman", "context"])
def test_pruned_weights_stay_zero_with_eight_bits(tmp_path: Path, coder: str) -> None:
    array = weights(3, 60, 50)
    kept = np.abs(array) > np.quantile(np.abs(array), 0.75)
    back = restore(tmp_path, array, quantizer="asymmetric", bits=8, sparsity=0.75, coder=coder, per_channel=True)
    assert np.all(back[~kept] == 0)
    assert np.all(back[kept] != 0)
    assert np.abs(back - array)[kept].max() <= np.ptp(array) / 255
    assert np.sum(np.abs(array[kept]) > 0) == 750


def test_every_chunk_uses_the_steps_of_its_rows(tmp_path: Path) -> None:
    array = (np.sign(weights(4, 1500, 800)) * np.geomspace(1, 50, 800)).astype(np.float32)
    back = restore(tmp_path, array, quantizer="binary", per_channel=True, coder="huffman")
    assert np.allclose(back, array, rtol=2**-8)


@given(st.lists(st.floats(width=32), min_size=12, max_size=12), st.sampled_from(["float16", "bfloat16"]))
def test_shorter_floats_are_rounded_to_the_nearest_of_their_type(values: list[float], kind: str) -> None:
    array = np.array(values, np.float32).reshape(3, 4)
    with tempfile.TemporaryDirectory() as folder:
        back = restore(Path(folder), array, quantizer=kind)
    short = to_float32(from_float(array, kind), kind)
    largest = 65504 if kind == "float16" else 2.0**128 - 2.0**120
    fits = np.abs(array) <= largest
    whole = np.isfinite(short) & fits
    # Weights out of range or far from all others are exact; in small files all weights may be.
    exact = back.view(np.uint32) == array.view(np.uint32)
    assert np.all(exact | (whole & (back == short)))


def test_vectors_can_have_shorter_floats(tmp_path: Path) -> None:
    array = weights(5, 600)
    assert np.array_equal(restore(tmp_path, array, quantizer="float16"), array.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize(
    "words",
    [
        {"quantizer": "symmetric", "bits": 1},
        {"quantizer": "asymmetric", "clusters": 8},
        {"quantizer": "symmetric", "step": 0.1},
        {"quantizer": "binary", "bits": 1},
        {"quantizer": "float16", "bits": 8},
        {"per_channel": True},
        {"per_channel": True, "quantizer": "kmeans"},
        {"per_channel": "perhaps", "quantizer": "symmetric"},
    ],
)
def test_contradicting_options_of_integers_are_refused(words: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        parse_recipe(words)


def test_the_command_line_the_configuration_and_rules_have_the_quantizers(wcodec: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", a=weights(6, 30, 20), b=weights(7, 30, 20), c=weights(8, 30, 20), d=weights(9, 30, 20))
    (tmp_path / "r.toml").write_text('quantizer = "symmetric"\nbits = 3\nper_channel = true\n')
    done = wcodec(
        "encode", tmp_path / "m.npz", "--config", tmp_path / "r.toml",
        "--set", "b:quantizer=kmeans,bits=2", "--set", "c:per_channel=false,bits=2", "--set", "d:quantizer=binary",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with open_container(tmp_path / "m.npz.wcz") as opened:
        assert max(len(np.unique(column)) for column in opened["a"].T) <= 7
        assert len(np.unique(opened["a"])) > 7
        assert len(np.unique(opened["b"])) <= 4
        assert len(np.unique(opened["c"])) == 3
        assert max(len(np.unique(column)) for column in opened["d"].T) == 2
    done = wcodec("encode", tmp_path / "m.npz", "-f", "--quantizer", "asymmetric", "--bits", "4", "--per-channel")
    assert done.returncode == 0, done.stderr
