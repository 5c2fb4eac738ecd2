"""The parameters of rules as bytes: a step, a step a row, a codebook. Readers raise what is corrupt."""

from __future__ import annotations

import struct

import numpy as np

from wcodec.codec import lossless
from wcodec.codec.dequantization import (
    CodebookDequantizer,
    Dequantizer,
    PerRowDequantizer,
    ProductDequantizer,
    TransformDequantizer,
    TruncatedFloatDequantizer,
    UniformDequantizer,
)
from wcodec.codec.quantizers import product
from wcodec.codec.quantizers.affine import is_short
from wcodec.codec.quantizers.kmeans import Codebook
from wcodec.codec.quantizers.transform import pack_basis, parse_basis
from wcodec.codec.quantizers.trellis import States
from wcodec.container.dtypes import Float32
from wcodec.container.wire import FLOAT, PRODUCT, ROWS, STEP, TABLE, TRANSFORM, put_varint, take_varint
from wcodec.errors import CorruptError, TruncatedError, UnsupportedError


def pack_step(out: bytearray, step: float) -> None:
    """Bytes reversed, so that few mantissa bits are few bytes. Inverse: `parse_step`."""
    put_varint(out, int.from_bytes(struct.pack(">f", step), "little"))


def parse_step(data: memoryview, at: int) -> tuple[float, int]:
    """The step and the position behind it. Inverse: `pack_step`."""
    turned, at = take_varint(data, at)
    step = struct.unpack(">f", (turned & 0xFFFFFFFF).to_bytes(4, "little"))[0]
    if turned >> 32 or not 0.0 < step < float("inf"):
        raise CorruptError(f"step: expected a positive float32, got 0x{turned:x}")
    return float(step), at


def pack_steps(out: bytearray, steps: Float32) -> None:
    """The upper halves where they are enough, or all of the float32, as a lossless payload. Inverse: `parse_steps`."""
    halves = (np.ascontiguousarray(steps, "<f4").view("<u4") >> 16).astype("<u2")
    width = 2 if is_short(steps) else 4
    payload = lossless.encode(halves if width == 2 else steps.astype("<f4"), width)
    out.append(width)
    put_varint(out, len(payload))
    out += payload


def parse_steps(data: memoryview, at: int, rows: int) -> tuple[Float32, int]:
    """float32[rows] and the position behind them. Inverse: `pack_steps`."""
    if at >= len(data):
        raise TruncatedError("steps: ended early; needed their width")
    width = data[at]
    length, at = take_varint(data, at + 1)
    if width not in {2, 4}:
        raise CorruptError(f"steps: expected 2 or 4 bytes each, got {width}")
    if at + length > len(data):
        raise TruncatedError(f"steps: ended early; needed {at + length - len(data)} more bytes")
    raw = lossless.decode(bytes(data[at : at + length]), rows * width, width)
    bits = np.frombuffer(raw, f"<u{width}").astype(np.uint32)
    steps = (bits << 16 if width == 2 else bits).view(np.float32)
    # A NaN fails this comparison, as it should.
    if not bool(np.all((steps > 0) & (steps < np.inf))):
        raise CorruptError("steps: expected positive numbers")
    return steps, at + length


def pack_codebook(out: bytearray, codebook: Codebook) -> None:
    """As float16 where that is exact; the 0.0 is left out. Inverse: `parse_codebook`."""
    values = np.delete(codebook.values, codebook.negatives)
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    half = bool(np.array_equal(halves.astype(np.float32), values))
    put_varint(out, codebook.negatives)
    put_varint(out, codebook.values.size)
    out.append(2 if half else 4)
    out += (halves.astype("<f2") if half else values.astype("<f4")).tobytes()


def parse_codebook(data: memoryview, at: int) -> tuple[Codebook, int]:
    """The codebook and the position behind it. Inverse: `pack_codebook`."""
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


_IDS = {
    CodebookDequantizer: TABLE,
    UniformDequantizer: STEP,
    TransformDequantizer: TRANSFORM,
    TruncatedFloatDequantizer: FLOAT,
    ProductDequantizer: PRODUCT,
    PerRowDequantizer: ROWS,
}


def dequantizer_id(dequantizer: Dequantizer) -> int:
    """The rule's number on disk."""
    return _IDS[type(dequantizer)]


def pack_dequantizer(out: bytearray, dequantizer: Dequantizer) -> None:
    """Append the rule's own parameters. Inverse: `parse_dequantizer`."""
    match dequantizer:
        case CodebookDequantizer():
            pack_codebook(out, dequantizer.codebook)
        case UniformDequantizer():
            pack_step(out, dequantizer.step)
        case TransformDequantizer():
            pack_step(out, dequantizer.step)
            basis = pack_basis(dequantizer.basis)
            put_varint(out, len(basis))
            out += basis
        case TruncatedFloatDequantizer():
            out.append(dequantizer.shift)
            put_varint(out, dequantizer.offset)
        case ProductDequantizer():
            pack_step(out, dequantizer.codebook.step)
            product.pack_codebook(out, dequantizer.codebook)
        case PerRowDequantizer():
            pack_steps(out, dequantizer.steps)


def parse_dequantizer(
    data: memoryview, at: int, number: int, states: States, taps: int, rows: int
) -> tuple[Dequantizer, int]:
    """The rule at `data[at:]` and the position behind it. Inverse: `pack_dequantizer`.

    taps: of the kernels, or channels of a matrix, which the transform's basis turns; rows: of the layout.
    Raises: CorruptError, TruncatedError, UnsupportedError.
    """
    if states and number not in {STEP, TRANSFORM}:
        raise CorruptError(f"rule {number}: expected no trellis states, got {states}")
    if number == TABLE:
        codebook, at = parse_codebook(data, at)
        return CodebookDequantizer(codebook), at
    if number == STEP:
        step, at = parse_step(data, at)
        return UniformDequantizer(step, states), at
    if number == TRANSFORM:
        step, at = parse_step(data, at)
        length, at = take_varint(data, at)
        if at + length > len(data):
            raise TruncatedError(f"transform: ended early; needed {at + length - len(data)} more bytes")
        return TransformDequantizer(step, parse_basis(bytes(data[at : at + length]), taps), states), at + length
    if number == FLOAT:
        if at >= len(data):
            raise TruncatedError("float rule: ended early; needed its shift")
        shift = data[at]
        offset, at = take_varint(data, at + 1)
        if shift > 23 or offset >> 31:
            raise CorruptError(f"float rule: expected a shift up to 23 and an offset of 31 bits, got {shift}, {offset}")
        return TruncatedFloatDequantizer(shift, offset), at
    if number == PRODUCT:
        step, at = parse_step(data, at)
        vectors, at = product.parse_codebook(data, at, step)
        return ProductDequantizer(vectors), at
    if number == ROWS:
        steps, at = parse_steps(data, at, rows)
        return PerRowDequantizer(steps), at
    raise UnsupportedError(f"rule {number} is not known to this version")
