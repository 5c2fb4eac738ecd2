"""Hostile containers of lossless files, with a skeleton that contradicts the tensors."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import replace

from attack.file_fields import Entry, FileFields, one_tensor, table_of, varint
from attack.hostile_tensors import EXACT, VALUES, VECTOR, C, Hostile, T, U
from wcodec.model import TensorSpec

TEMPLATE = b"template"
FILE = TEMPLATE[:3] + VALUES + TEMPLATE[3:]
SHA = hashlib.sha256(FILE).digest()
END = varint(len(FILE)) + varint(3 << 2)


def good() -> FileFields:
    """A valid container of a small file with one extent."""
    return file(b"\x08\1" + SHA + END + TEMPLATE)


def file(skeleton: bytes) -> FileFields:
    """The container of that skeleton and one exact vector."""
    plain = one_tensor(VECTOR, EXACT, digest=zlib.crc32(VALUES))
    return replace(plain, kind=4, features=2, skeleton=skeleton)


def apart(facts: TensorSpec, skeleton: bytes) -> bytes:
    """A container with the remainder as a tensor."""
    entries = (Entry((EXACT,), zlib.crc32(VALUES)), Entry((b"\0\0" + TEMPLATE,), zlib.crc32(TEMPLATE)))
    return FileFields(entries, table_of([VECTOR, facts]), skeleton, kind=4, features=2).to_bytes()


def every() -> Iterator[Hostile]:
    """All hostile containers of lossless files."""
    base = good()
    rest = TensorSpec("", "uint8", (len(TEMPLATE),))
    yield "file-without-its-feature", replace(base, features=0).to_bytes(), C
    yield "file-feature-of-another-kind", replace(base, kind=2).to_bytes(), C
    yield "file-of-no-skeleton", file(b"").to_bytes(), T
    yield "file-of-an-unknown-source", file(b"\x09\1" + SHA + END + TEMPLATE).to_bytes(), U
    yield "file-with-unknown-flags", file(b"\x08\x11" + SHA + END + TEMPLATE).to_bytes(), U
    yield "file-of-another-hash", file(b"\x08\1" + SHA[::-1] + END + TEMPLATE).to_bytes(), C
    yield "file-cut-in-its-hash", file(b"\x08\1" + SHA[:9]).to_bytes(), T
    yield "file-of-another-length", file(b"\x08\1" + SHA + varint(9) + varint(12) + TEMPLATE).to_bytes(), C
    yield "file-of-62-bits", file(b"\x08\1" + SHA + varint(1 << 62) + varint(12) + TEMPLATE).to_bytes(), C
    yield "file-extent-behind-its-end", file(b"\x08\1" + SHA + varint(len(FILE)) + varint(1 << 40)).to_bytes(), C
    yield "file-vector-that-is-turned", file(b"\x08\1" + SHA + varint(len(FILE)) + varint(14) + TEMPLATE).to_bytes(), C
    yield "file-template-too-short", file(b"\x08\1" + SHA + END + TEMPLATE[:-1]).to_bytes(), C
    yield "file-template-too-long", file(b"\x08\1" + SHA + END + TEMPLATE + b"!").to_bytes(), C
    yield "file-template-apart-is-missing", file(b"\x08\3" + SHA + END).to_bytes(), C
    yield "file-template-apart-has-a-name", apart(replace(rest, name="rest"), b"\x08\3" + SHA + END), C
    yield "file-template-apart-is-signed", apart(replace(rest, dtype="int8"), b"\x08\3" + SHA + END), C
    yield "file-template-apart-and-more", apart(rest, b"\x08\3" + SHA + END + b"!"), C
    yield "file-template-apart-of-a-lossy-file", apart(rest, b"\x08\2" + END), C
    lossy = Entry((bytes((2, 0)) + varint(0x3F800000) + b"\0\0",), 0, 0)
    yield "file-of-lossy-values", replace(base, entries=(lossy,)).to_bytes(), C
