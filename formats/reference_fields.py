"""Fixed fields, written from wcz.md (sections 7.3 and 14) alone; names are those of the page."""

from __future__ import annotations

from reference_coders import LEVEL_LIMIT, Bits, Reader, require


def fields(payload: bytes, count: int) -> list[int]:
    """The levels of `count` weights."""
    reader = Reader(payload)
    entries = reader.varint()
    require(entries <= count, "more entries than weights")
    levels = [0] * count
    if entries:
        g, b, negatives = reader.u(1), reader.u(1), reader.varint()
        require(g <= 16 and 1 <= b <= 31 and negatives <= LEVEL_LIMIT, "head of fixed fields")
        require(g > 0 or entries == count, "weights without an entry")
        gaps, codes = stream(reader, entries, g), stream(reader, entries, b)
        require(g == 0 or codes[-1] != 0, "the last entry is a filler")
        at = 0
        for gap, code in zip(gaps, codes, strict=True):
            require(g == 0 or code > 0 or gap == 2**g - 1, "short filler")
            at += gap
            require(at < count, "entry after the last weight")
            levels[at] = 0 if code == 0 else code - negatives - 1 if code <= negatives else code - negatives
            require(abs(levels[at]) <= LEVEL_LIMIT, "level out of range")
            at += 1
    reader.end()
    return levels


def stream(reader: Reader, count: int, width: int) -> list[int]:
    bits = Bits(reader.take((count * width + 7) // 8))
    numbers = [bits.number(width) for _ in range(count)]
    bits.end()
    return numbers
