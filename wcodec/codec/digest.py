"""The CRC-32 of a tensor's bytes, computed in pieces by several threads."""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Final

import numpy as np

from wcodec.codec.parallel import Map
from wcodec.model import AnyArray

PIECE: Final = 1 << 22
"""The most bytes of a piece."""
POLYNOMIAL: Final = 0xEDB88320
"""Of CRC-32, its bits reversed: bit 31 is the coefficient of x^0."""


def digest(values: AnyArray, chunk_map: Map) -> int:
    """The CRC-32 of the bytes in row-major order, the same for any map."""
    data = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
    if len(data) <= PIECE:
        return zlib.crc32(data)
    pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
    crc = 0
    for piece, own in zip(pieces, chunk_map(zlib.crc32, pieces), strict=True):
        crc = _multiply(_shift(len(piece)), crc) ^ own
    return crc


def _multiply(one: int, other: int) -> int:
    """The product of two polynomials modulo POLYNOMIAL."""
    product = 0
    while one:
        if one & 1 << 31:
            product ^= other
        one = one << 1 & 0xFFFFFFFF
        other = other >> 1 ^ (POLYNOMIAL if other & 1 else 0)
    return product


@lru_cache(4)
def _shift(length: int) -> int:
    """x^(8 length) modulo POLYNOMIAL: the factor on the CRC-32 of what precedes `length` bytes."""
    power, square = 1 << 31, 1 << 23
    while length:
        if length & 1:
            power = _multiply(power, square)
        square, length = _multiply(square, square), length >> 1
    return power
