"""The file in a container of kind 4, from `wcz.md` and `keras.md` alone: its extents and its remainder.

python formats/reference_files.py X.wcz OUT
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from reference_coders import FileError, Reader, UnsupportedError, require
from reference_decoder import FILE, take_apart


def restore(data: bytes) -> bytes:
    """The file, byte for byte if the container has its SHA-256."""
    kind, skeleton, found = take_apart(data)
    if kind != FILE:
        raise UnsupportedError(f"kind {kind} of model file")
    reader = Reader(skeleton)
    source, flags = reader.u(1), reader.u(1)
    if source > 8 or flags > 3:
        raise UnsupportedError(f"source {source}, flags {flags}")
    sha = reader.take(32) if flags & 1 else None
    length = reader.varint()
    last = found.pop() if flags & 2 else None
    places = [reader.varint() for _ in found]
    if last:
        require(last[0].name == "" and last[0].dtype == 4 and len(last[0].shape) == 1, "remainder")
        require(reader.left() == 0, "bytes after the skeleton")
        reader = Reader(last[1].tobytes())
    out = bytearray()
    for (_, values), place in zip(found, places, strict=True):
        out += reader.take(place >> 2)
        stored = values.byteswap() if place & 1 else values
        out += stored.tobytes("F" if place & 2 else "C")
    out += reader.take(reader.left())
    require(len(out) == length, "length of the file")
    require(sha is None or hashlib.sha256(out).digest() == sha, "SHA-256 of the file")
    return bytes(out)


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        Path(arguments[1]).write_bytes(restore(Path(arguments[0]).read_bytes()))
    except (FileError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
