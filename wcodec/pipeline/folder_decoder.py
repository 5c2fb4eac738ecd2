"""Decoding and verification of a model of several files, or of one, and access to its tensors.

Inverse: `folder_encoder`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.container.records import Container
from wcodec.errors import CorruptError, RecipeError, TruncatedError, UnsupportedError
from wcodec.files import Identity, identity_of, make_folders, sha256_of, short
from wcodec.model import Progress
from wcodec.model.dataclass import dataclass
from wcodec.pipeline import decoder
from wcodec.pipeline.decoder import open_container
from wcodec.pipeline.output_limit import count_decoded_bytes, refuse_larger

if TYPE_CHECKING:
    from wcodec.modelfiles.shard_list import Shard, ShardList
    from wcodec.pipeline.base_file import BaseFile


INDEX = "index.wcz"
SUFFIX = ".wcz"


@dataclass(frozen=True)
class Place:
    """The place of a tensor: a container and its number inside; `user_name` as in `model.Tensor`.

    file:     in a folder, by its path inside; "" if there is no folder.
    identity: of the file of the container when it was opened (`files.identity_of`).
    """

    file: str
    path: Path
    container: Container
    number: int
    user_name: str = ""
    identity: Identity | None = None


def base_of(place: Place, base: Path | None) -> BaseFile | None:
    """The base of a tensor's container; None if it has none, or if it is neither given nor found.

    base: the base, a folder with it, or a folder with the earlier versions of the files.
    Raises: RecipeError if it is another file.
    """
    if place.container.base is None:
        return None
    from wcodec.pipeline.base_chain import find_base

    if place.file and base and base.is_dir():
        base = earlier_of(base, place.file)
    if base is None and not place.file:
        try:
            return find_base(place.path, place.container, None)
        except RecipeError:
            return None  # most tensors may not need it; the others raise an error
    return find_base(place.path, place.container, base) if base else None


def decode(
    source: Path,
    target: Path,
    *,
    base: Path | None = None,
    max_output: int | None = None,
    threads: int = 0,
    progress: Progress | None = None,
) -> None:
    """Write the file or folder in `source`. Inverse: `folder_encoder.encode_any`.

    max_output: the largest number of bytes to which it may decode, None for any number.
    Raises: ContainerError and its kinds; OSError if `target` cannot be written.
    """
    if index := index_of(source):
        decode_folder(index, target, base=base, max_output=max_output, threads=threads, progress=progress)
    else:
        decoder.decode(source, target, base=base, max_output=max_output, threads=threads, progress=progress)


def verify(
    source: Path,
    *,
    base: Path | None = None,
    max_output: int | None = None,
    threads: int = 0,
    progress: Progress | None = None,
) -> list[Container]:
    """Check every checksum without writing, and return the containers.

    max_output: the largest number of bytes to which it may decode, None for any number.
    Raises: ContainerError and its kinds.
    """
    index = index_of(source)
    if index is None:
        return [decoder.verify(source, base=base, max_output=max_output, threads=threads, progress=progress)]
    _refuse_larger_parts(index, max_output)
    found = []
    for shard, part in parts_of(index):
        _check(shard, part)
        found.append(decoder.verify(part, base=earlier_of(base, shard.name), threads=threads, progress=progress))
    return found


def places_of(source: Path, max_output: int | None = None) -> dict[str, Place]:
    """Every tensor by name. A name that several files of a folder have is preceded by its file: "a.h5/kernel".

    max_output: the largest number of bytes to which `source` may decode, None for any number.
    Raises: ContainerError and its kinds.
    """
    from wcodec.modelfiles.names import labels_of

    index = index_of(source)
    if index:
        _refuse_larger_parts(index, max_output)
    paths = [(shard.name, part) for shard, part in parts_of(index)] if index else [("", source)]
    found: dict[str, Place] = {}
    for file, path in paths:
        with open_container(path, max_output=max_output) as opened:
            labels = labels_of(opened.container)
            identity = identity_of(opened.file)
            for number in opened.container.numbers:
                own = opened.container.tensors[number].name
                name = f"{file}/{own}" if own in found else own
                found[name] = Place(file, path, opened.container, number, labels[number].user_name, identity)
    return found


def decode_folder(
    source: Path,
    target: Path,
    *,
    base: Path | None = None,
    max_output: int | None = None,
    threads: int = 0,
    progress: Progress | None = None,
) -> None:
    """Write the folder `target` of a sharded container, atomically. Inverse: `encode_folder`.

    max_output: the largest number of bytes of all its files, None for any number.
    Raises: ContainerError and its kinds; OSError if `target` cannot be written.
    """
    _refuse_larger_parts(source, max_output)
    import shutil
    import tempfile

    temporary = Path(tempfile.mkdtemp(prefix=f".{short(target.name)}.", suffix=".part", dir=target.parent))
    try:
        for shard, part in parts_of(source):
            make_folders(temporary, shard.name, source.parent)
            _check(shard, part)
            earlier, limit = earlier_of(base, shard.name), max_output
            decoder.decode(
                part, temporary / shard.name, base=earlier, max_output=limit, threads=threads, progress=progress
            )
        for name in _list_of(source).empty:
            (temporary / name).mkdir(parents=True)
        temporary.chmod((source if source.is_dir() else source.parent).stat().st_mode & 0o777)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def earlier_of(base: Path | None, name: str) -> Path | None:
    """The earlier version of one file of a folder, or its .wcz."""
    found = [base / name, base / f"{name}{SUFFIX}"] if base else []
    return next((path for path in found if path.is_file()), None)


def index_of(source: Path) -> Path | None:
    """The index of the sharded container at `source`, a folder or the index itself; None if it is another file.

    Raises: ContainerError for a folder without an index.
    """
    if source.is_dir():
        if not (source / INDEX).is_file():
            if not any(source.glob(f"*{SUFFIX}")):
                raise UnsupportedError(f"{source}: expected a .wcz, found a folder without one; encode makes one of it")
            raise TruncatedError(f"{source}: expected a folder with {INDEX}, found none; was encoding interrupted?")
        return source / INDEX
    if source.name != INDEX:
        return None
    with open_container(source) as opened:
        return source if opened.container.kind == "shards" else None


def parts_of(index: Path) -> list[tuple[Shard, Path]]:
    """The files and parts of a sharded container.

    Raises: ContainerError and its kinds.
    """
    return [(shard, index.parent / shard.part) for shard in _list_of(index).shards]


def _list_of(index: Path) -> ShardList:
    from wcodec.modelfiles import shard_list

    with open_container(index) as opened:
        if opened.container.kind != "shards":
            raise CorruptError(f"{index}: expected an index of shards, got a container of kind {opened.container.kind}")
        return shard_list.parse(opened.container.skeleton)


def _refuse_larger_parts(index: Path, limit: int | None) -> None:
    """Raises: UnsupportedError if the files of a folder decode to more bytes; TruncatedError if one is missing."""
    total = 0
    for shard, part in parts_of(index) if limit is not None else ():
        _require_part(shard, part)
        with open_container(part, max_output=limit) as opened:
            total += count_decoded_bytes(opened.container)
        refuse_larger(index, total, limit)


def _require_part(shard: Shard, part: Path) -> None:
    if not part.is_file():
        raise TruncatedError(f"{part}: expected a part of {shard.part_bytes} bytes, found none")


def _check(shard: Shard, part: Path) -> None:
    _require_part(shard, part)
    if part.stat().st_size != shard.part_bytes or sha256_of(part) != shard.digest:
        raise CorruptError(f"{part}: is not the part that the index names; expected SHA-256 {shard.digest.hex()}")
