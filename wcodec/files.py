"""Atomic writes: a temporary file in the same folder, fsync, rename."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath, PurePosixPath
from typing import BinaryIO, Final, TypeAlias

from wcodec.errors import ContainerError, ModelFileError, WcodecError

Identity: TypeAlias = tuple[int, ...]
PRIVATE: Final = 0o600
"""The permissions of a file with weights that is written beside an output."""


def short(name: str) -> str:
    """The beginning of a name, which can be extended without exceeding the limit of a file system."""
    return name.encode(errors="surrogateescape")[:200].decode(errors="ignore")


@contextmanager
def whole_file(target: Path, like: Path | None = None, *, mode: int = 0o666) -> Iterator[Path]:
    """A context with a temporary path in `target`'s folder; it becomes `target` if the block succeeds, and is removed
    otherwise.

    An existing target keeps its permissions. A new one gets those of `like`, the file from which it is made, as far as
    the process' umask allows; no other user can read more of it than of `like` at any time. Without `like` it gets
    `mode`, as far as the umask allows.

    Raises: WcodecError if `target` is a device or similar; OSError if the folder cannot be written.
    """
    if target.exists() and not target.is_file():
        raise WcodecError(f"{target}: expected a file to write, found something else")
    kept = next((path.stat().st_mode & 0o777 for path in (target, like) if path and path.is_file()), mode)
    temporary = target.with_name(f".{short(target.name)}.{os.urandom(4).hex()}.part")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, kept | 0o600))
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, "the folder does not exist", str(target.parent)) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None
    try:
        yield temporary
        temporary.chmod(kept if target.exists() else kept & temporary.stat().st_mode)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        if error.filename in (None, str(temporary)) and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
    except WcodecError as error:
        if temporary.name not in str(error):
            raise
        said = str(error).replace(str(temporary), str(target)).replace(temporary.name, target.name)
        raise type(error)(said) from error
    finally:
        temporary.unlink(missing_ok=True)


def make_folders(root: Path, name: str, like: Path) -> None:
    """Create the folders on the way from `root` to the file `name` in it. New ones have the permissions of those in
    `like`, if they exist, as far as the umask allows, and their owner's.
    """
    for folder in reversed(PurePath(name).parents[:-1]):
        twin = like / folder
        mode = twin.stat().st_mode & 0o777 | 0o700 if twin.is_dir() else 0o777
        (root / folder).mkdir(mode, exist_ok=True)


@contextmanager
def attempt_file(temporary: Path) -> Iterator[Path]:
    """A context with another path in the folder of a `whole_file`, for a second attempt.

    The file is removed at the end.
    """
    other = temporary.with_name(f"{temporary.stem}.{os.urandom(4).hex()}.part")
    try:
        os.close(os.open(other, os.O_CREAT | os.O_EXCL | os.O_WRONLY, temporary.stat().st_mode & 0o777))
        yield other
    finally:
        other.unlink(missing_ok=True)


@contextmanager
def guard_unchanged(*paths: Path | None) -> Iterator[None]:
    """A context that reads these files, which must not be written or replaced.

    Raises: WcodecError at the end of the block, instead of any other error in it, if a file was changed.
    """
    read = [path for path in paths if path]
    before = [_read_identity(path) for path in read]

    def changed() -> Path | None:
        return next((path for path, was in zip(read, before, strict=True) if _read_identity(path) != was), None)

    try:
        yield
    except Exception as error:
        if path := changed():
            raise WcodecError(f"{path}: changed while it was encoded; nothing was written") from error
        raise
    if path := changed():
        raise WcodecError(f"{path}: changed while it was encoded; nothing was written")


@contextmanager
def steady(path: Path, file: BinaryIO) -> Iterator[None]:
    """A context that reads an open file, which must not be written.

    Raises: WcodecError instead of a ContainerError of the block, if the file was changed.
    """
    before = identity_of(file)
    try:
        yield
    except ContainerError as error:
        if identity_of(file) == before:
            raise
        raise WcodecError(f"{path}: changed while it was read; read it again") from error


def identity_of(file: BinaryIO) -> Identity:
    """Device, inode, size in bytes and time of the last write of an open file."""
    facts = os.fstat(file.fileno())
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _read_identity(path: Path) -> tuple[int, ...] | None:
    """Device, inode, size in bytes, time of the last write and of the last change of a file; None if there is none.

    A program that writes and resets the time of the write cannot reset the time of the change.
    """
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


MAX_BYTES = 1024


def is_inside(name: str) -> bool:
    """Whether a relative path, written with slashes, stays in its folder if the slash is the only separator."""
    plain = PurePosixPath(name).as_posix() == name and 0 < len(name.encode(errors="replace")) <= MAX_BYTES
    return plain and name != "." and not name.startswith("/") and ".." not in name.split("/") and "\0" not in name


def is_portable(name: str) -> bool:
    """Whether such a path is inside its folder, and can be written, on every system."""
    return is_inside(name) and not set(name) & set("\\:") and name.encode(errors="replace").decode() == name


def sha256_of(path: Path) -> bytes:
    """SHA-256 of a file.

    Raises: ModelFileError if it cannot be read.
    """
    try:
        import hashlib

        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
