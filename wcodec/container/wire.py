"""The numbers of `formats/wcz.md`: ids in the file, which are never reused, and the limits that a reader enforces."""

from __future__ import annotations

from typing import Final, TypeVar

from wcodec.errors import CorruptError, TruncatedError, UnsupportedError

Buffer = TypeVar("Buffer", bytes, memoryview)

MAGIC: Final = b"\x89WCZ"
READER_VERSION: Final = 1
CHUNK_WEIGHTS: Final = 1 << 20
"""A tensor with more weights is split into chunks of whole rows with about this many weights."""
REST: Final = ""
"""The name of the pseudo-tensor with the remainder of a file, if the skeleton cannot hold it."""

# --- dequantizers, coders of levels, coders of symbols -------------------------------------
EXACT, TABLE, STEP, TRANSFORM, FLOAT, PRODUCT, ROWS, GROUPS, HASHED = range(9)
FIELDS: Final = {
    EXACT: (),
    TABLE: ("codebook",),
    STEP: ("varint",),
    TRANSFORM: ("varint", "bytes"),
    FLOAT: ("byte", "varint"),
    PRODUCT: ("varint", "varint", "varint", "bytes"),
    ROWS: ("byte", "bytes"),
    GROUPS: ("varint", "codebook", "byte", "bytes"),
    HASHED: ("varint", "uint32", "varint"),
}
"""The parameters of each dequantizer in a file, in their order; see `skip_fields`."""
HAS_OUTLIERS: Final = 0x40
"""A flag in the byte of the dequantizer's id: some elements are stored exactly."""
DENSE, SPARSE, CONTEXT, STATIC, FIXED = range(5)
HUFFMAN: Final = 2
MOST_TOKENS: Final = 1 << 16
"""The largest alphabet of a Huffman code."""

# --- limits: a reader refuses what exceeds them, before it allocates -----------------------------------------------
MAX_DIMS: Final = 32
MAX_TENSORS: Final = 1 << 20
MAX_NAME_BYTES: Final = 1 << 16
MAX_LEVEL: Final = (1 << 30) - 1
"""The largest magnitude of a level."""


def put_varint(out: bytearray, value: int) -> None:
    """Append `value` >= 0 as LEB128: 7 bits a byte, low bits first, the high bit set on all but the last.

    Inverse: `take_varint`.
    """
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def take_varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """The varint at `data[at:]` and the position after it. Inverse: `put_varint`.

    Raises: TruncatedError at the end of `data`; CorruptError if it is not the shortest form or exceeds 64 bits.
    """
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(data):
            raise TruncatedError(f"varint at byte {at}: ended early; needed one more byte")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if (byte == 0 and shift) or value >> 64:
                raise CorruptError(f"varint before byte {at}: expected the shortest form of 64 bits, got 0x{byte:02x}")
            return value, at
    raise CorruptError(f"varint before byte {at}: expected at most 10 bytes, got more")


def take_byte(data: Buffer, at: int, what: str) -> tuple[int, int]:
    """The byte at `data[at]` and the position after it. Raises: TruncatedError."""
    return take_bytes(data, at, 1, what)[0][0], at + 1


def take_bytes(data: Buffer, at: int, count: int, what: str) -> tuple[Buffer, int]:
    """`count` bytes at `data[at:]` and the position after them. Raises: TruncatedError."""
    if at + count > len(data):
        raise TruncatedError(f"{what}: ended early; needed {at + count} bytes, got {len(data)}")
    return data[at : at + count], at + count


def take_uint(data: Buffer, at: int, count: int) -> tuple[int, int]:
    """The little-endian number of `count` bytes at `data[at:]` of an index, and its end. Raises: TruncatedError."""
    raw, at = take_bytes(data, at, count, "index")
    return int.from_bytes(raw, "little"), at


def skip_fields(data: Buffer, at: int, number: int) -> int:
    """The position behind the parameters of a dequantizer at `data[at:]`, of which nothing is checked.

    Raises: CorruptError, TruncatedError; UnsupportedError for a number without FIELDS.
    """
    if number not in FIELDS:
        raise UnsupportedError(f"rule {number} is not known to this version")
    for kind in FIELDS[number]:
        if kind in ("byte", "uint32"):
            at += 1 if kind == "byte" else 4
            continue
        size, at = take_varint(data, at)
        if kind == "bytes":
            at += size
        elif kind == "codebook":
            count, at = take_varint(data, at)
            width, at = take_byte(data, at, "codebook")
            at += (count - 1) * width
    return at
