"""Members of a zip archive and how a skeleton says them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from wcodec.errors import CorruptError, ModelFileError, TruncatedError
from wcodec.wire import put_varint, take_varint

RAW, TENSORS = 0, 1
DEFLATE_RATIO = 1032
MAX_RAW_BYTES = 1 << 30
"""All members that are kept whole, together."""
ZIP_ERRORS = (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, ValueError, RuntimeError, EOFError, LookupError)


@dataclass(frozen=True)
class Member:
    """One member: what the archive says of it, and its bytes or, where it holds tensors, its skeleton."""

    name: str
    date: tuple[int, int, int, int, int, int]
    deflated: bool
    attributes: int
    kind: int
    content: bytes

    def info(self) -> zipfile.ZipInfo:
        """For `ZipFile.open(info, "w")`; the same on every system."""
        made = zipfile.ZipInfo(self.name, self.date)
        made.create_system = 3
        made.external_attr = self.attributes
        made.compress_type = zipfile.ZIP_DEFLATED if self.deflated else zipfile.ZIP_STORED
        return made


@contextmanager
def border(where: str) -> Iterator[None]:
    """Turns what zipfile and zlib raise into a ModelFileError."""
    import zlib

    try:
        yield
    except (*ZIP_ERRORS, zlib.error, NotImplementedError) as error:
        raise ModelFileError(f"{where}: a damaged zip archive: {error or type(error).__name__}") from error


def members_of(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """The archive's directory, after the checks that make reading it safe.

    Raises: ModelFileError for encrypted or repeated members, unusual compression and sizes beyond what deflate can do.
    """
    infos = archive.infolist()
    size = path.stat().st_size
    if len({info.filename for info in infos}) != len(infos):
        raise ModelFileError(f"{path}: two members have one name")
    for info in infos:
        where = f"{path}, member {info.filename}"
        if info.flag_bits & 1:
            raise ModelFileError(f"{where}: is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelFileError(f"{where}: expected stored or deflated, got compression {info.compress_type}")
        most = info.compress_size * (DEFLATE_RATIO if info.compress_type == zipfile.ZIP_DEFLATED else 1)
        if info.compress_size > size or info.file_size > most:
            raise ModelFileError(f"{where}: declares {info.file_size} bytes, {info.compress_size} are stored")
    return infos


def raw_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    """A member to be kept whole."""
    if info.file_size > MAX_RAW_BYTES:
        raise ModelFileError(f"member {info.filename}: expected at most {MAX_RAW_BYTES} bytes, got {info.file_size}")
    return described(info, RAW, archive.read(info))


def described(info: zipfile.ZipInfo, kind: int, content: bytes) -> Member:
    """The member for what a directory says."""
    return Member(
        info.filename, info.date_time, info.compress_type == zipfile.ZIP_DEFLATED, info.external_attr, kind, content
    )


def pack(members: list[Member]) -> bytes:
    """Members as bytes. Inverse: `parse`."""
    out = bytearray()
    put_varint(out, len(members))
    date, attributes = (1980, 1, 1, 0, 0, 0), 0
    for member in members:
        same = (member.date, member.attributes) == (date, attributes)
        out.append(member.kind | member.deflated << 1 | (not same) << 2)
        name = member.name.encode()
        put_varint(out, len(name))
        out += name
        if not same:
            date, attributes = member.date, member.attributes
            put_varint(out, date[0] - 1980)
            out += bytes(date[1:])
            put_varint(out, attributes)
        put_varint(out, len(member.content))
        out += member.content
    return bytes(out)


def parse(data: bytes) -> list[Member]:
    """Members of a skeleton. Inverse: `pack`.

    Raises: CorruptError, TruncatedError.
    """
    count, at = take_varint(data, 0)
    result: list[Member] = []
    date, attributes = (1980, 1, 1, 0, 0, 0), 0
    for _ in range(count):
        flags, at = take_varint(data, at)
        if flags > 7:
            raise CorruptError(f"skeleton, member {len(result)}: expected flags of at most 7, got {flags}")
        raw_name, at = _take(data, at)
        if flags & 4:
            year, at = take_varint(data, at)
            month, day, hour, minute, second = _slice(data, at, 5)
            date = (1980 + year, month, day, hour, minute, second)
            attributes, at = take_varint(data, at + 5)
        if date[0] > 2107 or attributes >> 32:
            raise CorruptError(f"skeleton, member {len(result)}: expected a date up to 2107, got {date}")
        content, at = _take(data, at)
        try:
            name = raw_name.decode()
        except UnicodeDecodeError as error:
            raise CorruptError(f"skeleton, member {len(result)}: expected a name in UTF-8, got {error}") from error
        result.append(Member(name, date, bool(flags & 2), attributes, flags & 1, content))
    if at != len(data):
        raise CorruptError(f"skeleton: expected its end after {count} members, got {len(data) - at} more bytes")
    return result


def _take(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = take_varint(data, at)
    return _slice(data, at, size), at + size


def _slice(data: bytes, at: int, size: int) -> bytes:
    if size > len(data) - at:
        raise TruncatedError(f"skeleton at byte {at}: ended early; needed {size} bytes, got {len(data) - at}")
    return data[at : at + size]
