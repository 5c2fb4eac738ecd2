"""The skeleton of a container of several files: the list of the files, and the expected part of each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise

from wcodec.container.wire import put_varint, take_varint
from wcodec.errors import CorruptError, TruncatedError, UnsupportedError
from wcodec.files import is_inside, is_portable
from wcodec.model.dataclass import dataclass
from wcodec.modelfiles.folder_tree import MAX_FILES

BY_NAME, BY_NUMBER = 0, 1
"""The names of the parts: NAME.wcz; or 0.wcz, 1.wcz, ... if names are not that simple."""


LONGEST = 230
"""The largest number of bytes of a name to which a key of 16 digits and the suffix can be added."""


@dataclass(frozen=True)
class Shard:
    """A file, by its path inside of the folder, and its part.

    part:       the path of the part inside of the folder of the container.
    part_bytes: the size of the part.
    digest:     the SHA-256 of the part.
    """

    name: str
    part: str
    part_bytes: int
    digest: bytes


@dataclass(frozen=True)
class ShardList:
    """All files, and the folders without files."""

    shards: tuple[Shard, ...]
    empty: tuple[str, ...] = ()


def part_names(names: Sequence[str], empty: Sequence[str] = ()) -> list[str]:
    """The names of the parts, without the suffix: those of the files if these are simple, otherwise numbers."""
    longest = max((len(part.encode()) for name in names if is_portable(name) for part in name.split("/")), default=0)
    if empty or not names or not all(map(is_portable, names)) or clash(names) or longest > LONGEST:
        return [str(number) for number in range(len(names))]
    return list(names)


def clash(names: Sequence[str]) -> str | None:
    """A file whose part would have the name of the index or of a folder with parts; None if there is none."""
    folders = {name.partition("/")[0] for name in names if "/" in name}
    return next((name for name in names if name == "index" or f"{name}.wcz" in folders), None)


def pack(names: Sequence[str], parts: Sequence[tuple[int, bytes]], empty: Sequence[str] = ()) -> bytes:
    """The skeleton of files with these names, and the bytes and SHA-256 of their parts. Inverse: `parse`."""
    naming = BY_NAME if part_names(names, empty) == list(names) and names else BY_NUMBER
    out = bytearray((naming,))
    put_varint(out, len(names))
    for name, (nbytes, digest) in zip(names, parts, strict=True):
        _put_name(out, name)
        put_varint(out, nbytes)
        out += digest
    if naming == BY_NUMBER:
        put_varint(out, len(empty))
        for name in empty:
            _put_name(out, name)
    return bytes(out)


def parse(skeleton: bytes) -> ShardList:
    """Inverse: `pack`.

    Raises: CorruptError, TruncatedError; UnsupportedError for another kind of list, or for names that this system
    cannot have.
    """
    if skeleton[:1] not in (b"\0", b"\1"):
        error = UnsupportedError if skeleton else TruncatedError
        raise error(f"skeleton: expected a list of shards of kind 0 or 1, got {skeleton[:1].hex() or 'nothing'}")
    naming = skeleton[0]
    count, at = _take_count(skeleton, 1)
    shards, empty = [], []
    for number in range(count):
        name, at = _take_name(skeleton, at, naming)
        size, at = take_varint(skeleton, at)
        digest, at = skeleton[at : at + 32], at + 32
        if len(digest) != 32:
            raise TruncatedError("skeleton: ended early inside the list of shards")
        shards.append(Shard(name, f"{name if naming == BY_NAME else number}.wcz", size, digest))
    if naming == BY_NUMBER:
        count, at = _take_count(skeleton, at)
        for _ in range(count):
            name, at = _take_name(skeleton, at, naming)
            empty.append(name)
    names = [shard.name for shard in shards]
    if naming == BY_NAME and (clashing := clash(names)) is not None:
        raise CorruptError(f"the file {clashing[:200]!r}: expected {clashing[:200]}.wcz to be free for it")
    # Sorted with a slash at the end, the contents of a folder, or a file of its name, follow it directly.
    paths = sorted(f"{name}/" for name in (*names, *empty))
    if at != len(skeleton) or any(two.startswith(one) for one, two in pairwise(paths)):
        raise CorruptError("skeleton: expected a list of shards with names of their own, got another one")
    return ShardList(tuple(shards), tuple(empty))


def _put_name(out: bytearray, name: str) -> None:
    raw = name.encode(errors="surrogateescape")
    put_varint(out, len(raw))
    out += raw


def _take_count(skeleton: bytes, at: int) -> tuple[int, int]:
    count, at = take_varint(skeleton, at)
    if count > MAX_FILES:
        raise CorruptError(f"skeleton: expected at most {MAX_FILES} files, got {count}")
    return count, at


def _take_name(skeleton: bytes, at: int, naming: int) -> tuple[str, int]:
    length, at = take_varint(skeleton, at)
    raw = skeleton[at : at + length]
    name = raw.decode(errors="surrogateescape")
    if len(raw) != length or not is_inside(name) or (naming == BY_NAME and not is_portable(name)):
        raise CorruptError(f"skeleton: expected the name of a file inside a folder, got {name[:80]!r}")
    if os.name == "nt" and not is_portable(name):
        raise UnsupportedError(f"skeleton: expected a name that this system can have, got {name[:80]!r}")
    return name, at + length
