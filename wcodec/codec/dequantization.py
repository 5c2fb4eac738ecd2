"""Dequantizers turn levels into weights; each class packs and parses its own bytes (`formats/wcz.md` section 5).

`dequantize(levels, single)` gives the values before they are rounded to the tensor's type; `single` means that float32
is enough (for float32 and bfloat16). `pack(out)` appends the parameters; `parse(data, at, context)`, its inverse, gives
the dequantizer and the position after it, or raises an error. A new dequantizer is a new class in `Dequantizer`.
"""

from __future__ import annotations

import struct
from typing import ClassVar, Self, get_args

import numpy as np

from wcodec.codec.codebook_bytes import pack_codebook, parse_codebook
from wcodec.codec.dequantizer_base import Levels, OneLevelAWeight, TensorContext
from wcodec.codec.layout import Shape3
from wcodec.codec.quantizers import product
from wcodec.codec.quantizers.hashing import hash_places
from wcodec.codec.quantizers.kmeans import Codebook, lookup
from wcodec.codec.quantizers.states import States, reconstruct
from wcodec.codec.quantizers.transform import Basis, inverse_transform, pack_basis, parse_basis, scale
from wcodec.codec.row_dequantizers import GroupDequantizer, PerRowDequantizer
from wcodec.container import wire
from wcodec.container.dtypes import Float32, Float64
from wcodec.container.wire import put_varint, take_byte, take_bytes, take_varint
from wcodec.errors import CorruptError, UnsupportedError
from wcodec.kernels import dequantize as kernel
from wcodec.model.dataclass import dataclass

_NO_BASIS = np.empty((0, 0))
_FEW_TAPS = 64
"""Larger bases are multiplied by a library's matrix product."""


@dataclass(frozen=True)
class CodebookDequantizer(OneLevelAWeight):
    """weight = codebook value of the level (Han et al. 2015)."""

    codebook: Codebook
    states: States = 0
    number: ClassVar[int] = wire.TABLE

    def dequantize(self, levels: Levels, single: bool) -> Float32 | Float64:
        return lookup(levels, self.codebook)

    def pack(self, out: bytearray) -> None:
        """Append the codebook. Inverse: `parse`."""
        pack_codebook(out, self.codebook)

    @classmethod
    def parse(cls, data: memoryview, at: int, context: TensorContext) -> tuple[Self, int]:
        codebook, at = parse_codebook(data, at)
        return cls(codebook), at


@dataclass(frozen=True)
class UniformDequantizer(OneLevelAWeight):
    """weight = step * q, where q is the level, or is reconstructed from it by a trellis of `states` states."""

    step: float
    states: States = 0
    number: ClassVar[int] = wire.STEP

    def dequantize(self, levels: Levels, single: bool) -> Float32 | Float64:
        weights = _allocate(levels, single)
        kernel.scale(np.ascontiguousarray(levels).reshape(-1), self.states, self.step, weights.reshape(-1))
        return weights

    def put(self, levels: Levels, tensor: Float32, first: int, distances: Shape3) -> None:
        """`dequantize` and `layout.scatter_rows` in one pass, into float32[n].

        distances: elements between neighbouring rows, channels and taps.
        """
        kernel.put(reconstruct(levels, self.states), _NO_BASIS, self.step, tensor, first, *distances)

    def pack(self, out: bytearray) -> None:
        """Append the step. Inverse: `parse`."""
        _pack_step(out, self.step)

    @classmethod
    def parse(cls, data: memoryview, at: int, context: TensorContext) -> tuple[Self, int]:
        step, at = _parse_step(data, at)
        return cls(step, context.states), at


