"""The files in a folder. A link that leads out of the folder is refused, with its name.

The exception is the cache of Hugging Face, where a folder `REPOSITORY/snapshots/REVISION` consists of links to files in
`REPOSITORY/blobs`.
"""

from __future__ import annotations

import os
from pathlib import Path

from wcodec.errors import ModelFileError
from wcodec.model.dataclass import dataclass

MAX_FILES = 100_000


@dataclass(frozen=True)
class FolderTree:
    """The contents of a folder as sorted paths with slashes: files, and empty folders."""

    files: tuple[str, ...]
    empty: tuple[str, ...] = ()


def walk(root: Path) -> FolderTree:
    """The contents of `root`. A link that stays inside is read as its target.

    Raises: ModelFileError for links that leave the folder, are broken or form a circle, for devices, pipes and sockets,
    and for more than MAX_FILES files; OSError if a folder cannot be read.
    """
    files: list[str] = []
    empty: list[str] = []
    waiting: list[tuple[str, tuple[Path, ...]]] = [("", (root.resolve(),))]
    while waiting:
        inside, above = waiting.pop()
        names = sorted(os.listdir(root / inside))
        if inside and not names:
            empty.append(inside)
        for name in (f"{inside}/{name}" if inside else name for name in names):
            path = root / name
            if path.is_symlink():
                refuse_leaving(root, name)
            if path.is_dir():
                real = path.resolve()
                if real in above:
                    raise ModelFileError(f"{path}: expected a folder, found a link to a folder that it is in")
                waiting.append((name, (*above, real)))
            elif path.is_file():
                files.append(name)
            else:
                raise ModelFileError(f"{path}: expected a file, found {_describe(path)}")
            if len(files) + len(waiting) + len(empty) > MAX_FILES:
                raise ModelFileError(f"{root}: expected at most {MAX_FILES} files and folders, found more")
    return FolderTree(tuple(sorted(files)), tuple(sorted(empty)))


def refuse_leaving(root: Path, name: str) -> None:
    """Raises: ModelFileError if the path `name` inside of the folder `root` leads out of it through a link."""
    path = root / name
    try:
        real, inside = path.resolve(), root.resolve()
    except (OSError, RuntimeError) as error:
        raise ModelFileError(f"{path}: expected a file, found a link that leads nowhere") from error
    if not real.is_relative_to(inside) and real.parent != _find_blobs(inside):
        raise ModelFileError(f"{path}: expected a file of its folder, found a link out of it, to {real}")


def _find_blobs(folder: Path) -> Path | None:
    """The folder of blobs that belongs to `folder` (a path without links) in the Hugging Face cache; None elsewhere."""
    for one in (folder, *folder.parents):
        if one.parent.name == "snapshots":
            blobs = one.parent.parent / "blobs"
            return blobs if blobs.is_dir() and not blobs.is_symlink() else None
    return None


def _describe(path: Path) -> str:
    return "a link that leads nowhere" if path.is_symlink() else "a device, a pipe or a socket"
