"""Kernels in a rotated basis, in which their taps are uncorrelated: fixed (DCT) or fitted to one tensor (KLT).

The rows of a tall matrix (an embedding) may have a KLT too, as kernels with one tap for each column.

A basis is a matrix of small integers, near-orthonormal after division by 2^shift. The encoder multiplies by its exact
inverse, the decoder by the integers: sums below 2^53, exact in float64 in any order, and mostly below 2^24, exact in
float32.
"""

from __future__ import annotations

from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from wcodec.codec.entropy import context
from wcodec.errors import CorruptError, TruncatedError, UnsupportedError
from wcodec.model.dataclass import dataclass

Value = TypeVar("Value", bound=np.generic)
DCT, KLT = 0, 1
MAX_TAPS = 512
MAX_SIDE = 16
DCT_SHIFT = 14
EXACT_IN_FLOAT32 = 1 << 24
# for each length n: 2^14 sqrt(1/n), then 2^14 sqrt(2/n) cos(pi m / 2n) for m = 0 .. n - 1
COSINES: tuple[tuple[int, ...], ...] = (
    (16384, 23170),
    (11585, 16384, 11585),
    (9459, 13377, 11585, 6689),
    (8192, 11585, 10703, 8192, 4433),
    (7327, 10362, 9855, 8383, 6091, 3202),
    (6689, 9459, 9137, 8192, 6689, 4730, 2448),
    (6193, 8758, 8538, 7890, 6847, 5460, 3800, 1949),
    (5793, 8192, 8035, 7568, 6811, 5793, 4551, 3135, 1598),
    (5461, 7723, 7606, 7258, 6689, 5917, 4965, 3862, 2642, 1341),
    (5181, 7327, 7237, 6969, 6529, 5928, 5181, 4307, 3326, 2264, 1146),
    (4940, 6986, 6915, 6703, 6355, 5877, 5280, 4575, 3777, 2902, 1968, 994),
    (4730, 6689, 6632, 6461, 6180, 5793, 5307, 4730, 4072, 3344, 2560, 1731, 873),
    (4544, 6426, 6379, 6240, 6009, 5690, 5289, 4810, 4261, 3651, 2986, 2279, 1538, 775),
    (4379, 6193, 6154, 6037, 5845, 5579, 5243, 4842, 4379, 3861, 3295, 2687, 2045, 1378, 693),
    (4230, 5983, 5950, 5852, 5690, 5465, 5181, 4840, 4446, 4003, 3516, 2991, 2433, 1849, 1244, 625),
    (4096, 5793, 5765, 5681, 5543, 5352, 5109, 4816, 4478, 4096, 3675, 3218, 2731, 2217, 1682, 1130, 568),
)


@dataclass(frozen=True)
class Basis:
    """Rows are the basis vectors that coefficients multiply.

    matrix: int64[taps, taps], |entry| <= 2^15.
    shift:  the number of fractional bits.
    kind:   DCT with `height` and `width`, or KLT.
    """

    matrix: npt.NDArray[np.int64]
    shift: int
    kind: int
    height: int = 0
    width: int = 0

    @cached_property
    def analysis(self) -> npt.NDArray[np.float64]:
        """The matrix that turns rows of values into coefficients: the inverse of the basis."""
        return np.linalg.inv(self.matrix / 2.0**self.shift).astype(np.float64, copy=False)


def transform(values: npt.NDArray[np.float32], basis: Basis) -> npt.NDArray[np.float32]:
    """Coefficients of float32[rows, channels, taps]; for the encoder. Inverse: `inverse_transform`."""
    coefficients = _flatten(values).astype(np.float64) @ basis.analysis
    return coefficients.astype(np.float32).reshape(values.shape)


def _flatten(values: npt.NDArray[Value]) -> npt.NDArray[Value]:
    """One matrix of all vectors, because numpy multiplies a stack of matrices one by one."""
    return values.reshape(-1, values.shape[-1])


def inverse_transform(
    coefficients: npt.NDArray[np.int32], basis: Basis, room: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32] | npt.NDArray[np.float64]:
    """Integers, exact in float[rows, channels, taps]: the taps in units of 1 / 2^shift. Inverse: `transform`.

    float32, and then in `room` if there is any, where no sum of magnitudes reaches 2^24: every product and every sum is
    exact in it as well.
    """
    largest = max(int(coefficients.max(initial=0)), -int(coefficients.min(initial=0)))
    single = largest * int(np.abs(basis.matrix).sum(0).max(initial=0)) < EXACT_IN_FLOAT32
    flat = _flatten(coefficients)
    if single:
        short = np.empty(coefficients.shape, np.float32) if room is None else room
        np.matmul(flat.astype(np.float32), basis.matrix.astype(np.float32), out=_flatten(short))
        return short
    exact: npt.NDArray[np.float64] = flat.astype(np.float64) @ basis.matrix.astype(np.float64)
    return exact.reshape(coefficients.shape)


