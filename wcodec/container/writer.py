"""Writing of a container: the sections in order, then the model section and the index, and the header last."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import BinaryIO

from wcodec.container.model_section import BASE_FEATURE, KIND_FEATURES, BaseInfo, pack_model_section
from wcodec.container.records import HEADER_BYTES, KINDS, pack_error
from wcodec.container.wire import MAGIC, READER_VERSION, put_varint
from wcodec.model import TensorSpec
from wcodec.model.dataclass import dataclass, field


@dataclass(frozen=True)
class EncodedSections:
    """A coded tensor: its sections' bytes and the facts of its record (see `records.Record`)."""

    sections: tuple[bytes, ...]
    digest: int
    error: float | None = None
    kept: int | None = None
    delta_mode: int = 0


@dataclass
class Writer:
    """Takes coded tensors in order, writes their sections at once, and closes the file with `finish`."""

    file: BinaryIO
    _index: bytearray = field(default_factory=bytearray)
    _sections: bytearray = field(default_factory=bytearray)
    _count: int = 0
    _ways: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.file.write(bytes(HEADER_BYTES))

    def section(self, section: bytes) -> None:
        """Write one section of the next tensor, so that a large tensor is not kept in memory."""
        self.file.write(section)
        put_varint(self._sections, len(section))
        self._sections += struct.pack("<I", zlib.crc32(section))
        self._count += 1

    def add(self, coded: EncodedSections) -> None:
        """Finish the next tensor; the sections passed to `section` before are its first ones."""
        lossy = coded.error is not None
        for section in coded.sections:
            self.section(section)
        put_varint(self._index, 2 * self._count - (not lossy))
        self._index += struct.pack("<I", coded.digest) + self._sections
        self._count = 0
        self._sections.clear()
        self._ways.append(coded.delta_mode)
        if coded.error is not None:
            self._index += struct.pack("<H", pack_error(coded.error))
            put_varint(self._index, coded.kept or 0)

    def add_duplicate(self, number: int) -> None:
        """The next tensor equals tensor `number`."""
        self._index.append(0)
        put_varint(self._index, number)
        self._ways.append(0)

    def finish(
        self,
        kind: str,
        tensors: Sequence[TensorSpec],
        skeleton: bytes,
        source_bytes: int,
        error: float,
        base: bytes | None = None,
    ) -> int:
        """Write model section, index and header. Returns the length of the file in bytes.

        base: SHA-256 of the file against which tensors are coded; it is left out if none is.
        """
        facts = BaseInfo(base, tuple(self._ways)) if base and any(self._ways) else None
        section = pack_model_section(tensors, skeleton, facts)
        self.file.write(section.stored)
        head = bytearray((KINDS.index(kind), section.coding))
        put_varint(head, section.length)
        put_varint(head, len(section.stored))
        head += struct.pack("<I", zlib.crc32(section.stored))
        put_varint(head, source_bytes)
        head += struct.pack("<H", pack_error(error))
        index = bytes(head + self._index)
        self.file.write(index)
        length = self.file.tell()
        features = section.features | KIND_FEATURES.get(kind, 0) | (BASE_FEATURE if facts else 0)
        header = struct.pack("<4sBBHQI", MAGIC, READER_VERSION, 0, features, length, len(index))
        self.file.seek(0)
        self.file.write(header + struct.pack("<I", zlib.crc32(index, zlib.crc32(header))))
        return length
