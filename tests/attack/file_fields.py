"""The fields of a .wcz: parsed as in `formats/wcz.md`, modified, and written with valid checksums."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from wcodec.container.model_section import STORED, ModelSection, parse_model_section
from wcodec.model import DTYPE_IDS, TensorSpec
from wcodec.modelfiles.zip_members import TENSORS, Member, pack

HEADER = struct.Struct("<4sBBHQI")


@dataclass(frozen=True)
class Entry:
    """A record of the index with the bytes of its sections; a duplicate has none."""

    sections: tuple[bytes, ...] = ()
    digest: int = 0
    error: int | None = None
    kept: int = 0
    duplicate_of: int | None = None

    def pack(self) -> bytes:
        """The bytes of the record."""
        if self.duplicate_of is not None:
            return b"\0" + varint(self.duplicate_of)
        out = varint(2 * len(self.sections) - (self.error is None)) + struct.pack("<I", self.digest)
        for section in self.sections:
            out += varint(len(section)) + struct.pack("<I", zlib.crc32(section))
        return out if self.error is None else out + struct.pack("<H", self.error) + varint(self.kept)


@dataclass(frozen=True)
class FileFields:
    """Every field of the file. `table` and `skeleton` are the decoded model section; `to_bytes` does not compress them.

    Fields that are None follow from the others; any other value makes the file invalid.
    """

    entries: tuple[Entry, ...]
    table: bytes
    skeleton: bytes
    kind: int = 2
    source_bytes: int = 0
    error: int = 0
    version: int = 1
    zero: int = 0
    features: int = 0
    coding: int = STORED
    decoded_length: int | None = None
    stored: bytes | None = None
    stored_length: int | None = None
    file_length: int | None = None
    index_length: int | None = None
    index_tail: bytes = b""
    gap: bytes = field(default=b"", repr=False)

    def to_bytes(self) -> bytes:
        """The file, with correct checksums."""
        plain = self.table + self.skeleton
        stored = plain if self.stored is None else self.stored
        sections = b"".join(section for entry in self.entries for section in entry.sections) + self.gap
        index = bytes((self.kind, self.coding))
        index += varint(len(plain) if self.decoded_length is None else self.decoded_length)
        index += varint(len(stored) if self.stored_length is None else self.stored_length)
        index += struct.pack("<I", zlib.crc32(stored)) + varint(self.source_bytes) + struct.pack("<H", self.error)
        return self.join_parts(
            sections + stored, index + b"".join(entry.pack() for entry in self.entries) + self.index_tail
        )

    def join_parts(self, body: bytes, index: bytes) -> bytes:
        """The file with these bytes between header and index, and this index."""
        length = HEADER.size + 4 + len(body) + len(index) if self.file_length is None else self.file_length
        index_length = len(index) if self.index_length is None else self.index_length
        header = HEADER.pack(b"\x89WCZ", self.version, self.zero, self.features, length, index_length)
        return header + struct.pack("<I", zlib.crc32(index, zlib.crc32(header))) + body + index

    def with_section(self, tensor: int, number: int, section: bytes) -> FileFields:
        """The fields with the bytes of one section replaced, and the old digest of the values."""
        entry = self.entries[tensor]
        sections = (*entry.sections[:number], section, *entry.sections[number + 1 :])
        return self.with_entry(tensor, replace(entry, sections=sections))

    def with_entry(self, tensor: int, entry: Entry) -> FileFields:
        """The fields with one record replaced."""
        return replace(self, entries=(*self.entries[:tensor], entry, *self.entries[tensor + 1 :]))

    def with_tensors(self, tensors: Sequence[TensorSpec]) -> FileFields:
        """The fields with another table of tensors and the skeleton of these."""
        return replace(self, table=table_of(tensors), skeleton=skeleton_of(tensors))

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """The table of tensors, parsed."""
        return parse_model_section(ModelSection(STORED, len(self.table), self.table), len(self.entries))[0]


def one_tensor(facts: TensorSpec, *sections: bytes, digest: int = 0, error: int | None = None) -> FileFields:
    """A container of an .npz of one tensor with these sections."""
    return FileFields((Entry(sections, digest, error),), table_of([facts]), skeleton_of([facts]))


def skeleton_of(tensors: Sequence[TensorSpec]) -> bytes:
    """The skeleton of an .npz of these tensors."""
    date = (1980, 1, 1, 0, 0, 0)
    return pack([Member(f"{facts.name}.npy", date, False, 0, TENSORS, bytes((0, 1))) for facts in tensors])


def dissect(file: bytes) -> FileFields:
    """The fields of a valid file. Inverse: `FileFields.to_bytes`, which does not compress the model section."""
    _, version, zero, features, length, index_length = HEADER.unpack_from(file)
    assert length == len(file)
    index = file[length - index_length :]
    kind, coding = index[:2]
    decoded_length, at = take(index, 2)
    stored_length, at = take(index, at)
    source_bytes, at = take(index, at + 4)
    (error,) = struct.unpack_from("<H", index, at)
    at, offset = at + 2, HEADER.size + 4
    entries = []
    while at < len(index):
        count, at = take(index, at)
        if not count:
            twin, at = take(index, at)
            entries.append(Entry(duplicate_of=twin))
            continue
        (digest,) = struct.unpack_from("<I", index, at)
        at += 4
        sections = []
        for _ in range((count + 1) // 2):
            size, at = take(index, at)
            sections.append(file[offset : offset + size])
            assert zlib.crc32(sections[-1]) == struct.unpack_from("<I", index, at)[0]
            at, offset = at + 4, offset + size
        entry = Entry(tuple(sections), digest)
        if count % 2 == 0:
            kept, end = take(index, at + 2)
            entry, at = replace(entry, error=struct.unpack_from("<H", index, at)[0], kept=kept), end
        entries.append(entry)
    stored = file[offset : offset + stored_length]
    assert offset + stored_length + index_length == length
    tensors, skeleton, _ = parse_model_section(ModelSection(coding, decoded_length, stored), len(entries))
    return FileFields(
        tuple(entries), table_of(tensors), skeleton, kind, source_bytes, error, version, zero, features & ~1
    )


def table_of(tensors: Sequence[TensorSpec]) -> bytes:
    """The table of tensors, as bytes of the model section."""
    return varint(len(tensors)) + b"".join(row_of(tensor) for tensor in tensors)


def row_of(tensor: TensorSpec, dtype: int | None = None) -> bytes:
    """The row of one tensor in the table."""
    name = tensor.name.encode()
    row = (
        varint(len(name))
        + name
        + bytes((DTYPE_IDS[tensor.dtype] if dtype is None else dtype,))
        + varint(len(tensor.shape))
    )
    return row + b"".join(varint(extent) for extent in tensor.shape)


def varint(value: int) -> bytes:
    """The shortest LEB128 encoding of the value."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes((value,))


def take(data: bytes, at: int) -> tuple[int, int]:
    """The varint at `data[at:]`, and the position after it. Inverse: `varint`."""
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at
