"""How levels become weights: the few rules on disk of `formats/wcz.md` section 5, each with its bytes.

`weights(levels, single)` gives the values before the rounding to the tensor's type; `single` says that float32 is
enough (the type is float32 or bfloat16).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wcodec.errors import CorruptError, TruncatedError, UnsupportedError
from wcodec.floats import Float32, Float64
from wcodec.layout import Shape3
from wcodec.quantize import product
from wcodec.quantize.kmeans import Codebook, lookup
from wcodec.quantize.transform import Basis, inverse, pack_basis, parse_basis
from wcodec.quantize.trellis import States, reconstruct
from wcodec.wire import FLOAT, PRODUCT, STEP, TABLE, TRANSFORM, put_varint, take_varint

Levels = npt.NDArray[np.int32]
_EXACT_IN_FLOAT32 = 1 << 24


@dataclass(frozen=True)
class Table:
    """weight = codebook value of the level (Han et al. 2015)."""

    codebook: Codebook
    states: States = 0

    def weights(self, levels: Levels, single: bool) -> Float32 | Float64:
        return lookup(levels, self.codebook)


@dataclass(frozen=True)
class Step:
    """weight = step * q, where q is the level, or follows from it by the trellis of `states` states."""

    step: float
    states: States = 0

    def weights(self, levels: Levels, single: bool) -> Float32 | Float64:
        return _scaled(reconstruct(levels, self.states), self.step, single)


@dataclass(frozen=True)
class Transform:
    """Kernels, or rows of a matrix, in the domain of an integer basis: weight = step * 2**-shift * (q @ basis)."""

    step: float
    basis: Basis
    states: States = 0

    def weights(self, levels: Levels, single: bool) -> Float32 | Float64:
        vectors = reconstruct(levels, self.states).reshape(len(levels), -1, len(self.basis.matrix))
        return (inverse(vectors, self.basis) * (self.step * 2.0**-self.basis.shift)).reshape(levels.shape)


@dataclass(frozen=True)
class Float:
    """float32 values without their `shift` low mantissa bits: relative precision, so that small entries stay.

    A level has the value's sign; its magnitude is that of the value's bits less `offset`, and 0 is 0.0.
    """

    shift: int
    offset: int
    states: States = 0

    def weights(self, levels: Levels, single: bool) -> Float32 | Float64:
        """Raises: CorruptError where a magnitude has more bits than a float32."""
        magnitude = np.where(levels, np.abs(levels.astype(np.int64)) + self.offset, 0) << self.shift
        if magnitude.size and int(magnitude.max()) >= 1 << 31:
            raise CorruptError("float rule: expected magnitudes under 2**31, got a larger one")
        bits = magnitude.astype(np.uint32) | np.where(levels < 0, np.uint32(1 << 31), np.uint32(0))
        return bits.view(np.float32)


@dataclass(frozen=True)
class Product:
    """A level stands for `block` weights of a row: product quantisation (Stock et al. 2020)."""

    codebook: product.Vectors
    states: States = 0

    def weights(self, levels: Levels, single: bool) -> Float32 | Float64:
        """float64[rows, vectors, block]: rows may be longer than they should be; see `in_shape`."""
        return product.lookup(levels[:, :, 0], self.codebook)


Rule = Table | Step | Transform | Float | Product
_IDS = {Table: TABLE, Step: STEP, Transform: TRANSFORM, Float: FLOAT, Product: PRODUCT}


def level_shape(rule: Rule, shape: Shape3) -> Shape3:
    """Shape of the levels of weights[rows, channels, taps]: the same, or one level for each block of a row."""
    rows, channels, taps = shape
    return (rows, -(-channels * taps // rule.codebook.block), 1) if isinstance(rule, Product) else shape


def in_shape(weights: npt.NDArray[np.floating], shape: Shape3) -> npt.NDArray[np.floating]:
    """What `weights` gives, as [rows, channels, taps]: without what blocks have behind the end of a row."""
    if weights.shape == shape:
        return weights
    rows, channels, taps = shape
    return np.ascontiguousarray(weights.reshape(rows, -1)[:, : channels * taps]).reshape(shape)


def rule_id(rule: Rule) -> int:
    """The rule's number on disk."""
    return _IDS[type(rule)]


def pack_rule(out: bytearray, rule: Rule) -> None:
    """Append the rule's own parameters. Inverse: `parse_rule`."""
    match rule:
        case Table():
            _pack_codebook(out, rule.codebook)
        case Step():
            _pack_step(out, rule.step)
        case Transform():
            _pack_step(out, rule.step)
            basis = pack_basis(rule.basis)
            put_varint(out, len(basis))
            out += basis
        case Float():
            out.append(rule.shift)
            put_varint(out, rule.offset)
        case Product():
            _pack_step(out, rule.codebook.step)
            product.pack_vectors(out, rule.codebook)


