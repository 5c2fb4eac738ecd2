"""The folder of the parts: one encoder at a time, which removes the unfinished parts of earlier ones and nothing else.

While it works, a hidden file in the folder is locked, and lists the unfinished parts of this and of earlier attempts.
"""

from __future__ import annotations

import errno
import glob
import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from wcodec.errors import WcodecError
from wcodec.files import is_portable, short
from wcodec.model.dataclass import dataclass, field

LISTED = ".encoding"
_PART = re.compile(r".+\.[0-9a-f]{16}\.wcz")
_BUSY = (errno.EACCES, errno.EAGAIN)


@dataclass
class PartFolder:
    """A folder in which no other encoder works. parts: paths inside of it of unfinished parts, of any attempt."""

    path: Path
    file: TextIO
    parts: list[str] = field(default_factory=list)

    def begin(self, parts: Sequence[str]) -> None:
        """List parts before they are written."""
        new = [part for part in parts if part not in self.parts]
        self.parts += new
        self.file.write("".join(f"{part}\n" for part in new))
        self.file.flush()
        os.fsync(self.file.fileno())

    def finish(self, kept: Collection[str]) -> None:
        """Remove all other listed parts, unfinished files of killed workers, and the list."""
        for part in self.parts:
            path = self.path / part
            for begun in path.parent.glob(f".{glob.escape(short(path.name))}.*.part"):
                begun.unlink(missing_ok=True)
            if part not in kept:
                path.unlink(missing_ok=True)
                for parent in list(Path(part).parents)[:-1]:
                    with suppress(OSError):  # it has other files, or does not exist
                        (self.path / parent).rmdir()
        self.parts = []


@contextmanager
def only_encoder(path: Path, mode: int) -> Iterator[PartFolder]:
    """The folder at `path` for this encoder alone; it is made with the permissions `mode` if it does not exist.

    Raises: WcodecError if another encoder is at work in it; OSError.
    """
    is_new = not path.exists()
    path.mkdir(mode, exist_ok=True)
    with _open_locked(path) as file:
        file.seek(0)
        folder = PartFolder(path, file, [line for line in file.read().splitlines() if _is_part(line)])
        try:
            yield folder
        finally:
            if not folder.parts:
                (path / LISTED).unlink(missing_ok=True)
                if is_new:
                    with suppress(OSError):  # it is empty if nothing was encoded
                        path.rmdir()


def _is_part(line: str) -> bool:
    return is_portable(line) and _PART.fullmatch(line) is not None


@contextmanager
def _open_locked(path: Path) -> Iterator[TextIO]:
    """The list of a folder, opened and locked by this process."""
    listed = path / LISTED
    while True:
        with listed.open("a+", encoding="utf-8", errors="replace", newline="\n") as file:
            _lock(path, file)
            # The process that had the lock until now may have removed the list.
            if listed.exists() and os.path.samestat(listed.stat(), os.fstat(file.fileno())):
                yield file
                return


def _lock(path: Path, file: TextIO) -> None:
    """Raises: WcodecError if another process has the lock. Some systems and disks have no locks."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            raise WcodecError(f"{path}: another encoder is at work in this folder; -o names another") from error
