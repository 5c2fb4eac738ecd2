"""How levels become weights: the few rules on disk of `formats/wcz.md` section 5, each with its bytes.

`weights(levels, single)` gives the values before the rounding to the tensor's type; `single` says that float32 is
enough (the type is float32 or bfloat16).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from wcodec.codec.layout import Shape3
from wcodec.codec.quantizers import product
from wcodec.codec.quantizers.kmeans import Codebook, lookup
from wcodec.codec.quantizers.transform import Basis, inverse_transform
from wcodec.codec.quantizers.trellis import States, reconstruct
from wcodec.container.dtypes import Float32, Float64
from wcodec.errors import CorruptError
from wcodec.kernels import dequantize as kernel

Levels = npt.NDArray[np.int32]
_EXACT_IN_FLOAT32 = 1 << 24
_FEW_TAPS = 64
"""Larger bases are for a library's matrix product."""


@dataclass(frozen=True)
class CodebookDequantizer:
    """weight = codebook value of the level (Han et al. 2015)."""

    codebook: Codebook
    states: States = 0

    def dequantize(self, levels: Levels, single: bool) -> Float32 | Float64:
        return lookup(levels, self.codebook)


@dataclass(frozen=True)
class UniformDequantizer:
    """weight = step * q, where q is the level, or follows from it by the trellis of `states` states."""

    step: float
    states: States = 0

    def dequantize(self, levels: Levels, single: bool) -> Float32 | Float64:
        weights = _empty(levels, single)
        kernel.scale(np.ascontiguousarray(levels).reshape(-1), self.states, self.step, weights.reshape(-1))
        return weights


@dataclass(frozen=True)
class TransformDequantizer:
    """Kernels, or rows of a matrix, in the domain of an integer basis: weight = step * 2**-shift * (q @ basis)."""

    step: float
    basis: Basis
    states: States = 0

    def dequantize(self, levels: Levels, single: bool) -> Float32 | Float64:
        taps = len(self.basis.matrix)
        step = self.step * 2.0**-self.basis.shift
        if taps > _FEW_TAPS:
            vectors = reconstruct(levels, self.states).reshape(len(levels), -1, taps)
            return (inverse_transform(vectors, self.basis) * step).reshape(levels.shape)
        weights, matrix = _empty(levels, single), self.basis.matrix.astype(np.float64)
        kernel.turn(np.ascontiguousarray(levels).reshape(-1), self.states, matrix, step, weights.reshape(-1))
        return weights


@dataclass(frozen=True)
class TruncatedFloatDequantizer:
    """float32 values without their `shift` low mantissa bits: relative precision, so that small entries stay.

    A level has the value's sign; its magnitude is that of the value's bits less `offset`, and 0 is 0.0.
    """

    shift: int
    offset: int
    states: States = 0

    def dequantize(self, levels: Levels, single: bool) -> Float32 | Float64:
        """Raises: CorruptError where a magnitude has more bits than a float32."""
        magnitude = np.where(levels, np.abs(levels.astype(np.int64)) + self.offset, 0) << self.shift
        if magnitude.size and int(magnitude.max()) >= 1 << 31:
            raise CorruptError("float rule: expected magnitudes under 2**31, got a larger one")
        bits = magnitude.astype(np.uint32) | np.where(levels < 0, np.uint32(1 << 31), np.uint32(0))
        return bits.view(np.float32)


@dataclass(frozen=True)
class ProductDequantizer:
    """A level stands for `block` weights of a row: product quantisation (Stock et al. 2020)."""

    codebook: product.ProductCodebook
    states: States = 0

    def dequantize(self, levels: Levels, single: bool) -> Float32 | Float64:
        """float64[rows, vectors, block]: rows may be longer than they should be; see `trim_blocks`."""
        return product.lookup(levels[:, :, 0], self.codebook)


@dataclass(frozen=True, eq=False)
class PerRowDequantizer:
    """weight = the row's step * level: affine integers less their zero point, or signs (`quantize.affine`).

    steps: float32[rows of the tensor, or of one chunk], positive.
    """

    steps: Float32
    states: States = 0

    def dequantize(self, levels: Levels, single: bool) -> Float32 | Float64:
        steps = self.steps.reshape(-1, 1, 1)
        if single and levels.size and -_EXACT_IN_FLOAT32 <= int(levels.min()) <= int(levels.max()) <= _EXACT_IN_FLOAT32:
            return np.multiply(levels, steps, dtype=np.float32)
        return np.multiply(levels, steps, dtype=np.float64)


Dequantizer = (
    CodebookDequantizer
    | UniformDequantizer
    | TransformDequantizer
    | TruncatedFloatDequantizer
    | ProductDequantizer
    | PerRowDequantizer
)


def level_shape(dequantizer: Dequantizer, shape: Shape3) -> Shape3:
    """Shape of the levels of weights[rows, channels, taps]: the same, or one level for each block of a row."""
    rows, channels, taps = shape
    return (
        (rows, -(-channels * taps // dequantizer.codebook.block), 1)
        if isinstance(dequantizer, ProductDequantizer)
        else shape
    )


def trim_blocks(weights: npt.NDArray[np.floating], shape: Shape3) -> npt.NDArray[np.floating]:
    """What `weights` gives, as [rows, channels, taps]: without what blocks have behind the end of a row."""
    if weights.shape == shape:
        return weights
    rows, channels, taps = shape
    return np.ascontiguousarray(weights.reshape(rows, -1)[:, : channels * taps]).reshape(shape)


def dequantizer_of_rows(dequantizer: Dequantizer, start: int, count: int) -> Dequantizer:
    """The rule of a chunk of `count` units from `start` on."""
    return (
        replace(dequantizer, steps=dequantizer.steps[start : start + count])
        if isinstance(dequantizer, PerRowDequantizer)
        else dequantizer
    )


def round_step(step: float) -> float:
    """The nearest positive step that takes three bytes: a float32 of eight mantissa bits."""
    bits = int(np.float32(step).view(np.uint32))
    rounded = min(max(bits + 0x8000 >> 16, 1), 0x7F7F) << 16
    return float(np.uint32(rounded).view(np.float32))


def _empty(levels: Levels, single: bool) -> Float32 | Float64:
    return np.empty(levels.shape, np.float32) if single else np.empty(levels.shape, np.float64)