def parse_rule(data: memoryview, at: int, number: int, states: States, taps: int) -> tuple[Rule, int]:
    """The rule at `data[at:]` and the position behind it. Inverse: `pack_rule`.

    taps: of the kernels, or channels of a matrix, which the transform's basis turns.
    Raises: CorruptError, TruncatedError, UnsupportedError.
    """
    if states and number not in {STEP, TRANSFORM}:
        raise CorruptError(f"rule {number}: expected no trellis states, got {states}")
    if number == TABLE:
        codebook, at = _parse_codebook(data, at)
        return Table(codebook), at
    if number == STEP:
        step, at = _parse_step(data, at)
        return Step(step, states), at
    if number == TRANSFORM:
        step, at = _parse_step(data, at)
        length, at = take_varint(data, at)
        if at + length > len(data):
            raise TruncatedError(f"transform: ended early; needed {at + length - len(data)} more bytes")
        return Transform(step, parse_basis(bytes(data[at : at + length]), taps), states), at + length
    if number == FLOAT:
        if at >= len(data):
            raise TruncatedError("float rule: ended early; needed its shift")
        shift = data[at]
        offset, at = take_varint(data, at + 1)
        if shift > 23 or offset >> 31:
            raise CorruptError(f"float rule: expected a shift up to 23 and an offset of 31 bits, got {shift}, {offset}")
        return Float(shift, offset), at
    if number == PRODUCT:
        step, at = _parse_step(data, at)
        vectors, at = product.parse_vectors(data, at, step)
        return Product(vectors), at
    raise UnsupportedError(f"rule {number} is not known to this version")


def round_step(step: float) -> float:
    """The nearest positive step that takes three bytes: a float32 of eight mantissa bits."""
    bits = int(np.float32(step).view(np.uint32))
    rounded = min(max(bits + 0x8000 >> 16, 1), 0x7F7F) << 16
    return float(np.uint32(rounded).view(np.float32))


def _scaled(integers: npt.NDArray[np.signedinteger], scale: float, single: bool) -> Float32 | Float64:
    """f64(integer) * f64(scale); by float32 alone where only that is wanted and one rounding gives the same."""
    if single and integers.dtype == np.int32 and float(np.float32(scale)) == scale:
        low, high = (int(integers.min()), int(integers.max())) if integers.size else (0, 0)
        if low >= -_EXACT_IN_FLOAT32 and high <= _EXACT_IN_FLOAT32:
            return integers.astype(np.float32) * np.float32(scale)
    return integers.astype(np.float64) * scale


def _pack_step(out: bytearray, step: float) -> None:
    put_varint(out, int.from_bytes(struct.pack(">f", step), "little"))


def _parse_step(data: memoryview, at: int) -> tuple[float, int]:
    turned, at = take_varint(data, at)
    step = struct.unpack(">f", (turned & 0xFFFFFFFF).to_bytes(4, "little"))[0]
    if turned >> 32 or not 0.0 < step < float("inf"):
        raise CorruptError(f"step: expected a positive float32, got 0x{turned:x}")
    return float(step), at


def _pack_codebook(out: bytearray, codebook: Codebook) -> None:
    values = np.delete(codebook.values, codebook.negatives)
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    half = bool(np.array_equal(halves.astype(np.float32), values))
    put_varint(out, codebook.negatives)
    put_varint(out, codebook.values.size)
    out.append(2 if half else 4)
    out += (halves.astype("<f2") if half else values.astype("<f4")).tobytes()


def _parse_codebook(data: memoryview, at: int) -> tuple[Codebook, int]:
    negatives, at = take_varint(data, at)
    size, at = take_varint(data, at)
    if not negatives < size <= 1 << 20 or at >= len(data):
        raise CorruptError(f"codebook: expected {negatives} negatives among at most 2**20 values, got {size}")
    width = data[at]
    if width not in {2, 4}:
        raise CorruptError(f"codebook: expected values of 2 or 4 bytes, got {width}")
    end = at + 1 + (size - 1) * width
    if end > len(data):
        raise TruncatedError(f"codebook: ended early; needed {end - len(data)} more bytes")
    values = np.frombuffer(data[at + 1 : end], dtype=f"<f{width}").astype(np.float32)
    values = np.insert(values, negatives, np.float32(0.0))
    # A NaN fails this comparison, as it should.
    if not bool(np.all(values[:-1] <= values[1:])):
        raise CorruptError("codebook: expected ascending values")
    return Codebook(negatives, values), end
