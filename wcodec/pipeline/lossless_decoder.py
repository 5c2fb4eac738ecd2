"""Decoding of files of `encode --lossless`: extents and remainder, chunk by chunk. Inverse: `lossless_encoder`."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import BinaryIO

import numpy as np

from wcodec.codec.delta import DIFFERENCE
from wcodec.codec.parallel import map_ordered
from wcodec.codec.tensor_decoder import TensorReader, open_tensor
from wcodec.container.records import Container, Record
from wcodec.errors import ContainerError, CorruptError
from wcodec.model import AnyArray, Progress, TensorSpec
from wcodec.model.dataclass import dataclass, field
from wcodec.modelfiles.extents import BIG_ENDIAN, FORTRAN_ORDER, Extent, Parsed, extent_bytes, parse
from wcodec.pipeline.base_file import BaseFile
from wcodec.pipeline.duplicates import last_uses

Sink = Callable[[int, memoryview | bytes], object]
"""Takes a position in the file and bytes; called from several threads."""
DecodedChunk = tuple[AnyArray, memoryview]
"""The flat values of a chunk, and their bytes as in the file."""


@dataclass(frozen=True)
class _Tensor:
    """One tensor of the container; its sections are opened when the first of its chunks is decoded."""

    file: BinaryIO
    container: Container
    base: BaseFile | None
    number: int

    @property
    def spec(self) -> TensorSpec:
        return self.container.tensors[self.number]

    @property
    def record(self) -> Record:
        return self.container.resolve(self.number)

    @cached_property
    def sections(self) -> TensorReader:
        """Raises: ContainerError and its kinds."""
        found = open_tensor(self.file, self.spec, self.record, self.base)
        if found.header.dequantizer is not None or self.record.delta_mode == DIFFERENCE:
            raise CorruptError("expected exact values in an identical file")
        return found


@dataclass(frozen=True)
class _Chunk:
    """One chunk to decode. extent: of its tensor, None for the remainder."""

    tensor: _Tensor
    number: int
    extent: Extent | None = None

    @property
    def nbytes(self) -> int:
        """The approximate number of decoded bytes."""
        return self.tensor.spec.nbytes // len(self.tensor.record.sections)

    def decode(self, sink: Sink) -> DecodedChunk:
        """Its values. `sink` gets its bytes, unless the whole tensor is needed to place them."""
        try:
            sections = self.tensor.sections
            values = sections.chunk(self.number)
        except ContainerError as error:
            raise type(error)(f"{self.tensor.spec.name or 'remainder'}: {error}") from error
        stored = values.byteswap() if self.extent and self.extent.flags & BIG_ENDIAN else values
        raw = memoryview(stored.view(np.uint8).data)
        if self.extent and not self.extent.flags & FORTRAN_ORDER:
            sink(self.extent.begin + self.number * sections.header.chunk_units * values.itemsize, raw)
        return values, raw


def decode_lossless(
    file: BinaryIO, container: Container, base: BaseFile | None, sink: Sink, threads: int, progress: Progress | None
) -> None:
    """Pass the bytes of the file to `sink`.

    Raises: ContainerError and its kinds; CorruptError at the end if the SHA-256 does not match.
    """
    parsed = parse(container.skeleton, container.tensors)
    extents, sha, uses = parsed.layout.extents, hashlib.sha256(), last_uses(container)
    chunks = _decode_chunks(file, container, base, parsed, uses)
    decoded = map_ordered(lambda chunk: chunk.decode(sink), chunks, threads, lambda chunk: chunk.nbytes)
    remainder = _Remainder(container, parsed, decoded)
    values = _Values(container, decoded, uses, sink)
    for number, (begin, end) in enumerate(parsed.layout.gaps()):
        at = begin
        for part in remainder.take(end - begin):
            sink(at, part)
            sha.update(part)
            at += len(part)
        if number < len(extents):
            for stored in values.of(number, extents[number]):
                sha.update(stored)
            if progress:
                progress(extents[number].facts)
    remainder.check()
    if sha.digest() != parsed.digest:
        raise CorruptError("file: the SHA-256 of the restored file does not fit")


def _decode_chunks(
    file: BinaryIO, container: Container, base: BaseFile | None, parsed: Parsed, uses: Mapping[int, int]
) -> Iterator[_Chunk]:
    """Chunks in file order; a chunk of the remainder is scheduled when the decoded ones are used up.

    uses: `last_uses`; duplicates of these tensors have no chunks.
    """
    extents, number = parsed.layout.extents, 0
    rest = _Tensor(file, container, base, len(container.tensors) - 1) if parsed.remainder is None else None
    have = len(parsed.remainder or b"")
    for place, (begin, end) in enumerate(parsed.layout.gaps()):
        while rest and have < end - begin:
            if number >= len(rest.record.sections):
                raise CorruptError("remainder: ended early")
            yield _Chunk(rest, number)
            units = rest.sections.header.chunk_units
            have += min(units, rest.spec.count - number * units)
            number += 1
        have -= end - begin
        if place < len(extents) and container.records[place].duplicate_of not in uses:
            tensor = _Tensor(file, container, base, place)
            yield from (_Chunk(tensor, chunk, extents[place]) for chunk in range(len(tensor.record.sections)))


class _Remainder:
    """The bytes outside of the extents: from the skeleton, or from chunks as they are decoded."""

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
            part, self._left = self._left[:count], self._left[count:]
            count -= len(part)
            yield part

    def check(self) -> None:
        """Raises: CorruptError if the digest does not match."""
        if self._digest != self._crc:
            raise CorruptError("remainder: the digest of the decoded values does not fit")


@dataclass(frozen=True)
class _Values:
    """The values of the extents, from their chunks as they are decoded.

    uses: `last_uses`.
    kept: the values of tensors that are used again, flat, by number.
    """

    container: Container
    decoded: Iterator[DecodedChunk]
    uses: Mapping[int, int]
    sink: Sink
    kept: dict[int, AnyArray] = field(default_factory=dict)

    def of(self, number: int, extent: Extent) -> Iterator[memoryview | bytes]:
        """The bytes of the next extent, in order; `sink` gets those that no chunk could place by itself."""
        first = self.container.records[number].duplicate_of
        if first is not None and first in self.uses:
            values = self.kept.pop(first) if self.uses[first] == number else self.kept[first]
        else:
            held: list[AnyArray] = []
            yield from self._place_chunks(number, extent, held)
            if not held:
                return
            values = np.concatenate(held)
            if number in self.uses:
                self.kept[number] = values
            if not extent.flags & FORTRAN_ORDER:
                return
        whole = extent_bytes(values.reshape(extent.facts.shape), extent)
        self.sink(extent.begin, whole)
        yield whole

    def _place_chunks(self, number: int, extent: Extent, held: list[AnyArray]) -> Iterator[memoryview]:
        """The bytes of chunks that could be placed; `held` gets the values that are needed as a whole."""
        record, crc = self.container.resolve(number), 0
        for _ in record.sections:
            values, stored = next(self.decoded)
            crc = zlib.crc32(values.data, crc)
            if extent.flags & FORTRAN_ORDER or number in self.uses:
                held.append(values)
            if not extent.flags & FORTRAN_ORDER:
                yield stored
        if crc != record.digest:
            raise CorruptError(f"{extent.facts.name}: the digest of the decoded values does not fit")
