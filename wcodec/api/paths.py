"""Paths that are given in Python."""

from __future__ import annotations

import errno
import os
from os import PathLike
from pathlib import Path

from wcodec.errors import RecipeError, WcodecError
from wcodec.planning.option_values import parse_path

StrPath = str | PathLike[str]


def refuse_same(target: Path, *read: Path | None) -> None:
    """Raises: WcodecError if `target` is one of the files that are read, or is inside of one."""
    for one in read:
        if one and ((target.exists() and target.samefile(one)) or one.resolve() in target.resolve().parents):
            raise WcodecError(f"{target}: expected another output, got what is read, or a place inside of it")


def maybe_path(path: StrPath | None, word: str = "base") -> Path | None:
    """The path, or None. word, and errors: see `require_path`."""
    return None if path is None else require_path(path, word)


def check_path(path: object, word: str) -> Path:
    """The path that is given for the argument `word`. Raises: RecipeError for anything that is no path, and for an
    empty text, which `Path` takes for the current folder.
    """
    if not isinstance(path, str | PathLike):
        raise RecipeError(f"{word}: expected a path, got {type(path).__name__}")
    return parse_path(word, os.fsdecode(path))


def require_path(path: StrPath, word: str = "source") -> Path:
    """The path of a file or folder that is given for the argument `word`.

    Raises: FileNotFoundError, as Python's own functions do; RecipeError for anything that is no path.
    """
    check_path(path, word)
    if not Path(path).exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return Path(path)
