"""`encode --lossless`: the extents and the remainder of a file are coded chunk by chunk, and `decode` combines them.

Both work chunk by chunk, so that memory does not grow with the file or its tensors.
"""

from __future__ import annotations

import hashlib
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO

import numpy as np

from wcodec.codec import lossless
from wcodec.codec.delta import ALONE, BY_CHUNK, OWN, RESIDUAL, ULPS, XOR, encode_delta, encode_residual
from wcodec.codec.entropy import lzma_stream, zstd
from wcodec.codec.layout import VECTOR
from wcodec.codec.parallel import map_ordered
from wcodec.codec.plan import Effort
from wcodec.codec.tensor_header import NO_POSITIONS, TensorHeader, pack_header
from wcodec.container.wire import REST, put_varint
from wcodec.container.writer import EncodedSections, Writer
from wcodec.errors import ModelFileError, WcodecError
from wcodec.files import attempt_file, sha256_of
from wcodec.model import FLOATS, ITEM_BYTES, AnyArray, Progress, TensorSpec
from wcodec.model.dataclass import dataclass, field, replace
from wcodec.modelfiles.extent_finder import find_extents
from wcodec.modelfiles.extents import Extent, FileLayout, pack, read_part
from wcodec.modelfiles.shards import layout_of
from wcodec.pipeline.base_file import BaseFile
from wcodec.pipeline.duplicates import find_duplicates

INLINE = 1 << 20
"""A remainder of at most this many bytes is stored in the skeleton, which shares names with the table of tensors."""
OVERHEAD = 256
BLOCK = 1 << 20
SMALL = 1 << 22
"""The largest file for which --best tries all encodings, in bytes."""
NEAR = 0.9
"""Larger files are tried as plain bytes if the coded numbers have at least this fraction of the bytes of zstd."""
LEVELS: dict[Effort, int] = {"fast": 3, "normal": 12, "best": 19}
"""Levels of zstd, for a compressible remainder."""


@dataclass(frozen=True)
class Piece:
    """Elements `start` to `start + count` of tensor `number`, themselves of `shape`."""

    number: int
    start: int
    count: int
    shape: tuple[int, ...]
    nbytes: int


def encode_lossless(
    source: Path,
    beside: Path | None,
    base: BaseFile | None,
    target: Path,
    effort: Effort,
    threads: int,
    progress: Progress | None = None,
) -> int:
    """Write a .wcz to the file `target` that decodes to `source` byte for byte, and return its length.

    Inverse: `lossless_decoder.decode_lossless`.

    beside: the ONNX model that keeps values in `source`.
    base:   an earlier version, which decoding will need.
    Raises: ModelFileError if the source cannot be read; WcodecError if its SHA-256 has changed at the end.
    """
    layout = layout_of(source, beside) if beside else find_extents(source)
    with ThreadPoolExecutor(1, thread_name_prefix="wcodec-sha") as pool:
        digest = pool.submit(sha256_of, source)
        job = LosslessEncoding(source, layout, effort, threads, progress, base)
        length = job.write(target, digest.result)
        for other in _try_others(job, length):
            with attempt_file(target) as temporary:
                made = other.write(temporary, digest.result)
                if made < length:
                    length, job = made, other
                    temporary.replace(target)
    _check_source(source, job.layout, job.checksums, digest.result())
    return length


def _check_source(source: Path, layout: FileLayout, checksums: Sequence[int], digest: bytes) -> None:
    """Read the file once more, and compare it with the coded bytes.

    checksums: CRC-32 of the values of each extent, and of the remainder.
    Raises: WcodecError if it differs now, or differed for a moment.
    """
    sha, rest = hashlib.sha256(), 0
    found: list[int] = []

    def read(file: BinaryIO, begin: int, end: int, crc: int) -> int:
        file.seek(begin)
        for at in range(begin, end, BLOCK):
            block = file.read(min(BLOCK, end - at))
            sha.update(block)
            crc = zlib.crc32(block, crc)
        return crc

    with source.open("rb") as file:
        for (begin, end), extent in zip(layout.gaps(), (*layout.extents, None), strict=True):
            rest = read(file, begin, end, rest)
            if extent:
                crc = read(file, extent.begin, extent.end, 0)
                found.append(_compute_checksum(source, extent) if extent.flags else crc)
    if sha.digest() != digest or [*found, rest] != list(checksums):
        raise WcodecError(f"{source}: changed while it was encoded; nothing was written")


