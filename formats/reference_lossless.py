"""Lossless payloads, written from wcz.md (section 9) alone."""

from __future__ import annotations

import lzma

from reference_coders import FileError, Reader, UnsupportedError, require, symbols, unzstd
from reference_numbers import decode_numbers


def join(planes: list[list[int]], size: int, rotated: int) -> bytes:
    words = [int.from_bytes(bytes(word), "little") for word in zip(*planes, strict=True)]
    if rotated:
        words = [word >> 1 | (word & 1) << (8 * size - 1) for word in words]
    return b"".join(word.to_bytes(size, "little") for word in words)


def unlzma(payload: bytes, nbytes: int) -> bytes:
    """A byte of properties as in .lzma files, and a stream with an end mark. Dictionary and length are not stored."""
    require(len(payload) > 0 and payload[0] < 225, "properties")
    dictionary = min(max(nbytes, 4096), 1 << 26)
    header = payload[:1] + dictionary.to_bytes(4, "little") + b"\xff" * 8
    try:
        out = lzma.decompress(header + payload[1:], lzma.FORMAT_ALONE)
    except lzma.LZMAError as error:
        raise FileError(f"LZMA stream: {error}") from error
    require(len(out) == nbytes, "length of an LZMA stream")
    return out


def lossless(payload: bytes, nbytes: int, item_bytes: int) -> bytes:
    """Section 9."""
    reader = Reader(payload)
    if nbytes == 0:
        reader.end()
        return b""
    method = reader.u(1)
    if method == 0:
        out = reader.take(nbytes)
    elif method == 1:
        require(nbytes % item_bytes == 0, "items do not fill the payload")
        out = reader.take(item_bytes) * (nbytes // item_bytes)
    elif method == 2:
        out = unzstd(reader.rest(), nbytes)
    elif method == 3:
        size = min(item_bytes, 8)
        require(nbytes % size == 0, "words do not fill the payload")
        n = nbytes // size
        planes = [symbols(reader.take(reader.varint()), n, 8) for _ in range(size - 1)]
        planes.append(symbols(reader.rest(), n, 8))
        out = join(planes, size, 1)
    elif method == 4:
        return decode_numbers(reader.rest(), nbytes, item_bytes)
    elif method == 5:
        first = reader.u(1)
        size, block, rotated = 1 << (first >> 5 & 3), 1 << (first & 31), first >> 7
        require(block <= 2**24 and nbytes % size == 0, "blocks do not fill the payload")
        out = b""
        while len(out) < nbytes:
            n = min(block, (nbytes - len(out)) // size)
            planes = [symbols(reader.take(reader.varint()), n, 8) for _ in range(size)]
            out += join(planes, size, rotated)
    elif method == 6:
        out = unlzma(reader.rest(), nbytes)
    else:
        raise UnsupportedError(f"lossless method {method}")
    reader.end()
    return out
