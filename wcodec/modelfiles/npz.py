"""`.npz`: a zip archive of `.npy` arrays, without pickles."""

from __future__ import annotations

import ast
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import IO

import numpy as np

from wcodec.container.dtypes import DTYPE_OF_CODE
from wcodec.container.wire import MAX_DIMS
from wcodec.errors import CorruptError, ModelFileError
from wcodec.model import AnyArray, Model, Tensor, TensorSpec
from wcodec.model.dataclass import dataclass
from wcodec.modelfiles import zip_members as members

MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 10_000
SMALL, MOST_HELD = 1 << 16, 1 << 23
"""The largest array whose values are kept when its header is read, and the largest total, in bytes."""
NPY_FORTRAN, NPY_BIG_ENDIAN = 1, 2
"""Flags of an array in the skeleton of an `.npz` (those of an extent have other values)."""


@dataclass(frozen=True)
class Header:
    """The header of a `.npy` file."""

    version: int
    descr: str
    fortran: bool
    shape: tuple[int, ...]
    bytes: int


@contextmanager
def read(path: Path, keep_optimizer: bool) -> Iterator[Model]:
    """A context manager of the arrays of an `.npz` file, named without `.npy`. Inverse: `write`.

    The arrays can be read until it ends. Raises: ModelFileError, also for arrays of Python objects.
    """
    with members.translate_errors(str(path)):
        archive = members.open_archive(path)
    with archive:
        lock = Lock()
        kept: list[members.Member] = []
        tensors: list[Tensor] = []
        held = 0
        with members.translate_errors(str(path)):
            for info in members.check_members(archive, path):
                where = f"{path}, {info.filename}"
                with archive.open(info) as file:
                    header = parse_header(file, where)
                    held += info.file_size
                    raw = file.read() if info.file_size <= SMALL and held <= MOST_HELD else None
                facts = spec_of(header, info.filename, info.file_size, where)
                flags = NPY_FORTRAN * header.fortran | NPY_BIG_ENDIAN * (header.descr[0] == ">")
                kept.append(members.member_of(info, members.TENSORS, bytes([flags, header.version])))
                layer = facts.name.rpartition("/")[0]
                reader = partial(_read, archive, lock, info, header, facts, raw)
                tensors.append(Tensor(facts.name, facts.dtype, header.shape, layer, False, reader))
        yield Model("npz", tuple(tensors), members.pack(kept), path.stat().st_size)


def write(path: Path, packed: bytes, tensors: Sequence[TensorSpec], values: Iterator[AnyArray]) -> None:
    """Write a new `.npz`, with the same bytes every time. Inverse: `read`.

    Raises: CorruptError, TruncatedError.
    """
    parsed = members.parse(packed)
    if len(parsed) != len(tensors):
        raise CorruptError(f"skeleton: expected {len(tensors)} arrays, got {len(parsed)}")
    with zipfile.ZipFile(path, "w") as archive:
        for member, facts in zip(parsed, tensors, strict=True):
            tensor = next(values, None)
            if len(member.content) != 2 or member.content[0] > 3 or member.content[1] not in (1, 2, 3):
                got = member.content[:8].hex()
                raise CorruptError(f"skeleton, {member.name}: expected flags and a version, got {got}")
            if tensor is None or tensor.shape != facts.shape:
                raise CorruptError(f"{facts.name}: expected values of shape {facts.shape}, got others")
            flags, version = member.content
            stored = tensor.byteswap() if flags & NPY_BIG_ENDIAN else tensor
            order = stored.T if flags & NPY_FORTRAN else stored
            info = member.info()
            header = _write_header(facts, flags, version)
            info.file_size = len(header) + tensor.nbytes
            with archive.open(info, "w") as out:
                out.write(header)
                out.write(np.ascontiguousarray(order).reshape(-1).view(np.uint8).data)