@dataclass(frozen=True)
class TransformDequantizer(OneLevelAWeight):
    """Kernels, or rows of a matrix, in the domain of an integer basis: weight = step * 2**-shift * (q @ basis)."""

    step: float
    basis: Basis
    states: States = 0
    number: ClassVar[int] = wire.TRANSFORM

    def dequantize(self, levels: Levels, single: bool) -> Float32 | Float64:
        taps = len(self.basis.matrix)
        step = self.step * 2.0**-self.basis.shift
        if taps > _FEW_TAPS:
            vectors = reconstruct(levels, self.states).reshape(len(levels), -1, taps)
            return scale(inverse_transform(vectors, self.basis), step, single).reshape(levels.shape)
        weights, matrix = _allocate(levels, single), self.basis.matrix.astype(np.float64)
        kernel.turn(np.ascontiguousarray(levels).reshape(-1), self.states, matrix, step, weights.reshape(-1))
        return weights

    def put(self, levels: Levels, tensor: Float32, first: int, distances: Shape3) -> None:
        """As `UniformDequantizer.put`."""
        taps, (row, channel, tap) = len(self.basis.matrix), distances
        vectors = reconstruct(levels, self.states).reshape(len(levels), -1, taps)
        channel, tap = (channel, tap) if levels.shape[2] == taps else (0, channel)
        step = self.step * 2.0**-self.basis.shift
        if taps <= _FEW_TAPS:
            kernel.put(vectors, self.basis.matrix.astype(np.float64), step, tensor, first, row, channel, tap)
            return
        own = np.empty(vectors.shape, np.float32)
        lies = (row, tap) == (vectors[0].size, 1) and vectors.shape[1] == 1
        if lies:
            own = tensor[first * row : first * row + vectors.size].reshape(vectors.shape)
        weights = scale(inverse_transform(vectors, self.basis, own), step, True)
        if weights is not own:
            own[:] = weights
        if not lies:
            kernel.place(own.view(np.uint32), tensor.view(np.uint32), first, row, channel, tap)

    def pack(self, out: bytearray) -> None:
        """Append the step and the basis. Inverse: `parse`."""
        _pack_step(out, self.step)
        basis = pack_basis(self.basis)
        put_varint(out, len(basis))
        out += basis

    @classmethod
    def parse(cls, data: memoryview, at: int, context: TensorContext) -> tuple[Self, int]:
        step, at = _parse_step(data, at)
        length, at = take_varint(data, at)
        packed, at = take_bytes(data, at, length, "transform")
        return cls(step, parse_basis(bytes(packed), context.taps), context.states), at


@dataclass(frozen=True)
class TruncatedFloatDequantizer(OneLevelAWeight):
    """float32 values without their `shift` low mantissa bits. The relative precision is constant, so small entries
    stay.

    A level has the value's sign; its magnitude is the value's bits minus `offset`; level 0 is 0.0.
    """

    shift: int
    offset: int
    states: States = 0
    number: ClassVar[int] = wire.FLOAT

    def dequantize(self, levels: Levels, single: bool) -> Float32 | Float64:
        """Raises: CorruptError if a magnitude has more bits than a float32."""
        magnitude = np.where(levels, np.abs(levels.astype(np.int64)) + self.offset, 0) << self.shift
        if magnitude.size and int(magnitude.max()) >= 1 << 31:
            raise CorruptError("float rule: expected magnitudes under 2**31, got a larger one")
        bits = magnitude.astype(np.uint32) | np.where(levels < 0, np.uint32(1 << 31), np.uint32(0))
        return bits.view(np.float32)

    def pack(self, out: bytearray) -> None:
        """Append shift and offset. Inverse: `parse`."""
        out.append(self.shift)
        put_varint(out, self.offset)

    @classmethod
    def parse(cls, data: memoryview, at: int, context: TensorContext) -> tuple[Self, int]:
        shift, at = take_byte(data, at, "float rule")
        offset, at = take_varint(data, at)
        if shift > 23 or offset >> 31:
            raise CorruptError(f"float rule: expected a shift up to 23 and an offset of 31 bits, got {shift}, {offset}")
        return cls(shift, offset), at


