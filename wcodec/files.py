"""A file appears whole or not at all: temporary beside it, fsync, rename."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from wcodec.errors import ModelFileError, WcodecError


def short(name: str) -> str:
    """The beginning of a name, to which something can be added without making it too long for a file system."""
    return name.encode(errors="surrogateescape")[:200].decode(errors="ignore")


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A temporary path in `target`'s folder; it becomes `target` when the block ends well, and is removed otherwise.

    Raises: OSError where the folder cannot be written.
    """
    handle, name = tempfile.mkstemp(prefix=f".{short(target.name)}.", suffix=".part", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        if error.filename in (None, str(temporary)) and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def unchanged(*paths: Path | None) -> Iterator[None]:
    """A block that reads these files, in which nobody may write or replace them.

    Raises: WcodecError at the end of the block, in place of what else went wrong in it, where a file is another one.
    """
    read = [path for path in paths if path]
    before = [_identity(path) for path in read]

    def changed() -> Path | None:
        return next((path for path, was in zip(read, before, strict=True) if _identity(path) != was), None)

    try:
        yield
    except Exception as error:
        if path := changed():
            raise WcodecError(f"{path}: changed while it was encoded; nothing was written") from error
        raise
    if path := changed():
        raise WcodecError(f"{path}: changed while it was encoded; nothing was written")


def _identity(path: Path) -> tuple[int, ...] | None:
    """Device, inode, size in bytes and time of the last write of a file; None where there is none."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


MAX_BYTES = 1024


def is_inside(name: str) -> bool:
    """Whether a relative path, written with slashes, stays in its folder on every system."""
    plain = PurePosixPath(name).as_posix() == name and 0 < len(name.encode(errors="replace")) <= MAX_BYTES
    odd = name == "." or name.startswith("/") or ".." in name.split("/") or bool(set(name) & set("\\\0:"))
    return plain and not odd


def sha256_of(path: Path) -> bytes:
    """SHA-256 of a file.

    Raises: ModelFileError where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