def _compute_checksum(source: Path, extent: Extent) -> int:
    """CRC-32 of the values of an extent whose bytes are in another order."""
    crc = 0
    for piece in _split_pieces(0, extent.facts, "fast"):
        crc = zlib.crc32(read_part(source, extent, piece.start, piece.count).view(np.uint8).data, crc)
    return crc


def _try_others(job: LosslessEncoding, length: int) -> Iterator[LosslessEncoding]:
    """Other encodings of the file that may have fewer bytes than `length`, those of `job`."""
    plain = replace(job, layout=replace(job.layout, extents=()), progress=None, checksums=[])
    is_best, is_small = job.effort == "best", job.layout.length <= SMALL
    if job.layout.extents and (
        length > job.layout.length + job.layout.length // 1000 + OVERHEAD
        or (is_best and (is_small or NEAR * zstd.size_of_file(job.source) < length))
    ):
        yield plain
        if is_best and plain.is_inline:
            yield replace(plain, is_apart=True, checksums=[])
    if is_best and is_small and job.is_inline and job.layout.remainder_bytes:
        yield replace(job, is_apart=True, progress=None, checksums=[])


@dataclass(frozen=True)
class LosslessEncoding:
    """One encoding of a file whose extents are known.

    is_apart:  the remainder is a tensor, even if it is short.
    checksums: of the coded bytes: CRC-32 of the values of each extent, and of the remainder.
    """

    source: Path
    layout: FileLayout
    effort: Effort
    threads: int
    progress: Progress | None
    base: BaseFile | None = None
    is_apart: bool = False
    checksums: list[int] = field(default_factory=list, compare=False)

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """The table: the extents, and the remainder if it does not fit into the skeleton."""
        extents = tuple(extent.facts for extent in self.layout.extents)
        return extents if self.is_inline else (*extents, TensorSpec(REST, "uint8", (self.layout.remainder_bytes,)))

    @property
    def is_inline(self) -> bool:
        """Whether the remainder is stored in the skeleton."""
        return not self.is_apart and self.layout.remainder_bytes <= INLINE

    def write(self, target: Path, digest: Callable[[], bytes]) -> int:
        """Write it to the file `target`, and return the length."""
        duplicates = find_duplicates(self.source, self.layout.extents)
        tensors = self.tensors
        rest = _Rest(self.source, self.layout)
        own = [(number, facts) for number, facts in enumerate(tensors) if number not in duplicates]
        pieces = (piece for number, facts in own for piece in _split_pieces(number, facts, self.effort))
        with target.open("w+b") as file:
            writer = Writer(file)
            results = map_ordered(
                lambda piece: self._code_piece(piece, rest), pieces, self.threads, attrgetter("nbytes")
            )
            self.checksums.clear()
            for number, facts in enumerate(tensors):
                if number in duplicates:
                    writer.add_duplicate(duplicates[number])
                    self.checksums.append(self.checksums[duplicates[number]])
                else:
                    self.checksums.append(self._add(writer, facts, results))
                if self.progress:
                    self.progress(facts)
            inline = rest.read(0, self.layout.remainder_bytes) if self.is_inline else None
            if inline is not None:
                self.checksums.append(zlib.crc32(inline))
            skeleton = pack(self.layout, digest(), inline)
            needed = self.base.digest if self.base else None
            length = writer.finish("file", tensors, skeleton, self.layout.length, 0.0, needed)
            file.truncate(length)
            return length

    def _add(self, writer: Writer, facts: TensorSpec, results: Iterator[tuple[bytes, AnyArray]]) -> int:
        """Write the sections of a tensor, and return the CRC-32 of its values."""
        pieces = list(_split_pieces(0, facts, self.effort))
        whole = TensorHeader(None, VECTOR, pieces[0].count, NO_POSITIONS, np.empty((0, 0), np.uint8))
        head = pack_header(facts, whole, len(pieces))
        crc = 0
        for _ in pieces:
            payload, raw = next(results)
            crc = zlib.crc32(raw.data, crc)
            writer.section(head + payload)
            head = b""
        writer.add(EncodedSections((), crc, delta_mode=BY_CHUNK if self._is_based(facts) else OWN))
        return crc

    def _is_based(self, facts: TensorSpec) -> bool:
        return self.base is not None and facts.name != REST and self.base.has(facts)

    def _code_piece(self, piece: Piece, rest: _Rest) -> tuple[bytes, AnyArray]:
        if piece.number < len(self.layout.extents):
            extent = self.layout.extents[piece.number]
            dtype, fast = extent.facts.dtype, self.effort == "fast"
            values = read_part(self.source, extent, piece.start, piece.count)
            raw, kind = values.view(np.uint8), extent.coded_as or dtype
            own = lossless.encode(raw, ITEM_BYTES[dtype], piece.shape, kind, fast, self.effort == "best")
            if self.base is None or not self._is_based(extent.facts):
                return own, raw
            earlier = self.base.part(extent.facts, piece.start, piece.count)

            def code_words(words: AnyArray, kind: str) -> bytes:
                return lossless.encode(words.view(np.uint8), ITEM_BYTES[dtype], piece.shape, kind, fast)

            candidates = [bytes((ALONE,)) + own]
            for way in (XOR, ULPS):
                words = encode_delta(way, values, earlier, dtype)
                candidates.append(bytes((way,)) + code_words(words, str(words.dtype)))
            if dtype in FLOATS and not fast:
                more, steps = encode_residual(values, earlier, dtype)
                first = code_words(more, dtype)
                length = bytearray()
                put_varint(length, len(first))
                candidates.append(bytes((RESIDUAL, *length)) + first + code_words(steps, str(steps.dtype)))
            return min(candidates, key=len), raw
        plain = rest.read(piece.start, piece.count)
        best = lossless.encode(plain, 1)
        if len(best) < len(plain):
            best = min(best, bytes((lossless.ZSTD,)) + zstd.encode(plain, LEVELS[self.effort]), key=len)
        if self.effort == "best":
            best = min(best, bytes((lossless.LZMA,)) + lzma_stream.encode(plain), key=len)
        return best, np.frombuffer(plain, np.uint8)


