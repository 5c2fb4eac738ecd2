"""The side information of the context coder: parameters that the decoder needs (`formats/wcz.md`, section context
coder).
"""

from __future__ import annotations

from functools import cache
from math import isqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.container.wire import put_varint, take_bytes, take_varint
from wcodec.errors import CorruptError, UnsupportedError
from wcodec.kernels.context import coder as kernel
from wcodec.model.dataclass import dataclass, field, replace

Levels = npt.NDArray[np.int32]
Shape = tuple[int, int, int]

FEATURES: Final = 13
PLAIN, LAGS, OFFSET = range(3)
MOST_TAPS: Final = 64
MOST_LAGS: Final = 16
MOST_OFFSET: Final = 1 << 20
PRESETS: Final = {
    # (sparse, taps > 1): means of the fits on five networks
    (False, False): (0, 8, 20, 0, 12, 32, 8, 2, 1, 0, 0, 44, 0),
    (False, True): (1, 8, 28, 1, 2, 28, 0, 4, 1, 0, 2, 52, 0),
    (True, False): (1, 8, 20, 0, 18, 32, 10, 2, 1, 0, 1, 34, 0),
    (True, True): (1, 6, 28, 2, 8, 22, 0, 5, 2, 0, 1, 52, 0),
}


@dataclass(frozen=True)
class ContextParams:
    """The parameters that the decoder needs besides the levels.

    start:    the initial expected magnitude in 1/256 level (sparse: the initial share of non-zeros in 1/4096).
    weights:  int32[1 or taps, FEATURES] in 0..255, or None for the preset.
    near:     the two lags of feature 9 in a matrix.
    up, back: the positions that the predictor reads.
    side:     its coefficients in 1/64.
    """

    sparse: bool = False
    start: int = 0
    weights: Levels | None = None
    near: tuple[int, int] = (4, 5)
    predictor: int = PLAIN
    offset: int = 0
    up: tuple[int, ...] = ()
    back: tuple[int, ...] = ()
    side: Levels = field(default_factory=lambda: np.empty(0, np.int32))


