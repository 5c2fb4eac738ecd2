"""Byte planes the slow way."""

from __future__ import annotations


def split(words: list[int], size: int, rotated: bool = True) -> list[bytes]:
    bits = 8 * size
    if rotated:
        words = [(word << 1 | word >> (bits - 1)) & ((1 << bits) - 1) for word in words]
    return [bytes(word >> (8 * k) & 0xFF for word in words) for k in range(size)]
