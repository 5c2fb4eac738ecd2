"""A stored member of a zip archive as a file of its own."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from wcodec.errors import ModelFileError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LOCAL_HEADER_BYTES = 30


class Window(io.RawIOBase):
    """Reads and seeks in the bytes of a stored member, which lie in the archive as they are.

    zipfile's own member files can seek, but backwards only by reading again from the start.
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
