"""Exact floats and integers by contexts: exponent, sign and leading digits are range coded; the other digits are raw.

Contexts: exponents are coded given the magnitudes of row, column and tap; signs and leading digits given a linear
          prediction if there is one (taps of a kernel from earlier taps, columns of a tall matrix from earlier
          columns); zeros at the end of a mantissa given the exponent, or once a row.
"""

from __future__ import annotations

from math import prod
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.codec.lossless.predictors import (
    COEF_BITS,
    LEAST_GAIN,
    Coefs,
    Counts,
    Values,
    fit_neighbours,
    fit_taps,
    grid_of,
    usual_exponent,
)
from wcodec.codec.lossless.views import FLOAT_KINDS, INTEGER, MOST_TAPS, Kind, View, kernel_view, matrix_view
from wcodec.container.wire import put_varint, take_bytes, take_varint
from wcodec.errors import CorruptError, TruncatedError, UnsupportedError
from wcodec.kernels.numeric import coder as kernel
from wcodec.model.dataclass import dataclass, replace

Words = npt.NDArray[np.unsignedinteger]
Bytes = npt.NDArray[np.uint8]

OUTERMOST, PREDICTED, SPARSE, SHARED, GRID = 1, 2, 4, 8, 16
"""Flags in the file."""
LEAST_SHARED: Final = 4
"""The smallest number of trailing zeros that the mantissas of a row share."""
TALL: Final = 16
"""Columns are predicted in matrices with at least this ratio of rows to columns."""
LEAST_NOTHING: Final = 16
"""Zeros get a flag if there is more than one in this many numbers."""
FEWEST: Final = 1024
"""The smallest number of values for which a predictor is tried."""
FEWEST_COLUMNS: Final = 32
"""The smallest number of columns for which a predictor is tried."""
SAMPLE: Final = 1 << 17
"""The sample of kernels or rows for a predictor has about this many numbers, and 24 for each coefficient and tap."""
NO_COEFS: Final[Coefs] = np.empty((0, 0), np.int16)


@dataclass(frozen=True)
class NumericParams:
    """The parameters before the numbers.

    middle: the exponent of a usual number.
    offset: for integers: the value that stands for zero.
    grid:   classes of exponents whose trailing zeros of the mantissa are coded, one bit each.
    """

    kind: Kind
    view: View
    middle: int
    offset: int = 0
    predicted: bool = False
    sparse: bool = False
    shared: bool = False
    grid: int = 0

    def for_kernel(self) -> kernel.Params:
        """The parameters as arguments of the kernel."""
        kind, view = self.kind, self.view
        return kernel.Params(
            exponent_bits=kind.exponent_bits, mantissa_bits=kind.mantissa_bits, middle=self.middle, offset=self.offset,
            rows=view.rows, channels=view.channels, taps=view.taps, outermost=view.outermost,
            predicted=self.predicted, sparse=self.sparse, shared=self.shared, grid=self.grid,
        )  # fmt: skip


