"""Decoding of `encode --lossless`: extents and remainder, chunk by chunk. Inverse: `lossless_encoder`."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import BinaryIO

import numpy as np

from wcodec.codec.delta import DIFFERENCE
from wcodec.codec.parallel import map_ordered
from wcodec.codec.tensor_decoder import TensorReader, open_tensor
from wcodec.container.records import Container, Record
from wcodec.errors import ContainerError, CorruptError
from wcodec.model import AnyArray, TensorSpec
from wcodec.modelfiles.extents import BIG_ENDIAN, FORTRAN_ORDER, Extent, Parsed, as_it_lies, parse
from wcodec.pipeline.base_file import BaseFile

Sink = Callable[[int, memoryview | bytes], object]
"""Takes bytes and where they lie in the file; from several threads."""
DecodedChunk = tuple[AnyArray, memoryview]
"""A chunk's values, flat, and their bytes as they lie in the file."""
Progress = Callable[[TensorSpec], None]


@dataclass
class Opened:
    """A tensor's sections, opened when the first of its chunks is worked on."""

    file: BinaryIO
    container: Container
    base: BaseFile | None
    number: int
    begin: int = 0
    _lock: Lock = field(default_factory=Lock)
    _sections: TensorReader | None = None

    @property
    def facts(self) -> TensorSpec:
        """Name, type and shape."""
        return self.container.tensors[self.number]

    @property
    def record(self) -> Record:
        """Where its sections are."""
        return self.container.resolve(self.number)

    def sections(self) -> TensorReader:
        """Its sections.

        Raises: ContainerError and its kinds.
        """
        with self._lock:
            if self._sections is None:
                self._sections = open_tensor(self.file, self.facts, self.record, self.base)
                if self._sections.header.dequantizer is not None or self.record.delta_mode == DIFFERENCE:
                    raise CorruptError("expected exact values in an identical file")
            return self._sections


@dataclass(frozen=True)
class Work:
    """One chunk to decode. extent: where its tensor lies, None for the remainder."""

    opened: Opened
    number: int
    extent: Extent | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that it decodes to, about."""
        return self.opened.facts.nbytes // len(self.opened.record.sections)

    def done(self, sink: Sink) -> DecodedChunk:
        """Decode it; its bytes are given to `sink`, unless the whole tensor is needed to tell where they lie.

        Raises: ContainerError and its kinds.
        """
        try:
            sections = self.opened.sections()
            values = sections.chunk(self.number)
        except ContainerError as error:
            raise type(error)(f"{self.opened.facts.name or 'template'}: {error}") from error
        stored = values.byteswap() if self.extent and self.extent.flags & BIG_ENDIAN else values
        raw = memoryview(stored.view(np.uint8).data)
        if self.extent and not self.extent.flags & FORTRAN_ORDER:
            sink(self.extent.begin + self.number * sections.header.chunk_units * values.itemsize, raw)
        return values, raw


def is_lossless(container: Container) -> bool:
    """Whether the container holds a file byte for byte."""
    return container.kind == "file" and parse(container.skeleton, container.tensors).digest is not None


def decode_lossless(
    file: BinaryIO, container: Container, base: BaseFile | None, sink: Sink, threads: int, progress: Progress | None
) -> None:
    """Give the bytes of the file to `sink`.

    Raises: ContainerError and its kinds; CorruptError at the end where the SHA-256 does not fit.
    """
    parsed = parse(container.skeleton, container.tensors)
    layout, whole = parsed.layout, _Whole(sink)
    works = _works(file, container, base, parsed)
    decoded = map_ordered(lambda work: work.done(sink), works, threads, lambda work: work.nbytes)
    rest = _Rest(container, parsed, decoded)
    for number, (begin, end) in enumerate(layout.gaps()):
        for part in rest.take(end - begin):
            whole.write(part)
        if number < len(layout.extents):
            extent, record = layout.extents[number], container.resolve(number)
            _extent(extent, (next(decoded) for _ in record.sections), record.digest, whole)
            if progress:
                progress(extent.facts)
    rest.check()
    if whole.sha.digest() != parsed.digest:
        raise CorruptError("file: the SHA-256 of the restored file does not fit")


class _Whole:
    """The file, in order."""

    def __init__(self, sink: Sink) -> None:
        self.sha = hashlib.sha256()
        self._sink, self._at = sink, 0

    def write(self, part: memoryview | bytes) -> None:
        """The next bytes."""
        self._sink(self._at, part)
        self.written(part)

    def written(self, part: memoryview | bytes) -> None:
        """The next bytes, which have been given to the sink."""
        self.sha.update(part)
        self._at += len(part)


def _works(file: BinaryIO, container: Container, base: BaseFile | None, parsed: Parsed) -> Iterator[Work]:
    """Chunks in file order; a chunk of the remainder is scheduled when the decoded ones are used up."""
    layout, number = parsed.layout, 0
    rest = Opened(file, container, base, len(container.tensors) - 1) if parsed.remainder is None else None
    have = len(parsed.remainder or b"")
    for place, (begin, end) in enumerate(layout.gaps()):
        while rest and have < end - begin:
            if number >= len(rest.record.sections):
                raise CorruptError("template: ended early")
            yield Work(rest, number)
            units = rest.sections().header.chunk_units
            have += min(units, rest.facts.count - number * units)
            number += 1
        have -= end - begin
        if place < len(layout.extents):
            opened = Opened(file, container, base, place)
            for chunk in range(len(opened.record.sections)):
                yield Work(opened, chunk, layout.extents[place])


class _Rest:
    """The template's bytes: those of the skeleton, or of chunks as they are decoded."""

    def __init__(self, container: Container, parsed: Parsed, decoded: Iterator[DecodedChunk]) -> None:
        self._left = memoryview(parsed.remainder or b"")
        self._decoded = decoded
        self._crc = 0
        self._digest = container.records[-1].digest if parsed.remainder is None else 0

    def take(self, count: int) -> Iterator[memoryview]:
        """The next `count` bytes, in parts."""
        while count:
            if not self._left:
                _, self._left = next(self._decoded)
                self._crc = zlib.crc32(self._left, self._crc)
            part = self._left[:count]
            self._left = self._left[len(part) :]
            count -= len(part)
            yield part

    def check(self) -> None:
        """Raises: CorruptError where the digest does not fit."""
        if self._digest != self._crc:
            raise CorruptError("template: the digest of the decoded values does not fit")


def _extent(extent: Extent, chunks: Iterator[DecodedChunk], digest: int, whole: _Whole) -> None:
    crc = 0
    held: list[AnyArray] = []
    for values, stored in chunks:
        crc = zlib.crc32(values.data, crc)
        if extent.flags & FORTRAN_ORDER:
            held.append(values)
        else:
            whole.written(stored)
    if crc != digest:
        raise CorruptError(f"{extent.facts.name}: the digest of the decoded values does not fit")
    if held:
        whole.write(as_it_lies(np.concatenate(held).reshape(extent.facts.shape), extent))
