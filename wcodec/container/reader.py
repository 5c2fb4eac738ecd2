"""Reading of a container. Everything is checked before large memory is allocated."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from wcodec.container.model_section import (
    ALWAYS_FEATURES,
    BASE_FEATURE,
    KIND_FEATURES,
    KNOWN_FEATURES,
    ModelSection,
    parse_model_section,
)
from wcodec.container.records import HEADER_BYTES, KINDS, Container, Record, Section, parse_error
from wcodec.container.wire import MAGIC, READER_VERSION, take_bytes, take_uint, take_varint
from wcodec.errors import ContainerError, CorruptError, TruncatedError, UnsupportedError
from wcodec.model import TensorSpec
from wcodec.model.dataclass import replace

_FORMAT = "<4sBBHQI"
SMALL_SECTION = 1 << 20
"""Bytes of names and shapes that a model section may have with any limit, because they are not output."""


def is_container(path: Path) -> bool:
    """Whether the file has the first bytes of a .wcz.

    Raises: ContainerError if it cannot be opened.
    """
    with open_file(path) as file:
        return file.read(len(MAGIC)) == MAGIC


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """The file at `path`, opened for reading.

    Raises: ContainerError if it cannot be opened.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise ContainerError(f"{path}: {error.strerror or error}") from error
    with file:
        yield file


def parse(file: BinaryIO, max_output: int | None = None) -> Container:
    """The container in an open file. Sections are not read yet: see `read_section`.

    max_output: the largest number of bytes to which it may decode; a model section far above it is not decompressed.
    Raises: TruncatedError, CorruptError, UnsupportedError.
    """
    size = file.seek(0, os.SEEK_END)
    header = _read_at(file, 0, min(size, HEADER_BYTES))
    if header[: len(MAGIC)] != MAGIC[: len(header)] or not header:
        raise CorruptError(f"header: expected a .wcz file, which starts with {MAGIC!r}, got {header[:4]!r}")
    if len(header) < HEADER_BYTES:
        raise TruncatedError(f"header: ended early; needed {HEADER_BYTES} bytes, got {size}")
    _, version, zero, features, length, index_length = struct.unpack_from(_FORMAT, header)
    if version > READER_VERSION:
        raise UnsupportedError(f"header: the file needs reader version {version}, this is {READER_VERSION}")
    if features & ~KNOWN_FEATURES:
        names = ", ".join(str(bit) for bit in range(16) if features & ~KNOWN_FEATURES & 1 << bit)
        raise UnsupportedError(f"header: the file needs feature {names}, which this version does not have")
    if size < length:
        raise TruncatedError(f"file: ended early; expected {length} bytes, got {size}")
    if zero or not version:
        raise CorruptError(f"header: expected a reader version from 1 and a zero byte, got {version} and {zero}")
    if size > length or index_length > length - HEADER_BYTES:
        raise CorruptError(f"header: expected a file of {length} bytes with an index of {index_length}, got {size}")
    index = _read_at(file, length - index_length, index_length)
    (crc,) = struct.unpack_from("<I", header, HEADER_BYTES - 4)
    if zlib.crc32(index, zlib.crc32(header[:-4])) != crc:
        raise CorruptError("header and index: the checksum does not fit")
    return _parse_index(file, index, length, features, max_output)


def read_section(file: BinaryIO, section: Section, where: str) -> bytes:
    """The bytes of a section, with its checksum checked. May be called from several threads.

    Raises: TruncatedError, CorruptError.
    """
    payload = _read_at(file, section.offset, section.length)
    if zlib.crc32(payload) != section.crc:
        raise CorruptError(f"{where}: the checksum of {section.length} bytes at {section.offset} does not fit")
    return payload


