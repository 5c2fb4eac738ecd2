"""Checks of the heaps of variable-length strings. The HDF5 library loops for ever on some damaged heaps, and allocates
the length that a string declares.

A global heap is "GCOL", version 1, three zeros, u64 size; then objects: u16 index, u16 references, four zeros, u64
size, the bytes padded to a multiple of 8. Index 0 is the free space, whose size includes its own header; if that size
is zero, libhdf5 1.14 does not advance.
"""

from __future__ import annotations

import os
from typing import IO

import numpy as np
import numpy.typing as npt

from wcodec.errors import ModelFileError

SIGNATURE = b"GCOL\x01\0\0\0"
HEADER_BYTES = 16
STRING_BYTES = 16
LIE = 1 << 25
"""Declared lengths below this one are harmless; no heap of a model has a string of this length."""
HDF5 = b"\x89HDF\r\n\x1a\n"
BLOCK = 1 << 20
FEW = 4
"""So many addresses are searched in less time than all possible references are compared."""


def check_heaps(file: IO[bytes], where: str) -> int:
    """Check all heaps of an HDF5 file, and return the bytes of the longest string in them.

    Raises: ModelFileError for a heap whose objects do not follow each other up to its end, or that overlaps another.
    """
    base = _check_superblock(file, where)
    found = _find_signatures(file)
    length = file.seek(0, os.SEEK_END)
    end = longest = 0
    objects: list[int] = []
    for address in found:
        file.seek(address + 8)
        size = int.from_bytes(file.read(8), "little")
        file.seek(address)
        heap = file.read(min(size, length - address))
        sizes = _measure_objects(heap)
        if address < end or len(heap) != size or sizes is None:
            raise ModelFileError(f"{where}: damaged heap of strings at byte {address}")
        end, longest = address + size, max((longest, *sizes.values()))
        objects += [start << 16 | number for start in {address, address - base} for number in sizes]
    if objects:
        _refuse_false_lengths(file, np.array(objects, np.uint64), where)
    file.seek(0)
    return longest


def _check_superblock(file: IO[bytes], where: str) -> int:
    """The position at which HDF5 starts in the file; addresses may be relative to it.

    Raises: ModelFileError for addresses that do not have 8 bytes, because heaps then have another layout.
    """
    length = file.seek(0, os.SEEK_END)
    base = 0
    while base < length:
        file.seek(base)
        head = file.read(16)
        if head.startswith(HDF5):
            sizes = head[13:15] if head[8:9] < b"\2" else head[9:11]
            if sizes != b"\x08\x08":
                raise ModelFileError(f"{where}: expected HDF5 addresses and lengths of 8 bytes, got {sizes.hex(' ')}")
            return base
        base = 2 * base or 512
    return 0


def _refuse_false_lengths(file: IO[bytes], objects: npt.NDArray[np.uint64], where: str) -> None:
    """Raises: ModelFileError if bytes look like a reference to a heap object with a declared length of LIE bytes or
    more.

    objects: 2^16 times the address of a heap, plus the number of an object in it.
    Such a reference is a u32 length, the u64 address of the heap and a u32 number in the heap, below 2^16. The library
    allocates the declared length before it finds that the object is shorter.
    """
    # np.unique and np.isin would load numpy.ma, which takes longer than this check of a small file.
    heaps = [address.to_bytes(8, "little") for address in set((objects >> np.uint64(16)).tolist())]
    objects = np.sort(objects)
    file.seek(0)
    tail = b""
    while block := file.read(BLOCK):
        text = tail + block
        tail = text[-STRING_BYTES + 1 :]
        if len(heaps) <= FEW and all(text.rfind(address) < 0 for address in heaps):
            continue
        held = np.frombuffer(text, np.uint8)
        count = max(0, held.size - STRING_BYTES + 1)
        # The bytes 4 and 3 may be the version and class of a virtual dataset, which is refused by name; 51 MB at most.
        odd = (held[3 : count + 3] >= LIE >> 24) & ((held[3 : count + 3] != 3) | (held[2 : count + 2] != 4))
        for zero in (10, 11, 14, 15):  # of addresses below 2^48 and numbers below 2^16
            odd &= held[zero : count + zero] == 0
        places = np.flatnonzero(odd)
        addresses = held[places[:, None] + np.arange(4, 12)].copy().view(np.uint64)[:, 0]
        numbers = held[places[:, None] + np.arange(12, 14)].copy().view(np.uint16)[:, 0]
        named = addresses << np.uint64(16) | numbers
        if (objects[np.searchsorted(objects[:-1], named)] == named).any():
            raise ModelFileError(f"{where}: a string declares more bytes than its heap has; --lossless keeps any file")


def _find_signatures(file: IO[bytes]) -> list[int]:
    """The positions of all signatures, ascending. Python searches backwards in less than half of the time."""
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


def _measure_objects(heap: bytes) -> dict[int, int] | None:
    """The sizes of the objects of a heap by number; None if they do not follow each other up to its end."""
    at = HEADER_BYTES
    sizes: dict[int, int] = {}
    while len(heap) - at >= HEADER_BYTES:
        size = int.from_bytes(heap[at + 8 : at + 16], "little")
        number = int.from_bytes(heap[at : at + 2], "little")
        if not number:
            return sizes if size >= HEADER_BYTES and at + size <= len(heap) else None
        sizes[number] = size
        at += HEADER_BYTES + -(-size // 8) * 8
    return sizes if at <= len(heap) else None
