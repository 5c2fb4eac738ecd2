"""Names of files that a file mentions: only those inside its own folder are followed."""

from __future__ import annotations

from pathlib import PurePosixPath

MAX_BYTES = 1024


def is_inside(name: str) -> bool:
    """Whether a relative path, written with slashes, stays in its folder on every system."""
    plain = PurePosixPath(name).as_posix() == name and 0 < len(name.encode(errors="replace")) <= MAX_BYTES
    odd = name == "." or name.startswith("/") or ".." in name.split("/") or bool(set(name) & set("\\\0:"))
    return plain and not odd
