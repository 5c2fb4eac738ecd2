"""A transform and its inverse restore kernels, and the inverse is exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import transform as twin

from wcodec.codec.dequantization import TransformDequantizer
from wcodec.codec.quantizers import transform
from wcodec.errors import ContainerError, CorruptError, TruncatedError, UnsupportedError

RNG = np.random.default_rng(5)
SMOOTH = np.cumsum(RNG.normal(size=(60, 30, 9)), axis=2).astype(np.float32)
MOMENTS = transform.compute_moments(SMOOTH)


@pytest.mark.parametrize(("height", "width"), [(3, 3), (5, 5), (7, 7), (1, 9), (16, 1), (2, 2), (1, 16), (4, 6)])
def test_the_cosine_basis_is_orthonormal(height: int, width: int) -> None:
    matrix = transform.make_dct_basis(height, width).matrix / 2.0**transform.DCT_SHIFT
    assert np.abs(matrix @ matrix.T - np.eye(height * width)).max() < 1e-3


def test_the_cosine_table_follows_its_formula() -> None:
    for n, (flat, *quarter) in enumerate(transform.COSINES, 1):
        assert flat == round(2**14 / np.sqrt(n))
        assert quarter == [round(2**14 * np.sqrt(2 / n) * np.cos(np.pi * m / (2 * n))) for m in range(n)]


@pytest.mark.parametrize(
    "basis", [transform.make_dct_basis(3, 3), transform.make_klt_basis(MOMENTS), transform.make_klt_basis(MOMENTS, 5)]
)
def test_rounding_coefficients_has_no_larger_error_than_rounding_taps(basis: transform.Basis) -> None:
    coefficients = transform.transform(SMOOTH, basis)
    step = 0.05
    kept = transform.inverse_transform(np.rint(coefficients / step).astype(np.int32), basis) * (step / 2**basis.shift)
    assert np.mean((kept - SMOOTH) ** 2) == pytest.approx(step**2 / 12, rel=0.05)


def test_the_fitted_basis_concentrates_the_energy_in_descending_order() -> None:
    energy = np.mean(transform.transform(SMOOTH, transform.make_klt_basis(MOMENTS)) ** 2, axis=(0, 1))
    assert (np.diff(energy) < 0).all()
    assert energy[0] > 10 * energy[1:].sum() / 8


@pytest.mark.parametrize("largest", [50, 2**12, 2**18])
def test_float32_is_used_if_it_is_exact_and_gives_the_same_weights(largest: int) -> None:
    """Weights equal those of float64, rounded to float32, bit for bit."""
    values = RNG.standard_normal((500, 1, 96)).astype(np.float32)
    basis = transform.make_klt_basis(transform.compute_moments(values))
    levels = RNG.integers(-largest, largest, size=(40, 96, 1)).astype(np.int32)
    integers = transform.inverse_transform(levels.reshape(40, 1, 96), basis)
    assert (integers.dtype == np.float32) == (largest <= 2**12)
    exact = levels.reshape(40, 96).astype(object) @ basis.matrix.astype(object)
    assert integers.reshape(40, 96).astype(np.int64).tolist() == exact.tolist()
    for step in (0.0625 * 1.3515625, 1e-36, 1e-42, 0.1):
        found = TransformDequantizer(step, basis).dequantize(levels, True).astype(np.float32)
        expected = (exact.astype(np.float64) * (step * 2.0**-basis.shift)).astype(np.float32)
        np.testing.assert_array_equal(found.reshape(40, 96).view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("basis", [transform.make_dct_basis(3, 3), transform.make_klt_basis(MOMENTS, 8)])
def test_the_integer_inverse_equals_that_of_the_twin(basis: transform.Basis) -> None:
    levels = RNG.integers(-(2**30), 2**30, size=(4, 3, 9)).astype(np.int32)
    assert transform.inverse_transform(levels, basis).tolist() == twin.inverse(levels.tolist(), basis.matrix.tolist())


@pytest.mark.parametrize(
    "basis", [transform.make_dct_basis(3, 3), transform.make_klt_basis(MOMENTS), transform.make_klt_basis(MOMENTS, 10)]
)
def test_a_basis_is_read_as_written(basis: transform.Basis) -> None:
    packed = transform.pack_basis(basis)
    parsed = transform.parse_basis(packed, 9)
    assert np.array_equal(parsed.matrix, basis.matrix)
    assert (parsed.shift, parsed.kind) == (basis.shift, basis.kind)
    assert len(packed) < 140


def test_damaged_bases_are_refused() -> None:
    for packed, error in (
        (b"", TruncatedError),
        (b"\0\3", CorruptError),
        (b"\0\2\5", CorruptError),
        (b"\7\3\3", UnsupportedError),
    ):
        with pytest.raises(error):
            transform.parse_basis(packed, 9)
    with pytest.raises(CorruptError):
        transform.parse_basis(b"\0\1\1", 1)


@given(st.binary(max_size=40))
def test_arbitrary_bases_are_decoded_or_refused(packed: bytes) -> None:
    try:
        basis = transform.parse_basis(packed, 9)
    except ContainerError:
        return
    assert basis.matrix.shape == (9, 9)