@cache
def initial_states() -> npt.NDArray[np.uint32]:
    """The initial estimators: a two-sided geometric distribution with the mean of each class."""
    states = np.full(kernel.STATE_COUNT, 32768 << 16, np.uint32)

    def family(begin: int, classes: int, size: int) -> npt.NDArray[np.uint32]:
        """A view [classes, size] of the estimators from `begin` on."""
        return states[begin : begin + classes * size].reshape(classes, size)

    zero, size, high = family(kernel.ZERO_AT, 64, 16), family(kernel.SIZE_AT, 64, 160), family(kernel.HIGH_AT, 32, 16)
    sparse_zero, sparse_size = family(kernel.SPARSE_ZERO_AT, 64, 32), family(kernel.SPARSE_SIZE_AT, 32, 192)

    def start(probability: int, count: int = 6) -> int:
        return min(max(probability, 64), 65472) << 16 | count

    def ratio(mean: int) -> int:
        """theta in 1/65536 for a mean magnitude in 1/256: (sqrt(1 + m^2) - 1) / m."""
        return (isqrt((65536 + mean * mean) << 16) - 65536) * 256 // mean if mean else 0

    for q in range(64):
        mean = max(1, ((9 + 2 * (q & 3)) << (q >> 2) >> 1) - 6)
        theta = ratio(mean)
        zero[q] = start(131072 * theta // (65536 + theta))
        size[q] = start(theta)
        sparse_zero[q] = start(mean * 16)
    for q in range(32):
        high[q] = start(ratio((9 + 2 * (q & 3)) << 6), 2)
        mean = max(1, ((9 + 2 * (2 * q & 3)) << (2 * q >> 2) >> 1) - 6)
        sparse_size[q] = start(ratio(mean), 4)
    states.setflags(write=False)
    return states


def scale(code: int) -> int:
    """The magnitude, in 1/256, that one byte stands for: four steps an octave."""
    return (4 + (code & 3)) << (code >> 2) >> 4


def coding_shape(shape: Shape) -> tuple[int, int, int]:
    rows, channels, taps = shape
    return (rows, channels, taps) if taps <= MOST_TAPS else (rows, channels * taps, 1)


def kernel_params(params: ContextParams, states: int) -> kernel.Params:
    """The parameters as arguments of the kernel. states: of the trellis."""
    start = scale(params.start)
    grain = max(0, start.bit_length() - 14)
    return kernel.Params(
        sparse=params.sparse,
        states=states,
        grain=grain,
        predictor=params.predictor,
        offset=params.offset,
        start=start >> grain,
        near=params.near,
        up=params.up,
        back=params.back,
    )


def pack(params: ContextParams, shape: Shape) -> bytes:
    """The plain bytes before those of the range coder. Inverse: `parse`."""
    mode = 0 if params.weights is None else 1 if len(params.weights) == 1 else 2
    out = bytearray((params.sparse | params.predictor << 1 | mode << 3, params.start))
    if mode and shape[2] == 1:
        out += bytes(n - 1 for n in params.near)
    if params.predictor == OFFSET:
        put_varint(out, params.offset * 2 if params.offset >= 0 else -params.offset * 2 - 1)
    elif params.predictor == LAGS:
        out.append(len(params.up))
        for up, back in zip(params.up, params.back, strict=True):
            put_varint(out, up + 3 * (back * 2 if back >= 0 else -back * 2 - 1))
    return bytes(out)


def parse(payload: bytes, shape: Shape) -> tuple[ContextParams, int]:
    """The parameters in `payload`, with weights and coefficients still 0, and the position of the coded bytes.

    Inverse: `pack`.
    """
    (flags, start), at = take_bytes(payload, 0, 2, "context levels")
    predictor, mode = flags >> 1 & 3, flags >> 3 & 3
    if flags >> 5 or mode == 3 or predictor == 3:
        raise UnsupportedError(f"context levels: expected flags of this version, got 0x{flags:02x}")
    taps = shape[2]
    params = ContextParams(bool(flags & 1), start, predictor=predictor)
    most = 4096 if params.sparse else (1 << 39) - 1
    if scale(start) > most:
        raise CorruptError(f"context levels: expected a start of at most {most}, got {scale(start)}")
    if mode:
        params = replace(params, weights=np.zeros((taps if mode == 2 else 1, FEATURES), np.int32))
        if taps == 1:
            (first, second), at = take_bytes(payload, at, 2, "context levels")
            params = replace(params, near=(first + 1, second + 1))
    if predictor == OFFSET:
        value, at = take_varint(payload, at)
        offset = -(value + 1 >> 1) if value & 1 else value >> 1
        if abs(offset) > MOST_OFFSET:
            raise CorruptError(f"context levels: expected an offset of at most {MOST_OFFSET}, got {offset}")
        return replace(params, offset=offset), at
    if predictor == LAGS:
        count, at = (payload[at], at + 1) if at < len(payload) else (0, at)
        if not 1 <= count <= MOST_LAGS or taps > 1:
            raise CorruptError(f"context levels: expected 1 to {MOST_LAGS} lags and one tap, got {count} and {taps}")
        ups, backs = [], []
        for _ in range(count):
            value, at = take_varint(payload, at)
            up, value = value % 3, value // 3
            back = -(value + 1 >> 1) if value & 1 else value >> 1
            if not (-256 if up else 1) <= back <= 256:
                raise CorruptError(f"context levels: expected a lag within 256, got {up} rows and {back} columns back")
            ups.append(up)
            backs.append(back)
        return replace(params, up=tuple(ups), back=tuple(backs), side=np.zeros(count, np.int32)), at
    return params, at


def scale_weights(params: ContextParams, taps: int) -> Levels:
    """The scale weights in use, flat."""
    if params.weights is None:
        return np.array(PRESETS[params.sparse, taps > 1], np.int32)
    return params.weights.reshape(-1).copy()


@dataclass(frozen=True)
class ContextTrace:
    """Arrays that the kernel fills during coding, for a fit or a quantiser, in the kernel's own layout.

    contexts:    uint16[rows, columns, 2].
    predictions: int32[rows, columns], Q8.
    samples:     int32[rows / every, rounded up, times columns, FEATURES + 2].
    learnt:      uint32[STATE_COUNT], the estimators at the end.
    quiet:       compute contexts only; nothing is coded or learnt.
    """

    contexts: npt.NDArray[np.uint16] | None = None
    predictions: Levels | None = None
    samples: Levels | None = None
    every: int = 1
    learnt: npt.NDArray[np.uint32] | None = None
    quiet: bool = False


_NOTHING = ContextTrace()
"""Nothing is watched."""


def encode_levels(
    levels: Levels, params: ContextParams, states: int, trace: ContextTrace = _NOTHING
) -> tuple[bytes, int]:
    """The range coder's bytes of `levels` with these parameters, and how many of them the side information takes."""
    room = 256 + levels.size // 2 + params.side.size
    weights = scale_weights(params, levels.shape[2])
    while True:
        out = np.empty(room, np.uint8)
        size, side_bytes = kernel.encode(
            levels,
            kernel_params(params, states),
            initial_states(),
            weights,
            0 if params.weights is None else len(params.weights),
            params.side,
            out,
            contexts=trace.contexts,
            predictions=trace.predictions,
            samples=trace.samples,
            every=trace.every,
            states_out=trace.learnt,
            quiet=trace.quiet,
        )
        if size >= 0:
            return out[:size].tobytes(), side_bytes
        room *= 4
