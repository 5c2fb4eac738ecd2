"""Huffman streams the slow way: one bit at a time, in Python."""

from __future__ import annotations

from collections.abc import Iterator

LIMIT = 12


def bits_of(payload: bytes) -> Iterator[int]:
    """The bits of a bitstream, lowest bit of each byte first."""
    return (byte >> k & 1 for byte in payload for k in range(8))


def token_of(symbol: int, precision: int) -> int:
    raw = max(symbol.bit_length() - precision - 1, 0)
    return (raw << precision) + (symbol >> raw)


def read_number(bits: Iterator[int], count: int) -> int:
    return sum(next(bits) << k for k in range(count))


def read_lengths(payload: bytes) -> tuple[list[int], int]:
    """Codeword lengths and the bytes of the table that holds them."""
    used = 0

    def counted() -> Iterator[int]:
        nonlocal used
        for bit in bits_of(payload):
            used += 1
            yield bit

    bits = counted()
    lengths: list[int] = []
    previous = 4
    while sum(2 ** (LIMIT - length) for length in lengths if length) < 2**LIMIT:
        op = read_number(bits, 2) if next(bits) else None
        if op == 2:
            size = 0
            while next(bits):
                size += 1
            lengths += [0] * ((1 << size) + read_number(bits, size))
            continue
        if op == 0:
            previous += 1
        elif op == 1:
            previous -= 1
        elif op == 3:
            previous = read_number(bits, 4)
        lengths.append(previous)
    return lengths, (used + 7) // 8


def best_bits(counts: list[int], limit: int = LIMIT) -> int:
    """Bits of an optimal code without a codeword above `limit`: the coin collector's packages."""
    leaves = sorted(counts)
    packages: list[int] = []
    for _ in range(limit):
        merged = sorted(leaves + packages)
        packages = [a + b for a, b in zip(merged[::2], merged[1::2], strict=False)]
    return sum(packages[: len(leaves) - 1])
