"""The use of every byte of a tensor's sections, without decoding and without numpy, so that `inspect` is fast."""

from __future__ import annotations

from collections.abc import Sequence
from operator import add

from wcodec.container.wire import (
    CONTEXT,
    DENSE,
    EXACT,
    FIXED,
    HAS_OUTLIERS,
    HUFFMAN,
    MOST_TOKENS,
    SPARSE,
    STATIC,
    skip_fields,
    take_varint,
)
from wcodec.errors import CorruptError, TruncatedError, UnsupportedError
from wcodec.kernels.huffman.code import read_table
from wcodec.model.dataclass import dataclass, field_names


@dataclass(frozen=True)
class ByteBreakdown:
    """Bytes by purpose.

    codes, gaps: of sparse rows and of fixed fields.
    levels:      of other chunks.
    codebooks:   centroids, steps, transforms.
    tables:      Huffman codes and the choice of coder.
    lossless:    exact values, and outliers.
    skeleton:    the model section.
    index:       checksums and lengths.
    container:   the header.
    """

    codes: int = 0
    gaps: int = 0
    levels: int = 0
    codebooks: int = 0
    tables: int = 0
    lossless: int = 0
    skeleton: int = 0
    index: int = 0
    container: int = 0

    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self.as_dict().values())

    def as_dict(self) -> dict[str, int]:
        """Bytes by the part's name."""
        return {part: getattr(self, part) for part in field_names(ByteBreakdown)}

    def __add__(self, other: ByteBreakdown) -> ByteBreakdown:
        return ByteBreakdown(*map(add, self.as_dict().values(), other.as_dict().values()))


def tensor_breakdown(sections: Sequence[bytes], item_bytes: int) -> ByteBreakdown:
    """The parts of all sections of a tensor whose elements have `item_bytes` bytes; they sum to the sections' lengths.

    Raises: CorruptError, TruncatedError, UnsupportedError if a header does not follow the specification.
    """
    head, at, rule = _measure_head(memoryview(sections[0]), item_bytes, len(sections) > 1)
    parts = head
    for number, section in enumerate(sections):
        chunk = memoryview(section)[0 if number else at :]
        parts += ByteBreakdown(lossless=len(chunk)) if rule == EXACT else _measure_chunk(chunk)
    return parts


def _measure_head(data: memoryview, item_bytes: int, chunked: bool) -> tuple[ByteBreakdown, int, int]:
    """The parts of the header, the position of the first chunk, and the dequantizer's number."""
    flags, at = _read_byte(data, 0), 1
    rule = flags & 15
    if chunked:
        _, at = take_varint(data, at)
    if rule == EXACT:
        return ByteBreakdown(lossless=at), at, rule
    at += 1
    patches = at
    if flags & HAS_OUTLIERS:
        count, at = take_varint(data, at)
        for _ in range(min(count, len(data))):
            _, at = take_varint(data, at)
            at += item_bytes
    patches = at - patches
    at = skip_fields(data, at, rule)
    if at > len(data):
        raise TruncatedError(f"head: ended early; needed {at} bytes, got {len(data)}")
    return ByteBreakdown(lossless=patches, codebooks=at - patches), at, rule


def _measure_chunk(chunk: memoryview) -> ByteBreakdown:
    coder = _read_byte(chunk, 0)
    if coder == DENSE:
        tables = 1 + _count_table_bytes(chunk[1:])
        return ByteBreakdown(tables=tables, levels=len(chunk) - tables)
    if coder == CONTEXT:
        return ByteBreakdown(tables=1, levels=len(chunk) - 1)
    if coder == STATIC:
        tables = _count_scales_bytes(chunk)
        return ByteBreakdown(tables=tables, levels=len(chunk) - tables)
    if coder == FIXED:
        return _measure_fields(chunk)
    if coder != SPARSE:
        raise UnsupportedError(f"chunk: level coder {coder} is not known to this version")
    entries, at = take_varint(chunk, 1)
    if not entries:
        return ByteBreakdown(tables=1, gaps=len(chunk) - 1)
    length, at = take_varint(chunk, at + 1)
    gap_tables, code_tables = _count_table_bytes(chunk[at : at + length]), _count_table_bytes(chunk[at + length :])
    codes = len(chunk) - at - length - code_tables
    gaps = at - 1 + length - gap_tables
    return ByteBreakdown(codes=codes, gaps=gaps, tables=1 + gap_tables + code_tables)


def _measure_fields(chunk: memoryview) -> ByteBreakdown:
    """The parts of fixed fields; their head counts as a table."""
    entries, at = take_varint(chunk, 1)
    if not entries:
        return ByteBreakdown(tables=1, gaps=len(chunk) - 1)
    gap_bits = _read_byte(chunk, at)
    _, at = take_varint(chunk, at + 2)
    gaps = -(-entries * gap_bits // 8)
    return ByteBreakdown(tables=at, gaps=gaps, codes=len(chunk) - at - gaps)


def _count_scales_bytes(chunk: memoryview) -> int:
    """Bytes of the static coder's scales and tables, and of the number before them."""
    if len(chunk) == 1:
        return 1
    _, at = take_varint(chunk, 1)
    _, at = take_varint(chunk, at)
    for _ in range(3):  # codes of scales, groups, hazards
        length, at = take_varint(chunk, at)
        at += length
    return at


def _count_table_bytes(stream: memoryview) -> int:
    """Bytes of the Huffman code at the start of a stream of symbols, 0 if there is none."""
    if len(stream) < 2 or stream[0] != HUFFMAN:
        return 0
    used, _ = read_table(stream[2:], bytearray(MOST_TOKENS))
    if used < 0:
        raise CorruptError("Huffman table: expected the lengths of a complete code, got others")
    return 1 + int(used)


def _read_byte(data: memoryview, at: int) -> int:
    if at >= len(data):
        raise TruncatedError(f"section: ended early; needed {at + 1} bytes, got {len(data)}")
    return int(data[at])