def encode(words: Words, kind: Kind, shape: tuple[int, ...], limit: int = 0) -> bytes | None:
    """The numbers `words`, at least one, of a tensor of `shape`. Inverse: `decode`.

    None if the coded part would exceed `limit` bytes (0: those of the words).
    """
    params, zeros, coefs = _choose_params(words, kind, shape)
    head = bytearray(_pack(params))
    coded, raw = np.empty(limit or words.nbytes, np.uint8), np.empty(words.nbytes + 8, np.uint8)
    used, bits = kernel.encode(words, params.for_kernel(), coefs, zeros, coded, raw)
    if used < 0:
        return None
    put_varint(head, used)
    return b"".join((head, coded[:used].data, raw[: (bits + 7) // 8].data))


def decode(payload: memoryview, words: Words) -> None:
    """Fill `words`, at least one. Inverse: `encode`.

    Raises: TruncatedError, CorruptError, UnsupportedError.
    """
    params, at = _parse(payload, len(words), words.itemsize)
    used, at = take_varint(payload, at)
    take_bytes(payload, at, used, "numbers")
    rest = np.frombuffer(payload, np.uint8)[at:]
    taps = params.view.taps
    coefs = np.zeros((2 if taps == 1 else taps, taps), np.int16) if params.predicted else NO_COEFS
    fault, bits = kernel.decode(rest[:used], rest[used:], params.for_kernel(), coefs, words)
    if fault:
        problem = "ended early" if fault == 1 else "expected numbers as the coder writes them, got others"
        raise (TruncatedError if fault == 1 else CorruptError)(f"numbers: {problem}")
    spare = rest[used + bits // 8 :]
    if len(spare) != (bits % 8 > 0) or (len(spare) and spare[0] >> bits % 8):
        raise CorruptError(f"numbers: expected {bits} raw bits, got {len(rest) - used} bytes")


def item_bytes_of(payload: memoryview, item_bytes: int) -> int:
    """Bytes of a word of `payload` for elements of `item_bytes`; complex numbers are pairs of words."""
    number = payload[0] if len(payload) else INTEGER
    size = FLOAT_KINDS[number].item_bytes if number < INTEGER else item_bytes
    return size if item_bytes == 2 * size else item_bytes


def _pack(params: NumericParams) -> bytearray:
    """Inverse: `_parse`."""
    view = params.view
    flags = OUTERMOST * view.outermost | PREDICTED * params.predicted | SPARSE * params.sparse | SHARED * params.shared
    out = bytearray((params.kind.id, flags | GRID * (params.grid > 0)))
    for value in (view.rows, view.channels, view.taps, params.middle):
        put_varint(out, value)
    if params.kind.id == INTEGER:
        put_varint(out, params.offset)
    if params.grid:
        out += params.grid.to_bytes(4, "little")
    return out


def _parse(payload: memoryview, count: int, item_bytes: int) -> tuple[NumericParams, int]:
    """The parameters and the position after them. Inverse: `_pack`."""
    number, flags = take_bytes(payload, 0, 2, "numbers")[0]
    if number > INTEGER or flags >> 5:
        raise UnsupportedError(f"numbers: expected kind 0 to 6 and flags below 32, got {number} and {flags}")
    kind = Kind(INTEGER, item_bytes) if number == INTEGER else FLOAT_KINDS[number]
    at, fields = 2, []
    for _ in range(5 if number == INTEGER else 4):
        field, at = take_varint(payload, at)
        fields.append(field)
    rows, channels, taps, middle, *offset = fields
    grid = 0
    if flags & GRID:
        grid, at = int.from_bytes(payload[at : at + 4], "little"), at + 4
    params = NumericParams(
        kind, View(rows, channels, taps, bool(flags & OUTERMOST)), middle, offset[0] if offset else 0,
        bool(flags & PREDICTED), bool(flags & SPARSE), bool(flags & SHARED), grid,
    )  # fmt: skip
    if kind.item_bytes != item_bytes or prod((rows, channels, taps)) != count or taps > MOST_TAPS:
        raise CorruptError(f"numbers: expected {count} of {item_bytes} bytes, got {fields[:3]} of kind {number}")
    broken = middle >= kind.exponents or params.offset >> 8 * item_bytes or (params.sparse and taps > 1)
    if broken or bool(flags & GRID) != (grid > 0) or (number == INTEGER and (params.shared or grid)):
        raise CorruptError(f"numbers: expected parameters that its kind allows, got {payload[: min(at, 24)].hex()}")
    return params, at


def _choose_params(words: Words, kind: Kind, shape: tuple[int, ...]) -> tuple[NumericParams, Bytes, Coefs]:
    """The parameters, the trailing zeros that the mantissas of each row share, and the predictor's coefficients."""
    params = NumericParams(kind, kernel_view(shape) or matrix_view(shape), 0, 0 if kind.signed else _find_median(words))
    counts, zeros = _count_zeros(words, params)
    nothing = int(counts[0].sum() if kind.id == INTEGER else counts[0, -1])
    sparse = LEAST_NOTHING * nothing > len(words)
    if sparse and params.view.taps > 1:
        params = replace(params, view=matrix_view(shape))
        counts, zeros = _count_zeros(words, params)
    params = replace(params, middle=usual_exponent(counts), sparse=sparse)
    if kind.id != INTEGER:
        parts = []
        found = np.zeros(kind.digits + 1, np.bool_)  # np.unique would load numpy.ma
        found[zeros] = True
        for shared in np.flatnonzero(found[1:]) + 1:
            rows = _arrange_rows(words, params.view)[zeros == shared].ravel()
            parts.append((int(shared), _count_zeros(rows, replace(params, view=View(1, len(rows), 1)))[0]))
        rest = counts - sum(part for _, part in parts)
        params = replace(params, shared=bool(parts), grid=grid_of([(0, rest), *parts], params.middle))
    return _add_predictor(words, params, zeros)


def _count_zeros(words: Words, params: NumericParams) -> tuple[Counts, Bytes]:
    """Counts by exponent and number of trailing zeros; uint8[rows], the zeros that each row shares."""
    kind, view = params.kind, params.view
    counts = np.zeros((kind.exponents, kind.digits + 1), np.int64)
    runs = np.empty(len(words) // view.run, np.uint8)
    kernel.look(words, params.for_kernel(), view.run, counts, runs)
    zeros = runs.reshape(-1, view.rows).min(0) if view.outermost else runs
    return counts, np.where((zeros < LEAST_SHARED) | (kind.id == INTEGER), 0, zeros).astype(np.uint8)


def _arrange_rows(words: Words, view: View) -> Words:
    """words[rows, numbers of a row], in any order inside a row."""
    if view.outermost:
        return words.reshape(view.taps, view.rows, view.channels).transpose(1, 0, 2).reshape(view.rows, -1)
    return words.reshape(view.rows, -1)


def _add_predictor(words: Words, params: NumericParams, zeros: Bytes) -> tuple[NumericParams, Bytes, Coefs]:
    """The parameters with a predictor, if it saves enough."""
    view = params.view
    if params.sparse or len(words) < FEWEST:
        return params, zeros, NO_COEFS
    if view.taps == 1 and view.rows >= TALL * view.channels and FEWEST_COLUMNS <= view.channels <= MOST_TAPS:
        tall = replace(params, view=View(view.rows, 1, view.channels), predicted=True)
        coefs, gain = fit_taps(_sample_kernels(words, tall))
        if gain * view.rows > COEF_BITS * coefs.size / 2 + LEAST_GAIN * len(words):
            return tall, zeros, coefs
    if view.taps > 1:
        coefs, gain = fit_taps(_sample_kernels(words, params))
        cost, gain = COEF_BITS * coefs.size / 2, gain * view.rows * view.channels
    else:
        start = max(0, (view.rows - SAMPLE // view.channels) // 2)
        part = words.reshape(view.rows, -1)[start : start + max(2, SAMPLE // view.channels)]
        coefs, gain = fit_neighbours(_scale_words(part, params))
        cost, gain = 16.0, gain * len(words)
    if gain > cost + LEAST_GAIN * len(words):
        return replace(params, predicted=True), zeros, coefs
    return params, zeros, NO_COEFS


def _sample_kernels(words: Words, params: NumericParams) -> Values:
    """int16[kernels, taps], evenly spread over the tensor."""
    view = params.view
    kernels = words.reshape(view.taps, -1).T if view.outermost else words.reshape(-1, view.taps)
    return _scale_words(kernels[:: max(1, len(kernels) // max(SAMPLE // view.taps, 24 * view.taps))], params)


def _scale_words(words: Words, params: NumericParams) -> Values:
    """Words scaled for the predictor."""
    flat = np.ascontiguousarray(words).reshape(-1)
    values = np.empty(len(flat), np.int16)
    kernel.scale(flat, params.for_kernel(), values)
    return values.reshape(words.shape)


def _find_median(words: Words) -> int:
    """The median of unsigned integers, from a sample."""
    sample = np.sort(words[:: max(1, len(words) >> 12)])
    return int(sample[len(sample) // 2])
