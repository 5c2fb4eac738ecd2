"""A check that HDF5 lacks: its library never returns from a damaged heap of variable-length strings.

A global heap is "GCOL", version 1, three zeros, u64 size; then objects: u16 index, u16 references, four zeros, u64
size, the bytes padded to a multiple of 8. Index 0 is the free space, whose size counts its own header; where that is
zero, libhdf5 1.14 does not advance.
"""

from __future__ import annotations

from typing import IO

from wcodec.errors import ModelFileError

SIGNATURE = b"GCOL\x01\0\0\0"
HEADER_BYTES = 16
BLOCK = 1 << 20


def check_heaps(file: IO[bytes], where: str) -> None:
    """Looks through a whole HDF5 file.

    Raises: ModelFileError for a heap whose objects do not follow each other up to its end, or that overlaps another.
    """
    file.seek(0)
    start, kept = 0, b""
    found: list[int] = []
    while block := file.read(BLOCK):
        kept += block
        at = kept.find(SIGNATURE)
        while at >= 0:
            found.append(start + at)
            at = kept.find(SIGNATURE, at + 1)
        overlap = len(SIGNATURE) - 1
        start, kept = start + max(0, len(kept) - overlap), kept[-overlap:]
    end = 0
    for address in found:
        file.seek(address + 8)
        size = int.from_bytes(file.read(8), "little")
        file.seek(address)
        heap = file.read(min(size, start + len(kept) - address))
        if address < end or len(heap) != size or not _advances(heap):
            raise ModelFileError(f"{where}: damaged heap of strings at byte {address}")
        end = address + size
    file.seek(0)


def _advances(heap: bytes) -> bool:
    at = HEADER_BYTES
    while len(heap) - at >= HEADER_BYTES:
        size = int.from_bytes(heap[at + 8 : at + 16], "little")
        if heap[at : at + 2] == b"\0\0":
            return size >= HEADER_BYTES and at + size <= len(heap)
        at += HEADER_BYTES + -(-size // 8) * 8
    return at <= len(heap)
