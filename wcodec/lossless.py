"""Values that must come back bit for bit: the smallest of stored, one repeated item, zstd and byte planes.

Byte planes suit floats: a word rotated left by one bit has its exponent in the top byte, the only one far from noise.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.entropy import symbols, zstd
from wcodec.errors import CorruptError, TruncatedError, UnsupportedError
from wcodec.kernels import planes as kernel
from wcodec.wire import put_varint, take_varint

Values = bytes | bytearray | memoryview | npt.NDArray[np.generic]

STORED: Final = 0
REPEATED: Final = 1
ZSTD: Final = 2
PLANES: Final = 3

FEWEST_PLANED: Final = 32
"""Items from which byte planes can pay for their headers."""
SAMPLE: Final = 1 << 15
"""Three samples of this many bytes decide whether larger values are worth zstd."""
LEVEL: Final = 12
LARGE: Final = 1 << 18
LARGE_LEVEL: Final = 5
"""From LARGE bytes on, a level of zstd that is some ten times as fast."""
SAMPLE_LEVEL: Final = 3


def encode(values: Values, item_bytes: int) -> bytes:
    """The values as one byte, the method, and what it wrote; at most one byte larger. Inverse: `decode`.

    item_bytes: bytes of an element, 1, 2, 4, 8 or 16 (16 is seen as pairs of 8); others are coded without planes.
    """
    raw = values.tobytes() if isinstance(values, np.ndarray) else bytes(values)
    if not raw:
        return b""
    size = min(item_bytes, 8)
    item = raw[:item_bytes]
    if len(raw) > item_bytes and raw == item * (len(raw) // item_bytes):
        return bytes((REPEATED,)) + item
    best, method = raw, STORED
    if size in _WORDS and len(raw) % size == 0 and len(raw) >= FEWEST_PLANED * size:
        planed = _encode_planes(raw, size)
        if len(planed) < len(best):
            best, method = planed, PLANES
    if _zstd_may_win(raw, len(best)):
        frame = zstd.encode(raw, LEVEL if len(raw) < LARGE else LARGE_LEVEL)
        if len(frame) < len(best):
            best, method = frame, ZSTD
    return bytes((method,)) + best


def decode(payload: bytes, nbytes: int, item_bytes: int) -> bytes:
    """Exactly `nbytes` bytes. Inverse: `encode`.

    Raises: TruncatedError, CorruptError, UnsupportedError.
    """
    if not nbytes:
        if payload:
            raise CorruptError(f"lossless: expected no bytes for no values, got {len(payload)}")
        return b""
    if not payload:
        raise TruncatedError("lossless: ended early; needed the method, got 0 bytes")
    method, rest = payload[0], payload[1:]
    if method == STORED:
        return _of_size(rest, nbytes, "stored values")
    if method == REPEATED:
        if nbytes % item_bytes:
            raise CorruptError(f"lossless: expected whole items of {item_bytes} bytes, got {nbytes} bytes")
        return _of_size(rest, item_bytes, "repeated item") * (nbytes // item_bytes)
    if method == ZSTD:
        return zstd.decode(rest, nbytes)
    if method == PLANES:
        return _decode_planes(rest, nbytes, min(item_bytes, 8))
    raise UnsupportedError(f"lossless: expected method 0 to 3, got {method}")


_WORDS: Final[dict[int, np.dtype[np.unsignedinteger]]] = {
    1: np.dtype(np.uint8), 2: np.dtype(np.uint16), 4: np.dtype(np.uint32), 8: np.dtype(np.uint64),
}
"""The unsigned integer of each size; wcodec runs on little-endian machines."""


def _encode_planes(raw: bytes, size: int) -> bytes:
    """Each plane, lowest bytes first: its size as a varint (the last one takes the rest), its symbols."""
    words = np.frombuffer(raw, _WORDS[size])
    planes = np.empty((size, len(words)), np.uint8)
    kernel.split(words, planes)
    out = bytearray()
    for k, plane in enumerate(planes):
        packed = symbols.encode(plane)
        if k < size - 1:
            put_varint(out, len(packed))
        out += packed
    return bytes(out)


def _decode_planes(payload: bytes, nbytes: int, size: int) -> bytes:
    if size not in _WORDS or nbytes % size:
        raise CorruptError(f"byte planes: expected words of 1, 2, 4 or 8 bytes, got {nbytes} bytes in words of {size}")
    words = np.empty(nbytes // size, _WORDS[size])
    planes = np.empty((size, len(words)), np.uint8)
    for plane, packed in zip(planes, _planes_of(payload, size), strict=True):
        symbols.decode_into(packed, plane)
    kernel.join(planes, words)
    return words.tobytes()


def _planes_of(payload: bytes, size: int) -> list[bytes]:
    at = 0
    planes = []
    for k in range(size):
        end = len(payload)
        if k < size - 1:
            length, at = take_varint(payload, at)
            end = at + length
        if end > len(payload):
            raise TruncatedError(f"byte plane {k}: ended early; needed {end} bytes, got {len(payload)}")
        planes.append(payload[at:end])
        at = end
    return planes


def _zstd_may_win(raw: bytes, size: int) -> bool:
    """Whether zstd beats `size` bytes on samples; True for few bytes."""
    if len(raw) <= 3 * SAMPLE:
        return True
    middle = (len(raw) - SAMPLE) // 2
    sample = raw[:SAMPLE] + raw[middle : middle + SAMPLE] + raw[-SAMPLE:]
    return len(zstd.encode(sample, SAMPLE_LEVEL)) * len(raw) < size * len(sample)


def _of_size(values: bytes, nbytes: int, what: str) -> bytes:
    if len(values) != nbytes:
        error = TruncatedError if len(values) < nbytes else CorruptError
        raise error(f"{what}: expected {nbytes} bytes, got {len(values)}")
    return values