def parse_header(file: IO[bytes], where: str) -> Header:
    """Parse a header of numpy's format, versions 1 to 3.

    Raises: ModelFileError.
    """
    head = file.read(8)
    wide = 2 if head[6:7] == b"\x01" else 4
    length = int.from_bytes(file.read(wide), "little")
    if head[:6] != MAGIC or head[6] not in (1, 2, 3) or length > MAX_HEADER_BYTES:
        raise ModelFileError(f"{where}: expected a .npy array of version 1 to 3, got {head.hex(' ')}")
    raw = file.read(length)
    try:
        said = _parse_literal(raw.decode("utf-8" if head[6] == 3 else "latin-1").strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise ModelFileError(f"{where}: not a readable .npy header: {error}") from error
    if not isinstance(said, dict) or set(said) != {"descr", "fortran_order", "shape"}:
        raise ModelFileError(f"{where}: expected descr, fortran_order and shape, got {raw[:80]!r}")
    descr, fortran, shape = said["descr"], said["fortran_order"], said["shape"]
    if not isinstance(descr, str) or not re.fullmatch(r"[<>|=][a-zA-Z][0-9]*", descr) or "O" in descr:
        raise ModelFileError(f"{where}: expected numbers, got type {descr}; objects are pickles, which can run code")
    whole = isinstance(shape, tuple) and all(type(size) is int and 0 <= size < 1 << 63 for size in shape)
    if not whole or len(shape) > MAX_DIMS:
        raise ModelFileError(f"{where}: expected a shape of at most {MAX_DIMS} sizes, got {shape}")
    return Header(head[6], descr, fortran is True, shape, 8 + wide + length)


@lru_cache(64)
def _parse_literal(text: str) -> object:
    """The value of a Python literal, which must not be modified. Many arrays of a model have the same header."""
    value: object = ast.literal_eval(text)
    return value


def spec_of(header: Header, name: str, size: int, where: str) -> TensorSpec:
    """The tensor in the member `name`, which has `size` bytes.

    Raises: ModelFileError for arrays that are not numbers, or if the size is not that of the values.
    """
    dtype = DTYPE_OF_CODE.get(header.descr[1:])
    if dtype is None:
        raise ModelFileError(f"{where}: arrays of type {header.descr} are not supported; --lossless takes any file")
    facts = TensorSpec(name.removesuffix(".npy"), dtype, header.shape)
    if header.bytes + facts.nbytes != size:
        raise ModelFileError(f"{where}: expected {header.bytes + facts.nbytes} bytes, got {size}")
    return facts


def _write_header(facts: TensorSpec, flags: int, version: int) -> bytes:
    """The header as numpy writes it: the dictionary, spaces up to a multiple of 64 bytes, a line feed."""
    text = {name: code for code, name in DTYPE_OF_CODE.items()}.get(facts.dtype)
    if text is None:
        raise CorruptError(f"{facts.name}: .npy has no type {facts.dtype}")
    descr = ("|" if text[0] in "Vb" or text in ("u1", "i1") else ">" if flags & NPY_BIG_ENDIAN else "<") + text
    said = f"{{'descr': {descr!r}, 'fortran_order': {bool(flags & NPY_FORTRAN)}, 'shape': {facts.shape!r}, }}".encode()
    if facts.shape:
        # numpy reserves 21 digits for the first axis, which may grow.
        said += b" " * (21 - len(str(facts.shape[-1 if flags & NPY_FORTRAN else 0])))
    wide = 2 if version == 1 else 4
    total = -(-(8 + wide + len(said) + 1) // 64) * 64
    length = total - 8 - wide
    if length >> (8 * wide):
        raise CorruptError(f"{facts.name}: its header is too long for version {version}")
    return MAGIC + bytes([version, 0]) + length.to_bytes(wide, "little") + said.ljust(length - 1) + b"\n"


def _read(
    archive: zipfile.ZipFile, lock: Lock, info: zipfile.ZipInfo, header: Header, facts: TensorSpec, raw: bytes | None
) -> AnyArray:
    """The values of one array; `raw` if they are already read. One reader at a time can read the archive."""
    stored = np.dtype(f"u{header.descr[2:]}" if header.descr[1] == "V" else header.descr)
    where = f"{archive.filename}, {info.filename}"
    if raw is None:
        with lock, members.translate_errors(where), archive.open(info) as file:
            file.read(header.bytes)
            raw = file.read(facts.nbytes + 1)
    if len(raw) != facts.nbytes:
        raise ModelFileError(f"{where}: expected {facts.nbytes} bytes of values, got {len(raw)}")
    values = np.frombuffer(raw, stored)
    values = values.astype(stored.newbyteorder("<"), copy=False)
    shaped = values.reshape(facts.shape[::-1]).T if header.fortran else values.reshape(facts.shape)
    return np.ascontiguousarray(shaped).reshape(facts.shape)