@dataclass(frozen=True)
class ProductDequantizer(OneLevelAWeight):
    """A level stands for `block` weights of a row: product quantisation (Stock et al. 2020)."""

    codebook: product.ProductCodebook
    states: States = 0
    number: ClassVar[int] = wire.PRODUCT

    def level_shape(self, shape: Shape3) -> Shape3:
        """One level for each block of a row."""
        rows, channels, taps = shape
        return rows, -(-channels * taps // self.codebook.block), 1

    def dequantize(self, levels: Levels, single: bool) -> Float32 | Float64:
        """float64[rows, vectors, block]; rows may have padding, see `product.join_blocks`."""
        return product.lookup(levels[:, :, 0], self.codebook)

    def pack(self, out: bytearray) -> None:
        """Append the step and the vectors. Inverse: `parse`."""
        _pack_step(out, self.codebook.step)
        product.pack_codebook(out, self.codebook)

    @classmethod
    def parse(cls, data: memoryview, at: int, context: TensorContext) -> tuple[Self, int]:
        step, at = _parse_step(data, at)
        codebook, at = product.parse_codebook(data, at, step)
        return cls(codebook), at


@dataclass(frozen=True)
class HashedDequantizer(OneLevelAWeight):
    """A level stands for all weights whose positions a hash maps to its bucket (HashedNets, Chen et al. 2015).

    seed:        of the hash, 32 bits.
    buckets:     the number of levels.
    rows, width: of the layout of the tensor, which has one chunk.
    """

    step: float
    seed: int
    buckets: int
    rows: int
    width: int
    states: States = 0
    number: ClassVar[int] = wire.HASHED

    def level_shape(self, shape: Shape3) -> Shape3:
        """One level for each bucket."""
        return 1, self.buckets, 1

    def dequantize(self, levels: Levels, single: bool) -> Float32 | Float64:
        """float64[rows, width, 1]."""
        places, signs = hash_places(self.rows * self.width, self.seed, self.buckets)
        return (levels.reshape(-1)[places] * signs * np.float64(self.step)).reshape(self.rows, self.width, 1)

    def pack(self, out: bytearray) -> None:
        """Append the step, the seed and the number of buckets. Inverse: `parse`."""
        _pack_step(out, self.step)
        out += self.seed.to_bytes(4, "little")
        put_varint(out, self.buckets)

    @classmethod
    def parse(cls, data: memoryview, at: int, context: TensorContext) -> tuple[Self, int]:
        step, at = _parse_step(data, at)
        seed, at = take_bytes(data, at, 4, "hashing")
        buckets, at = take_varint(data, at)
        if not 1 <= buckets < context.rows * context.width:
            raise CorruptError(f"hashing: expected 1 bucket to fewer than the weights, got {buckets}")
        return cls(step, int.from_bytes(seed, "little"), buckets, context.rows, context.width), at


Dequantizer = (
    CodebookDequantizer
    | UniformDequantizer
    | TransformDequantizer
    | TruncatedFloatDequantizer
    | ProductDequantizer
    | PerRowDequantizer
    | GroupDequantizer
    | HashedDequantizer
)
DEQUANTIZERS: dict[int, type[Dequantizer]] = {kind.number: kind for kind in get_args(Dequantizer)}


def parse_dequantizer(data: memoryview, at: int, number: int, context: TensorContext) -> tuple[Dequantizer, int]:
    """The dequantizer with this number at `data[at:]`, and the position after it. Inverse: `pack` of each.

    Raises: CorruptError, TruncatedError, UnsupportedError.
    """
    if context.states and number not in {wire.STEP, wire.TRANSFORM}:
        raise CorruptError(f"rule {number}: expected no trellis states, got {context.states}")
    if number not in DEQUANTIZERS:
        raise UnsupportedError(f"rule {number} is not known to this version")
    return DEQUANTIZERS[number].parse(data, at, context)


def _pack_step(out: bytearray, step: float) -> None:
    """Append the reversed bytes as a varint, so that few mantissa bits are few bytes. Inverse: `_parse_step`."""
    put_varint(out, int.from_bytes(struct.pack(">f", step), "little"))


def _parse_step(data: memoryview, at: int) -> tuple[float, int]:
    """The step and the position after it. Inverse: `_pack_step`."""
    reversed_bytes, at = take_varint(data, at)
    step = struct.unpack(">f", (reversed_bytes & 0xFFFFFFFF).to_bytes(4, "little"))[0]
    if reversed_bytes >> 32 or not 0.0 < step < float("inf"):
        raise CorruptError(f"step: expected a positive float32, got 0x{reversed_bytes:x}")
    return float(step), at


def _allocate(levels: Levels, single: bool) -> Float32 | Float64:
    return np.empty(levels.shape, np.float32) if single else np.empty(levels.shape, np.float64)
