"""Paths that are given in Python."""

from __future__ import annotations

import errno
import os
from os import PathLike
from pathlib import Path

from wcodec.errors import WcodecError

StrPath = str | PathLike[str]


def refuse_same(target: Path, *read: Path | None) -> None:
    """Raises: WcodecError if `target` is one of the files that are read, or is inside of one."""
    for one in read:
        if one and ((target.exists() and target.samefile(one)) or one.resolve() in target.resolve().parents):
            raise WcodecError(f"{target}: expected another output, got what is read, or a place inside of it")


def maybe_path(path: StrPath | None) -> Path | None:
    return None if path is None else found_path(path)


def found_path(path: StrPath) -> Path:
    """The path. Raises: FileNotFoundError, as Python's own functions do."""
    if not Path(path).exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return Path(path)
