"""A file appears whole or not at all: temporary beside it, fsync, rename."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
