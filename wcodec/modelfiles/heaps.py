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


def check_heaps(file: IO[bytes], where: str) -> None:
    """Looks through a whole HDF5 file.

    Raises: ModelFileError for a heap whose objects do not follow each other up to its end, or that overlaps another.
    """
    found = _signatures(file)
    length = file.seek(0, os.SEEK_END)
    end = 0
    for address in found:
        file.seek(address + 8)
        size = int.from_bytes(file.read(8), "little")
        file.seek(address)
        heap = file.read(min(size, length - address))
        if address < end or len(heap) != size or not _advances(heap):
            raise ModelFileError(f"{where}: damaged heap of strings at byte {address}")
        end = address + size
    file.seek(0)


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


def _advances(heap: bytes) -> bool:
    at = HEADER_BYTES
    while len(heap) - at >= HEADER_BYTES:
        size = int.from_bytes(heap[at + 8 : at + 16], "little")
        if heap[at : at + 2] == b"\0\0":
            return size >= HEADER_BYTES and at + size <= len(heap)
        at += HEADER_BYTES + -(-size // 8) * 8
    return at <= len(heap)