def scale(
    integers: npt.NDArray[np.float32] | npt.NDArray[np.float64], step: float, single: bool
) -> npt.NDArray[np.float32] | npt.NDArray[np.float64]:
    """The products with a step, rounded once: in float32 if that is enough and exact for both factors.

    May overwrite.
    """
    if single and integers.dtype == np.float32 and float(np.float32(step)) == step:
        with np.errstate(over="ignore", under="ignore"):
            return np.multiply(integers, np.float32(step), out=integers)
    return integers.astype(np.float64, copy=False) * step


def make_dct_basis(height: int, width: int) -> Basis:
    """The orthonormal type II cosine basis of a height x width kernel, low frequencies first; integers from a table."""
    rows, columns = _compute_cosines(height), _compute_cosines(width)
    order = sorted(((u, v) for u in range(height) for v in range(width)), key=lambda f: (f[0] + f[1], f))
    half = 1 << DCT_SHIFT - 1
    matrix = np.array(
        [(np.multiply.outer(rows[u], columns[v]) + half >> DCT_SHIFT).ravel() for u, v in order], np.int64
    )
    return Basis(matrix, DCT_SHIFT, DCT, height, width)


def _compute_cosines(n: int) -> npt.NDArray[np.int64]:
    """The orthonormal DCT-II matrix of length n <= 16 in 1 / 2^14: row = frequency."""
    flat, *quarter = COSINES[n - 1]
    matrix = np.full((n, n), flat, np.int64)
    for u in range(1, n):
        for x in range(n):
            m = u * (2 * x + 1) % (4 * n)
            m = min(m, 4 * n - m)
            matrix[u, x] = 0 if m == n else quarter[m] if m < n else -quarter[2 * n - m]
    return matrix


def compute_moments(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """float64[taps, taps] of float32[..., taps]; those of parts can be added."""
    flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
    moments: npt.NDArray[np.float64] = flat.T @ flat
    return moments


def make_klt_basis(moments: npt.NDArray[np.float64], shift: int = 7) -> Basis:
    """The principal axes of vectors with these second moments, most energy first, rounded to 1 / 2^shift."""
    energy, vectors = np.linalg.eigh(moments)
    rows = vectors.T[np.argsort(-energy, kind="stable")]
    # the sign of an axis is arbitrary; this choice does not depend on the last bit of a symmetric one
    signs = np.where(rows @ np.sqrt(np.arange(1, len(rows) + 1)) < 0, -1, 1)
    matrix = np.rint(rows * signs[:, None] * 2**shift).astype(np.int64)
    return Basis(matrix, shift, KLT)


def pack_basis(basis: Basis) -> bytes:
    """The bytes of a basis: kind, then height and width, or the shift and the coded entries. Inverse: `parse_basis`."""
    if basis.kind == DCT:
        return bytes((DCT, basis.height, basis.width))
    entries = basis.matrix.astype(np.int32).reshape(*basis.matrix.shape, 1)
    return bytes((KLT, basis.shift)) + context.encode(entries, effort="fast")


def parse_basis(packed: bytes, taps: int) -> Basis:
    """The basis of kernels of `taps` taps. Raises: ContainerError. Inverse: `pack_basis`."""
    if not packed:
        raise TruncatedError("transform: ended early; needed its kind")
    if not 1 < taps <= MAX_TAPS:
        raise CorruptError(f"transform: expected a kernel of 2 to {MAX_TAPS} taps, got {taps}")
    if packed[0] == DCT:
        if len(packed) != 3:
            raise CorruptError(f"transform: expected 3 bytes, got {len(packed)}")
        height, width = packed[1], packed[2]
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and height * width == taps):
            raise CorruptError(f"transform: expected the sides of a kernel of {taps} taps, got {height} x {width}")
        return make_dct_basis(height, width)
    if packed[0] != KLT:
        raise UnsupportedError(f"transform: expected kind {DCT} or {KLT}, got {packed[0]}")
    if len(packed) < 2 or packed[1] > 15:
        raise CorruptError("transform: expected a shift of at most 15 after the kind")
    matrix = context.decode(packed[2:], (taps, taps, 1)).reshape(taps, taps).astype(np.int64)
    if np.abs(matrix).max() > 1 << 15:
        raise CorruptError(f"transform: expected entries of at most 32768, got {np.abs(matrix).max()}")
    return Basis(matrix, packed[1], KLT)
