"""The wire format of protocol buffers: finding the fields of a message. No objects are built and nothing is run.

https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Field(NamedTuple):
    """A field: its value if it is a varint, otherwise the byte range of its contents. There are millions of them."""

    number: int
    wire: int
    value: int
    begin: int
    end: int


def fields(file: mmap.mmap | bytes, begin: int, end: int) -> Iterator[Field]:
    """The fields of the message at `begin`.

    Raises: ValueError if the bytes up to `end` are not a message.
    """
    at = begin
    while at < end:
        tag, at = (file[at], at + 1) if file[at] < 0x80 else varint(file, at, end)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise ValueError(f"field {number} before byte {at}")
        if wire == VARINT:
            start = at
            value, at = (file[at], at + 1) if at < end and file[at] < 0x80 else varint(file, at, end)
            yield Field(number, wire, value, start, at)
            continue
        if wire not in (FIXED64, BYTES, FIXED32):
            raise ValueError(f"wire type {wire} before byte {at}")
        size, at = varint(file, at, end) if wire == BYTES else (8 if wire == FIXED64 else 4, at)
        if size > end - at:
            raise ValueError(f"field {number} at byte {at} ends after its message")
        yield Field(number, wire, 0, at, at + size)
        at += size


def varint(file: mmap.mmap | bytes, at: int, end: int) -> tuple[int, int]:
    """The varint at `at`, and the position after it.

    Raises: ValueError if there is none.
    """
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise ValueError(f"ended early at byte {at}")
        byte = file[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise ValueError(f"varint of more than ten bytes before byte {at}")
