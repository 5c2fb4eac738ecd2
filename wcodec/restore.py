"""Putting a file together again: template and extents, chunk by chunk. Inverse: `identical`."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from wcodec.chunks import Sections, open_sections
from wcodec.container.records import Container
from wcodec.errors import ContainerError, CorruptError
from wcodec.model import Bits, TensorFacts
from wcodec.modelfiles.template import BIG, FORTRAN, Extent, Parsed, as_it_lies, parse
from wcodec.parallel import ordered
from wcodec.versions import DIFFERENCE, Base

Sink = Callable[[memoryview | bytes], object]
Progress = Callable[[TensorFacts], None]


@dataclass(frozen=True)
class Work:
    """One chunk to decode."""

    sections: Sections
    number: int

    def values(self) -> Bits:
        """Its values, flat.

        Raises: ContainerError and its kinds.
        """
        try:
            return self.sections.chunk(self.number)
        except ContainerError as error:
            raise type(error)(f"{self.sections.facts.name or 'template'}: {error}") from error


def is_identical(container: Container) -> bool:
    """Whether the container holds a file byte for byte."""
    return container.kind == "file" and parse(container.skeleton, container.tensors).digest is not None


def restore(
    file: BinaryIO, container: Container, base: Base | None, sink: Sink, threads: int, progress: Progress | None
) -> None:
    """Give the bytes of the file to `sink`, in order.

    Raises: ContainerError and its kinds; CorruptError at the end where the SHA-256 does not fit.
    """
    parsed = parse(container.skeleton, container.tensors)
    template = parsed.template
    whole = _Whole(sink)
    decoded = ordered(Work.values, _works(file, container, base, parsed), threads)
    rest = _Rest(container, parsed, decoded)
    for number, (begin, end) in enumerate(template.gaps()):
        for part in rest.take(end - begin):
            whole.write(part)
        if number < len(template.extents):
            extent = template.extents[number]
            chunks = len(container.resolve(number).sections)
            _extent(extent, (next(decoded) for _ in range(chunks)), container.resolve(number).digest, whole)
            if progress:
                progress(extent.facts)
    rest.check()
    if whole.sha.digest() != parsed.digest:
        raise CorruptError("file: the SHA-256 of the restored file does not fit")


class _Whole:
    def __init__(self, sink: Sink) -> None:
        self.sink, self.sha = sink, hashlib.sha256()

    def write(self, part: memoryview | bytes) -> None:
        self.sha.update(part)
        self.sink(part)


def _works(file: BinaryIO, container: Container, base: Base | None, parsed: Parsed) -> Iterator[Work]:
    """Every chunk in the order in which its bytes are needed: the template's when what is decoded of it runs out."""
    template, number = parsed.template, 0
    rest = _opened(file, container, base, len(container.tensors) - 1) if parsed.rest is None else None
    have = len(parsed.rest or b"")
    for place, (begin, end) in enumerate(template.gaps()):
        while rest and have < end - begin:
            if number >= len(rest.record.sections):
                raise CorruptError("template: ended early")
            yield Work(rest, number)
            have += min(rest.head.chunk_units, rest.facts.count - number * rest.head.chunk_units)
            number += 1
        have -= end - begin
        if place < len(template.extents):
            sections = _opened(file, container, base, place)
            for chunk in range(len(sections.record.sections)):
                yield Work(sections, chunk)


def _opened(file: BinaryIO, container: Container, base: Base | None, number: int) -> Sections:
    facts = container.tensors[number]
    try:
        sections = open_sections(file, facts, container.resolve(number), base)
    except ContainerError as error:
        raise type(error)(f"{facts.name or 'template'}: {error}") from error
    if sections.head.rule is not None or sections.record.way == DIFFERENCE:
        raise CorruptError(f"{facts.name or 'template'}: expected exact values in an identical file")
    return sections


class _Rest:
    """The template's bytes: those of the skeleton, or of chunks as they are decoded."""

    def __init__(self, container: Container, parsed: Parsed, decoded: Iterator[Bits]) -> None:
        self._left = memoryview(parsed.rest or b"")
        self._decoded = decoded
        self._crc = 0
        self._digest = container.records[-1].digest if parsed.rest is None else 0

    def take(self, count: int) -> Iterator[memoryview]:
        """The next `count` bytes, in parts."""
        while count:
            if not self._left:
                values = next(self._decoded)
                self._left = memoryview(values.data).cast("B")
                self._crc = zlib.crc32(self._left, self._crc)
            part = self._left[:count]
            self._left = self._left[len(part) :]
            count -= len(part)
            yield part

    def check(self) -> None:
        """Raises: CorruptError where the digest does not fit."""
        if self._digest != self._crc:
            raise CorruptError("template: the digest of the decoded values does not fit")


def _extent(extent: Extent, chunks: Iterator[Bits], digest: int, whole: _Whole) -> None:
    crc = 0
    held: list[Bits] = []
    for values in chunks:
        crc = zlib.crc32(values.data, crc)
        if extent.flags & FORTRAN:
            held.append(values)
        else:
            stored = values.byteswap() if extent.flags & BIG else values
            whole.write(stored.view(np.uint8).data)
    if crc != digest:
        raise CorruptError(f"{extent.facts.name}: the digest of the decoded values does not fit")
    if held:
        whole.write(as_it_lies(np.concatenate(held).reshape(extent.facts.shape), extent))
