"""Signed levels as symbols, and fixed-width packing, the slow way."""

from __future__ import annotations


def zigzag(level: int) -> int:
    return 2 * level if level >= 0 else -2 * level - 1


def pack(symbols: list[int], bits: int) -> bytes:
    whole = sum(symbol << (bits * k) for k, symbol in enumerate(symbols))
    return whole.to_bytes((len(symbols) * bits + 7) // 8, "little")
