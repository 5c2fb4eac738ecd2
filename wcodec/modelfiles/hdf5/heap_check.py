"""A check that HDF5 lacks: its library never returns from a damaged heap of variable-length strings.

A global heap is "GCOL", version 1, three zeros, u64 size; then objects: u16 index, u16 references, four zeros, u64
size, the bytes padded to a multiple of 8. Index 0 is the free space, whose size counts its own header; where that is
zero, libhdf5 1.14 does not advance.
"""

from __future__ import annotations

import os
from typing import IO

from wcodec.errors import ModelFileError

SIGNATURE = b"GCOL\x01\0\0\0"
HEADER_BYTES = 16
BLOCK = 1 << 20


def check_heaps(file: IO[bytes], where: str) -> int:
    """Looks through a whole HDF5 file; bytes of the longest string in its heaps.

    Raises: ModelFileError for a heap whose objects do not follow each other up to its end, or that overlaps another.
    """
    found = _signatures(file)
    length = file.seek(0, os.SEEK_END)
    end = longest = 0
    for address in found:
        file.seek(address + 8)
        size = int.from_bytes(file.read(8), "little")
        file.seek(address)
        heap = file.read(min(size, length - address))
        own = _longest(heap)
        if address < end or len(heap) != size or own is None:
            raise ModelFileError(f"{where}: damaged heap of strings at byte {address}")
        end, longest = address + size, max(longest, own)
    file.seek(0)
    return longest


def _signatures(file: IO[bytes]) -> list[int]:
    """Where they are, ascending. Searched for from behind, which Python does in less than half of the time."""
    file.seek(0)
    overlap = len(SIGNATURE) - 1
    buffer = bytearray(overlap + BLOCK)
    start = -overlap
    found: list[int] = []
    while block := file.read(BLOCK):
        buffer[overlap : overlap + len(block)] = block
        end, here = overlap + len(block), []
        while (at := buffer.rfind(SIGNATURE, 0, end)) >= 0:
            here.append(start + at)
            end = at + overlap
        found += reversed(here)
        buffer[:overlap] = buffer[len(block) : len(block) + overlap]
        start += len(block)
    return found


def _longest(heap: bytes) -> int | None:
    """Bytes of its longest object; None where its objects do not follow each other up to its end."""
    at, longest = HEADER_BYTES, 0
    while len(heap) - at >= HEADER_BYTES:
        size = int.from_bytes(heap[at + 8 : at + 16], "little")
        if heap[at : at + 2] == b"\0\0":
            return longest if size >= HEADER_BYTES and at + size <= len(heap) else None
        longest = max(longest, size)
        at += HEADER_BYTES + -(-size // 8) * 8
    return longest if at <= len(heap) else None