def _split_pieces(number: int, facts: TensorSpec, effort: Effort) -> Iterator[Piece]:
    """At least one piece, also for a tensor without elements."""
    most = lossless.FAST if effort == "fast" else lossless.MOST
    if effort == "best" and facts.name == REST:
        most = lzma_stream.MOST_DICTIONARY
    for start, stop, shape in lossless.split_pieces(facts.shape, most):
        yield Piece(number, start, stop - start, shape, (stop - start) * ITEM_BYTES[facts.dtype])


class _Rest:
    """The bytes of the file between the extents."""

    def __init__(self, source: Path, layout: FileLayout) -> None:
        self._source = source
        self._gaps = [gap for gap in layout.gaps() if gap[0] < gap[1]]
        self._starts = [0, *accumulate(end - begin for begin, end in self._gaps)]

    def read(self, start: int, count: int) -> bytes:
        """Bytes `start` to `start + count` of the remainder.

        Raises: ModelFileError if the file has become shorter.
        """
        out = bytearray()
        number = bisect_right(self._starts, start) - 1
        with self._source.open("rb", buffering=0) as file:
            while len(out) < count:
                at = start + len(out) - self._starts[number]
                begin, end = self._gaps[number]
                file.seek(begin + at)
                part = file.read(min(end - begin - at, count - len(out)))
                if not part:
                    raise ModelFileError(f"{self._source}: became shorter while it was read")
                out += part
                number += len(part) == end - begin - at
        return bytes(out)
