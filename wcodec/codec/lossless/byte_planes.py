"""Byte planes: a word rotated left by one bit has its exponent in the top byte, the only one that compresses well."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wcodec.codec.entropy import symbols, zstd
from wcodec.container.wire import put_varint, take_bytes, take_varint
from wcodec.kernels import planes as kernel

Words = npt.NDArray[np.unsignedinteger]


def encode(words: Words) -> bytes:
    """The planes, lowest bytes first: of each its size as a varint (the last one takes the rest), and its symbols.

    Inverse: `decode`.
    """
    size = words.itemsize
    planes = np.empty((size, len(words)), np.uint8)
    kernel.split(words, planes)
    out = bytearray()
    for k, plane in enumerate(planes):
        packed = symbols.encode(plane)
        if k < size - 1:
            put_varint(out, len(packed))
        out += packed
    return bytes(out)


def decode(payload: bytes, words: Words) -> None:
    """Fill `words`. Inverse: `encode`.

    Raises: TruncatedError, CorruptError, UnsupportedError.
    """
    size = words.itemsize
    planes = np.empty((size, len(words)), np.uint8)
    for plane, packed in zip(planes, _decode_planes(payload, size), strict=True):
        symbols.decode_into(packed, plane)
    kernel.join(planes, words)


def _decode_planes(payload: bytes, size: int) -> list[bytes]:
    at = 0
    planes = []
    for k in range(size):
        length, at = take_varint(payload, at) if k < size - 1 else (len(payload) - at, at)
        plane, at = take_bytes(payload, at, length, f"byte plane {k}")
        planes.append(plane)
    return planes


def estimate(words: Words) -> float:
    """The approximate bytes of the planes: by entropy, with four bits for a table entry, or by a fast zstd."""
    planes = np.empty((words.itemsize, len(words)), np.uint8)
    kernel.split(words, planes)
    total = 0.0
    for plane in planes:
        counts = np.bincount(plane)
        counts = counts[counts > 0]
        bits = float((counts * np.log2(len(words) / counts)).sum()) + 4 * len(counts)
        total += min(bits / 8, len(zstd.encode(plane.tobytes(), 3)))
    return total