def _parse_index(file: BinaryIO, index: bytes, file_bytes: int, features: int, max_output: int | None) -> Container:
    (kind, coding), at = take_bytes(index, 0, 2, "index")
    if kind >= len(KINDS):
        raise UnsupportedError(f"index: model file kind {kind} is not known to this version")
    if features & ~ALWAYS_FEATURES != KIND_FEATURES.get(KINDS[kind], 0):
        raise CorruptError(f"header: expected the features of kind {KINDS[kind]}, got {features:#x}")
    raw_length, at = take_varint(index, at)
    if max_output is not None and raw_length > 2 * max_output + SMALL_SECTION:
        raise UnsupportedError(
            f"model section: expected to decode to at most {max_output} bytes, the limit given, got {raw_length}"
        )
    stored_length, at = take_varint(index, at)
    crc, at = take_uint(index, at, 4)
    source_bytes, at = take_varint(index, at)
    error, at = take_uint(index, at, 2)
    records: list[Record] = []
    offset = HEADER_BYTES
    while at < len(index):
        record, at = _parse_record(index, at, offset, records)
        offset += record.nbytes
        records.append(record)
    if offset + stored_length + len(index) != file_bytes:
        raise CorruptError(
            f"index: expected lengths that add up to {file_bytes} bytes, got {offset + stored_length + len(index)}"
        )
    stored = read_section(file, Section(offset, stored_length, crc), "model section")
    section = ModelSection(coding, raw_length, stored)
    tensors, skeleton, base = parse_model_section(section, len(records), bool(features & BASE_FEATURE))
    if base:
        ways = zip(records, base.delta_modes, tensors, strict=True)
        records = [replace(record, delta_mode=way, base_name=facts.name) for record, way, facts in ways]
    _check_records(records, tensors)
    return Container(
        kind=KINDS[kind],
        file_bytes=file_bytes,
        source_bytes=source_bytes,
        error=parse_error(error),
        tensors=tensors,
        records=tuple(records),
        skeleton=skeleton,
        skeleton_bytes=stored_length,
        index_bytes=len(index),
        base=base.digest if base else None,
    )


def _check_records(records: Sequence[Record], tensors: Sequence[TensorSpec]) -> None:
    """Raises: CorruptError if a record does not fit the type and shape of its tensor."""
    for record, mine in zip(records, tensors, strict=True):
        if (record.kept or 0) > mine.count:
            raise CorruptError(f"{mine.name}: expected at most {mine.count} weights that are not 0, got {record.kept}")
        if record.duplicate_of is None:
            continue
        its = tensors[record.duplicate_of]
        if (mine.dtype, mine.shape) != (its.dtype, its.shape):
            raise CorruptError(f"{mine.name}: expected {its.dtype} {its.shape} as of its duplicate, got {mine.shape}")


def _parse_record(index: bytes, start: int, offset: int, earlier: list[Record]) -> tuple[Record, int]:
    where = f"record {len(earlier)}"
    count, at = take_varint(index, start)
    if not count:
        number, at = take_varint(index, at)
        if number >= len(earlier) or earlier[number].duplicate_of is not None:
            raise CorruptError(f"{where}: expected a duplicate of an earlier tensor, got number {number}")
        return Record((), duplicate_of=number, index_bytes=at - start), at
    lossy = count % 2 == 0
    count = count + 1 >> 1
    if count > len(index):
        raise CorruptError(f"{where}: expected at most {len(index)} sections, got {count}")
    digest, at = take_uint(index, at, 4)
    sections = []
    for _ in range(count):
        length, at = take_varint(index, at)
        crc, at = take_uint(index, at, 4)
        sections.append(Section(offset, length, crc))
        offset += length
    if not lossy:
        return Record(tuple(sections), digest, index_bytes=at - start), at
    half, at = take_uint(index, at, 2)
    kept, at = take_varint(index, at)
    return Record(tuple(sections), digest, None, parse_error(half), kept, at - start), at


def _read_at(file: BinaryIO, offset: int, length: int) -> bytes:
    try:
        payload = os.pread(file.fileno(), length, offset)
        while len(payload) < length:
            more = os.pread(file.fileno(), length - len(payload), offset + len(payload))
            if not more:
                raise TruncatedError(f"file: ended early; needed {length} bytes at {offset}, got {len(payload)}")
            payload += more
    except (OSError, OverflowError, MemoryError) as error:
        raise ContainerError(f"file: cannot read {length} bytes at {offset}: {error}") from error
    return payload
