"""Exact values: the smallest of stored, repeated, zstd, LZMA, planes or blocks, numbers."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.codec.entropy import lzma_stream, zstd
from wcodec.codec.lossless import byte_plane_blocks as blocks
from wcodec.codec.lossless import byte_planes as planes
from wcodec.codec.lossless import numeric as numbers
from wcodec.codec.lossless.views import WORDS, kind_of
from wcodec.errors import CorruptError, TruncatedError, UnsupportedError

Values = bytes | bytearray | memoryview | npt.NDArray[np.generic]
Bytes = npt.NDArray[np.uint8]

STORED: Final = 0
REPEATED: Final = 1
ZSTD: Final = 2
PLANES: Final = 3
NUMBERS: Final = 4
BLOCKS: Final = 5
LZMA: Final = 6

TINY: Final = 8
"""With at most this many bytes, every other method is larger than storing."""
FEWEST_PLANED: Final = 32
"""The smallest number of items for which byte planes can be smaller, given their headers."""
SAMPLE: Final = 1 << 15
"""Three samples of this many bytes decide whether zstd is tried on larger values."""
LEVEL: Final = 12
LARGE: Final = 1 << 18
LARGE_LEVEL: Final = 5
"""The level of zstd from LARGE bytes on, some ten times as fast."""
SAMPLE_LEVEL: Final = 3
NEAR: Final = 0.9
"""LZMA is tried if the best result is at least this fraction of its bytes on samples, which are too short for LZMA."""


def encode(
    values: Values,
    item_bytes: int,
    shape: tuple[int, ...] | None = None,
    dtype: str = "",
    fast: bool = False,
    best: bool = False,
) -> bytes:
    """The values as one byte for the method, and its bytes; at most one byte larger than the values. Inverse: `decode`.

    item_bytes: bytes of an element, 1, 2, 4, 8 or 16 (16 is treated as pairs of 8); others are coded without planes.
    shape:      of the values, or of the piece of a tensor that they are (`views.pieces`); one row if it is None.
    dtype:      the elements' type, as in `wire.DTYPES`; without it, and for opaque bytes, numbers are not tried.
    best:       try LZMA too if it may be smaller; slow.
    fast:       blocks of byte planes instead of planes and numbers: some ten times as fast, and larger.
    """
    raw = _view_bytes(values)
    usual = _encode(raw, item_bytes, shape, dtype, fast)
    if best and len(usual) > TINY + item_bytes and _lzma_may_win(raw, len(usual)):
        return min(usual, bytes((LZMA,)) + lzma_stream.encode(raw.tobytes()), key=len)
    return usual


def _encode(raw: Bytes, item_bytes: int, shape: tuple[int, ...] | None, dtype: str, fast: bool) -> bytes:
    if not len(raw):
        return b""
    if len(raw) > item_bytes and _repeats(raw, item_bytes):
        return bytes((REPEATED,)) + raw[:item_bytes].tobytes()
    if len(raw) <= TINY:
        return bytes((STORED,)) + raw.tobytes()
    least: bytes | Bytes
    least, method = raw, STORED
    size = min(item_bytes, 8)
    kind = kind_of(dtype)
    if size in WORDS and len(raw) % size == 0 and fast:
        rotated = kind is not None and kind.exponent_bits > 5
        blocked = blocks.encode(raw.view(WORDS[kind.item_bytes if kind else size]), rotated)
        if len(blocked) < len(least):
            least, method = blocked, BLOCKS
    elif size in WORDS and len(raw) % size == 0:
        if kind:
            words = raw.view(WORDS[kind.item_bytes])
            pairs = (item_bytes // kind.item_bytes,) if kind.item_bytes < item_bytes else ()
            numbered = numbers.encode(words, kind, (*(shape or (len(raw) // item_bytes,)), *pairs))
            if numbered is not None and len(numbered) < len(least):
                least, method = numbered, NUMBERS
        words = raw.view(WORDS[size])
        if len(words) >= FEWEST_PLANED and _planes_may_win(words, len(least)):
            planed = planes.encode(words)
            if len(planed) < len(least):
                least, method = planed, PLANES
    if _zstd_may_win(raw, len(least), fast):
        level = SAMPLE_LEVEL if fast else LEVEL if len(raw) < LARGE else LARGE_LEVEL
        frame = zstd.encode(raw.tobytes(), level)
        if len(frame) < len(least):
            least, method = frame, ZSTD
    return b"".join((bytes((method,)), least if isinstance(least, bytes) else least.data))


def decode(payload: bytes | memoryview, nbytes: int, item_bytes: int) -> bytes:
    """Exactly `nbytes` bytes. Inverse: `encode`.

    Raises: TruncatedError, CorruptError, UnsupportedError.
    """
    values = np.empty(nbytes, np.uint8)
    decode_into(payload, values, item_bytes)
    return values.tobytes()


def decode_into(payload: bytes | memoryview, values: Bytes, item_bytes: int) -> None:
    """Fill `values` uint8[bytes], contiguous and aligned to items. Inverse: `encode`.

    Raises: TruncatedError, CorruptError, UnsupportedError.
    """
    if not len(values):
        if payload:
            raise CorruptError(f"lossless: expected no bytes for no values, got {len(payload)}")
        return
    if not payload:
        raise TruncatedError("lossless: ended early; needed the method, got 0 bytes")
    method, rest = payload[0], memoryview(payload)[1:]
    if method == STORED:
        values[:] = _of_size(rest, len(values), "stored values")
    elif method == REPEATED:
        if len(values) % item_bytes:
            raise CorruptError(f"lossless: expected whole items of {item_bytes} bytes, got {len(values)} bytes")
        values.reshape(-1, item_bytes)[:] = _of_size(rest, item_bytes, "repeated item")
    elif method in _STREAMS:
        values[:] = np.frombuffer(_STREAMS[method](bytes(rest), len(values)), np.uint8)
    elif method == PLANES:
        planes.decode(bytes(rest), _view_words(values, min(item_bytes, 8)))
    elif method == NUMBERS:
        numbers.decode(rest, _view_words(values, numbers.item_bytes_of(rest, item_bytes)))
    elif method == BLOCKS:
        blocks.decode(rest, values)
    else:
        raise UnsupportedError(f"lossless: expected method 0 to 6, got {method}")


_STREAMS: Final = {ZSTD: zstd.decode, LZMA: lzma_stream.decode}


def _view_bytes(values: Values) -> Bytes:
    if isinstance(values, np.ndarray):
        return np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    return np.frombuffer(values, np.uint8)


def _repeats(raw: Bytes, item_bytes: int) -> bool:
    """Whether all items are equal; usually the first few differ."""
    if len(raw) % item_bytes:
        return False
    items = raw.reshape(-1, item_bytes)
    return bool((items[:64] == items[0]).all() and (items == items[0]).all())


def _view_words(values: Bytes, size: int) -> planes.Words:
    if size not in WORDS or len(values) % size:
        raise CorruptError(f"lossless: expected words of 1, 2, 4 or 8 bytes, got {len(values)} bytes by {size}")
    return values.view(WORDS[size])


def _planes_may_win(words: planes.Words, size: int) -> bool:
    """Whether the byte planes of a sample need less than `size` bytes."""
    some = SAMPLE // words.itemsize
    sample = words[(len(words) - some) // 2 if len(words) > some else 0 :][:some]
    return planes.estimate(sample) * len(words) < size * len(sample)


def _zstd_may_win(raw: Bytes, size: int, fast: bool) -> bool:
    """Whether zstd needs less than `size` bytes on three samples; True for few bytes."""
    some = SAMPLE // 4 if fast else SAMPLE
    if len(raw) <= 3 * some:
        return True
    middle = (len(raw) - some) // 2
    sample = raw[:some].tobytes() + raw[middle : middle + some].tobytes() + raw[-some:].tobytes()
    return len(zstd.encode(sample, 1 if fast else SAMPLE_LEVEL)) * len(raw) < size * len(sample)


def _lzma_may_win(raw: Bytes, size: int) -> bool:
    """Whether LZMA comes near to `size` bytes on three samples; True for few bytes."""
    if len(raw) <= 3 * SAMPLE:
        return True
    middle = (len(raw) - SAMPLE) // 2
    parts = (raw[:SAMPLE], raw[middle : middle + SAMPLE], raw[-SAMPLE:])
    sampled = sum(len(lzma_stream.encode(part.tobytes())) for part in parts)
    return NEAR * sampled * len(raw) < size * 3 * SAMPLE


def _of_size(values: memoryview, nbytes: int, what: str) -> Bytes:
    if len(values) != nbytes:
        error = TruncatedError if len(values) < nbytes else CorruptError
        raise error(f"{what}: expected {nbytes} bytes, got {len(values)}")
    return np.frombuffer(values, np.uint8)
