"""Members of a zip archive, and their form in a skeleton."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from wcodec.container.wire import put_varint, take_varint
from wcodec.errors import CorruptError, ModelFileError, TruncatedError
from wcodec.model.dataclass import dataclass

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


RAW, TENSORS = 0, 1
DEFLATE_RATIO = 1032
USUAL_RATIO = 20
"""The usual compression ratio of a configuration. A large member with a higher one is a decompression bomb."""
MAX_RAW_BYTES = 1 << 26
"""The largest size of all members that are kept whole together; a skeleton cannot hold more."""
MOST_TAIL = (1 << 16) + 22
"""The number of bytes at the end of an archive in which its last record starts."""
MOST_DIRECTORY = 1 << 23
"""The largest size of the directory. Each entry has 46 bytes and takes ten times as many in memory."""
Date = tuple[int, int, int, int, int, int]
EPOCH: Date = (1980, 1, 1, 0, 0, 0)
ZIP_ERRORS = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, OSError, ValueError, RuntimeError, EOFError, LookupError,
)  # fmt: skip


@dataclass(frozen=True)
class Member:
    """One member: its facts in the archive, and its bytes or, if it holds tensors, its skeleton."""

    name: str
    date: Date
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
def translate_errors(where: str) -> Iterator[None]:
    """A context that turns errors of zipfile and zlib into a ModelFileError."""
    try:
        yield
    except ZIP_ERRORS as error:
        raise ModelFileError(f"{where}: a damaged zip archive: {error or type(error).__name__}") from error


def open_archive(path: Path) -> zipfile.ZipFile:
    """The archive at `path`, opened for reading after a check of the size of its directory.

    Raises: ModelFileError, and the errors that `translate_errors` translates.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - MOST_TAIL))
        tail = file.read()
        at = tail.rfind(b"PK\5\6")
        while at >= 0:
            declared = int.from_bytes(tail[at + 12 : at + 16], "little")
            if tail[at - 20 : at - 16] == b"PK\6\7":
                file.seek(min(size, int.from_bytes(tail[at - 12 : at - 4], "little")))
                declared = max(declared % 0xFFFFFFFF, int.from_bytes(file.read(56)[40:48], "little"))
            if MOST_DIRECTORY < declared <= size:
                raise ModelFileError(f"{path}: expected a directory of at most {MOST_DIRECTORY} bytes, got {declared}")
            at = tail.rfind(b"PK\5\6", 0, at)
    return zipfile.ZipFile(path)


def check_members(archive: zipfile.ZipFile, path: Path, tensors: Collection[str] = ()) -> list[zipfile.ZipInfo]:
    """The directory of the archive, after the checks that make reading it safe.

    tensors: names of the members that are not kept whole; none: no member is kept.
    Raises: ModelFileError for encrypted or repeated members, unusual compression, and sizes that deflate cannot reach.
    """
    infos = archive.infolist()
    size = path.stat().st_size
    total = sum(info.file_size for info in infos if info.filename not in tensors)
    most = min(MAX_RAW_BYTES, max(MAX_RAW_BYTES // 4, USUAL_RATIO * size)) if tensors else total
    if total > most:
        raise ModelFileError(f"{path}: expected at most {most} bytes outside of its tensors, got {total}")
    if len({info.filename for info in infos}) != len(infos):
        raise ModelFileError(f"{path}: two members have one name")
    if sum(info.compress_size for info in infos) > size:
        raise ModelFileError(f"{path}: its members overlap: they declare more bytes than the file of {size} has")
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
    """A member that is stored unchanged."""
    return member_of(info, RAW, archive.read(info))


def member_of(info: zipfile.ZipInfo, kind: int, content: bytes) -> Member:
    """The member for an entry of the directory."""
    return Member(
        info.filename, info.date_time, info.compress_type == zipfile.ZIP_DEFLATED, info.external_attr, kind, content
    )


def pack(members: Sequence[Member]) -> bytes:
    """Members as bytes. Inverse: `parse`."""
    out = bytearray()
    put_varint(out, len(members))
    date, attributes = EPOCH, 0
    for member in members:
        same = (member.date, member.attributes) == (date, attributes)
        out.append(member.kind | member.deflated << 1 | (not same) << 2)
        name = member.name.encode()
        put_varint(out, len(name))
        out += name
        if not same:
            date, attributes = member.date, member.attributes
            out += _convert_date(date).to_bytes(4, "little")
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
    date, attributes = EPOCH, 0
    for _ in range(count):
        flags, at = take_varint(data, at)
        if flags > 7:
            raise CorruptError(f"skeleton, member {len(result)}: expected flags of at most 7, got {flags}")
        raw_name, at = _take(data, at)
        if flags & 4:
            date = _convert_dos(int.from_bytes(_take_slice(data, at, 4), "little"))
            attributes, at = take_varint(data, at + 4)
        if attributes >> 32 or len(raw_name) >> 16 or b"\0" in raw_name:
            raise CorruptError(f"skeleton, member {len(result)}: {raw_name[:80]!r} cannot be written")
        content, at = _take(data, at)
        try:
            name = raw_name.decode()
        except UnicodeDecodeError as error:
            raise CorruptError(f"skeleton, member {len(result)}: expected a name in UTF-8, got {error}") from error
        result.append(Member(name, date, bool(flags & 2), attributes, flags & 1, content))
    if len({member.name for member in result}) != len(result):
        raise CorruptError("skeleton: two members have one name")
    if at != len(data):
        raise CorruptError(f"skeleton: expected its end after {count} members, got {len(data) - at} more bytes")
    return result


def _convert_date(date: Date) -> int:
    """A date in zip's format: 7 bits of years since 1980, 4 month, 5 day, 5 hour, 6 minute, 5 of two seconds."""
    year, month, day, hour, minute, second = date
    return (year - 1980) << 25 | month << 21 | day << 16 | hour << 11 | minute << 5 | second // 2


def _convert_dos(dos: int) -> Date:
    """Inverse: `_convert_date`."""
    return 1980 + (dos >> 25), dos >> 21 & 15, dos >> 16 & 31, dos >> 11 & 31, dos >> 5 & 63, (dos & 31) * 2


def _take(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = take_varint(data, at)
    return _take_slice(data, at, size), at + size


def _take_slice(data: bytes, at: int, size: int) -> bytes:
    if size > len(data) - at:
        raise TruncatedError(f"skeleton at byte {at}: ended early; needed {size} bytes, got {len(data) - at}")
    return data[at : at + size]


LOCAL_HEADER_BYTES = 30


class Window(io.RawIOBase):
    """A readable and seekable view of the bytes of a stored member in the archive.

    The member files of zipfile can seek backwards only by reading again from the start.
    """

    def __init__(self, path: Path, info: zipfile.ZipInfo) -> None:
        self._file = path.open("rb")
        self._lock = Lock()
        self._size = info.file_size
        self._at = 0
        self._file.seek(info.header_offset)
        header = self._file.read(LOCAL_HEADER_BYTES)
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        self.start = info.header_offset + LOCAL_HEADER_BYTES + lengths
        if len(header) < LOCAL_HEADER_BYTES or self.start + self._size > path.stat().st_size:
            self._file.close()
            raise ModelFileError(f"{path}, member {info.filename}: lies outside of the archive")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")[: max(0, self._size - self._at)]
        with self._lock:
            self._file.seek(self.start + self._at)
            count = self._file.readinto(view)
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
