"""The layout of a file: which of its byte ranges are the values of tensors (`formats/keras.md`, kind `file`).

All other bytes are the remainder, so every file has a layout. The extents and the remainder together give the same
file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from wcodec.container.dtypes import numpy_type
from wcodec.container.wire import MAX_DIMS, MAX_NAME_BYTES, REST, put_varint, take_varint
from wcodec.errors import CorruptError, ModelFileError, TruncatedError, UnsupportedError
from wcodec.model import ITEM_BYTES, AnyArray, Model, Tensor, TensorSpec
from wcodec.model.dataclass import dataclass, replace

BIG_ENDIAN, FORTRAN_ORDER = 1, 2
"""Flags of the order of an extent: elements are big-endian; the first dimension varies fastest."""
DIGEST, APART = 1, 2
"""Flags of a skeleton: a SHA-256 of the whole file follows; the remainder is the last tensor."""
SUFFIXES: Final = (".h5", ".weights.h5", ".keras", ".npz", ".safetensors", ".onnx", ".npy", ".pt", "")
"""The usual suffix by the source id in the skeleton; the last is for any other file."""
OTHER: Final = len(SUFFIXES) - 1


@dataclass(frozen=True)
class Extent:
    """The byte range of a tensor's values. `layer` and `exact` are those of `model.Tensor`.

    coded_as: for opaque bytes, the one-byte type whose statistics they have, for the lossless coder; "": the type
              itself.
    """

    facts: TensorSpec
    begin: int
    flags: int = 0
    layer: str = ""
    exact: bool = False
    coded_as: str = ""

    @property
    def end(self) -> int:
        """The position after its last byte."""
        return self.begin + self.facts.nbytes


@dataclass(frozen=True)
class FileLayout:
    """A file of `length` bytes with its extents, in ascending order and without overlaps."""

    source: int
    length: int
    extents: tuple[Extent, ...] = ()

    @property
    def remainder_bytes(self) -> int:
        """The number of bytes outside of the extents."""
        return self.length - sum(extent.facts.nbytes for extent in self.extents)

    def gaps(self) -> Iterator[tuple[int, int]]:
        """Start and end of the bytes before each extent, and of those after the last one."""
        at = 0
        for extent in self.extents:
            yield at, extent.begin
            at = extent.end
        yield at, self.length


@dataclass(frozen=True)
class Parsed:
    """A skeleton: the layout, the SHA-256 of the file, and the bytes of the remainder unless they are a tensor."""

    layout: FileLayout
    digest: bytes | None
    remainder: bytes | None


def make_layout(source: int, length: int, extents: Sequence[Extent]) -> FileLayout:
    """The layout of these extents: sorted, without those that overlap, exceed the file or have no name.

    If several start at one position, the longest is kept.
    """
    kept: list[Extent] = []
    names = {REST}
    at = 0
    for extent in sorted(extents, key=lambda extent: (extent.begin, extent.facts.nbytes > 0, -extent.end)):
        facts = extent.facts
        odd = len(facts.shape) > MAX_DIMS or not facts.is_possible
        odd = odd or len(facts.name.encode(errors="replace")) > MAX_NAME_BYTES
        if odd or facts.name in names or extent.begin < at or extent.end > length or not _is_encodable(facts.name):
            continue
        names.add(facts.name)
        kept.append(replace(extent, flags=extent.flags & ~FORTRAN_ORDER) if len(facts.shape) < 2 else extent)
        at = extent.end
    return FileLayout(source, length, tuple(kept))


def pack(layout: FileLayout, digest: bytes | None, rest: bytes | None) -> bytes:
    """The skeleton of a layout. Inverse: `parse`.

    rest: the bytes of the remainder; None if they are the last tensor.
    """
    out = bytearray((layout.source, DIGEST * (digest is not None) | APART * (rest is None)))
    out += digest or b""
    put_varint(out, layout.length)
    at = 0
    for extent in layout.extents:
        put_varint(out, extent.begin - at << 2 | extent.flags)
        at = extent.end
    return bytes(out) + (rest or b"")


def parse(skeleton: bytes, tensors: Sequence[TensorSpec]) -> Parsed:
    """The layout that a skeleton and the table of tensors describe. Inverse: `pack`.

    Raises: CorruptError, TruncatedError, UnsupportedError.
    """
    if len(skeleton) < 2:
        raise TruncatedError(f"skeleton: ended early; needed 2 bytes, got {len(skeleton)}")
    source, flags, at = skeleton[0], skeleton[1], 2
    if source >= len(SUFFIXES) or flags > DIGEST | APART:
        raise UnsupportedError(f"skeleton: source {source} with flags {flags} is not known to this version")
    digest = None
    if flags & DIGEST:
        digest, at = skeleton[at : at + 32], at + 32
    length, at = take_varint(skeleton, at)
    extents = []
    end = 0
    rest = tensors[-1] if tensors and flags & APART else None
    for facts in tensors[:-1] if flags & APART else tensors:
        gap, at = take_varint(skeleton, at)
        extent = Extent(facts, end + (gap >> 2), gap & 3)
        if extent.flags & FORTRAN_ORDER and len(facts.shape) < 2:
            raise CorruptError(f"skeleton, tensor {facts.name}: expected two dimensions for a tensor with an order")
        extents.append(extent)
        end = extent.end
    layout = FileLayout(source, length, tuple(extents))
    held = rest.nbytes if rest else len(skeleton) - at
    if end > length or held != layout.remainder_bytes or (rest and len(skeleton) != at):
        raise CorruptError(f"skeleton: expected a remainder of {layout.remainder_bytes} bytes, got {held}")
    if flags & APART and (rest is None or (rest.name, rest.dtype, len(rest.shape)) != (REST, "uint8", 1)):
        raise CorruptError("skeleton: expected the remainder as the last tensor, got another one")
    if flags == APART:
        raise CorruptError("skeleton: expected the remainder of a lossy file inside, got it as a tensor")
    return Parsed(layout, digest, None if flags & APART else skeleton[at:])


def suffix(skeleton: bytes) -> str:
    """The usual suffix of the file that the skeleton describes.

    Raises: TruncatedError, UnsupportedError.
    """
    if not skeleton:
        raise TruncatedError("skeleton: ended early; needed its source, got nothing")
    if skeleton[0] >= len(SUFFIXES):
        raise UnsupportedError(f"skeleton: source {skeleton[0]} is not known to this version")
    return SUFFIXES[skeleton[0]]


def write(path: Path, skeleton: bytes, tensors: Sequence[TensorSpec], values: Iterator[AnyArray]) -> None:
    """Write a new file with other values in the extents, reading one tensor at a time.

    Raises: CorruptError, TruncatedError, UnsupportedError.
    """
    import hashlib

    parsed = parse(skeleton, tensors)
    if parsed.remainder is None:
        raise CorruptError("skeleton: expected the remainder inside, got it as a tensor")
    sha, at = hashlib.sha256(), 0
    with path.open("wb") as file:
        for (begin, end), extent in zip(parsed.layout.gaps(), (*parsed.layout.extents, None), strict=True):
            pieces = [parsed.remainder[at : at + end - begin]]
            at += end - begin
            if extent:
                tensor = next(values, None)
                if tensor is None or tensor.shape != extent.facts.shape:
                    raise CorruptError(f"{extent.facts.name}: expected values of shape {extent.facts.shape}")
                pieces.append(extent_bytes(tensor, extent))
            for piece in pieces:
                file.write(piece)
                sha.update(piece)
    if parsed.digest is not None and sha.digest() != parsed.digest:
        raise CorruptError(f"{path}: the SHA-256 of the restored file does not fit")


def extent_bytes(values: AnyArray, extent: Extent) -> bytes:
    """The bytes of an extent, from its values[shape]. Inverse: `read`."""
    if values.dtype.itemsize != ITEM_BYTES[extent.facts.dtype]:
        raise CorruptError(f"{extent.facts.name}: expected values of type {extent.facts.dtype}, got {values.dtype}")
    stored = values.byteswap() if extent.flags & BIG_ENDIAN else values
    return stored.tobytes("F" if extent.flags & FORTRAN_ORDER else "C")


def read(path: Path, extent: Extent) -> AnyArray:
    """The values[shape] of an extent. Inverse: `extent_bytes`.

    Raises: ModelFileError.
    """
    return read_part(path, extent, 0, extent.facts.count).reshape(extent.facts.shape)


def tensor_of(path: Path, extent: Extent) -> Tensor:
    """The tensor whose values are an extent of the file."""
    facts = extent.facts
    return Tensor(facts.name, facts.dtype, facts.shape, extent.layer, extent.exact, partial(read, path, extent))


def read_part(path: Path, extent: Extent, start: int, count: int) -> AnyArray:
    """Values `start` to `start + count` of an extent, in C order. Little more than these bytes is read.

    Raises: ModelFileError.
    """
    facts = extent.facts
    stored = numpy_type(facts.dtype)
    try:
        if extent.flags & FORTRAN_ORDER:
            values = _take_rows(np.memmap(path, stored, "r", extent.begin, facts.shape[::-1]).T, start, count)
        else:
            values = np.fromfile(path, stored, count, offset=extent.begin + start * stored.itemsize)
    except (OSError, MemoryError, ValueError) as error:
        raise ModelFileError(f"{path}, {facts.name}: cannot be read: {error}") from error
    if values.size != count:
        raise ModelFileError(f"{path}, {facts.name}: expected {count} values, got {values.size}")
    return values.byteswap() if extent.flags & BIG_ENDIAN else values


def _take_rows(whole: AnyArray, start: int, count: int) -> AnyArray:
    row = max(1, whole.size // max(1, len(whole)))
    first = start // row
    rows = np.ascontiguousarray(whole[first : -(-(start + count) // row)]).reshape(-1)
    return rows[start - first * row :][:count]


def _is_encodable(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


MAX_REST = 1 << 26


def model_of(path: Path, layout: FileLayout) -> Model:
    """The model of a file with a layout.

    Raises: ModelFileError if the remainder is too large for a skeleton.
    """
    if layout.remainder_bytes > MAX_REST:
        raise ModelFileError(
            f"{path}: expected at most {MAX_REST} bytes outside of its tensors, got {layout.remainder_bytes}"
        )
    with path.open("rb") as file:
        rest = bytearray()
        for begin, end in layout.gaps():
            file.seek(begin)
            rest += file.read(end - begin)
    tensors = tuple(tensor_of(path, one) for one in layout.extents)
    return Model("file", tensors, pack(layout, None, bytes(rest)), layout.length)
