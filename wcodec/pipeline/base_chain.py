"""Base files that are .wcz files and may have bases themselves: found by digest, decoded from the last to the first."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from wcodec.container.reader import open_file, parse
from wcodec.container.records import Container
from wcodec.container.wire import MAGIC
from wcodec.errors import ContainerError, CorruptError, ModelFileError, RecipeError, name_in_errors
from wcodec.files import sha256_of
from wcodec.model.dataclass import dataclass, replace
from wcodec.modelfiles.extents import parse as parse_layout
from wcodec.pipeline.base_file import BaseFile, open_base
from wcodec.pipeline.open_container import OpenContainer, is_lossless, write_decoded

SUFFIX = ".wcz"


@dataclass(frozen=True)
class ChainLink:
    """A file against which another one is coded. digest: as `digest_of`; container: None if it is not a .wcz."""

    path: Path
    digest: bytes
    container: Container | None


def digest_of(path: Path) -> bytes:
    """The digest that identifies a base: its SHA-256; for a lossless .wcz the SHA-256 of the file in it.

    That file and every lossless .wcz of it, coded against any base, can therefore replace each other.
    Raises: ModelFileError if it cannot be read; ContainerError and its kinds.
    """
    return _link(path).digest


def chain_of(path: Path) -> list[Path]:
    """The bases that a .wcz needs, its own first; they are searched in its folder.

    Raises: RecipeError if one is missing; ContainerError and its kinds.
    """
    return [link.path for link in _find_chain(_link(path), None)]


def open_any_base(path: Path) -> BaseFile:
    """The base at `path`, a model file or a .wcz, opened for coding against it.

    Raises: ModelFileError; ContainerError and its kinds; RecipeError if a base of the .wcz is missing.
    """
    link = _link(path)
    return _decode_chain([link, *_find_chain(link, None)])


def find_base(source: Path, container: Container, given: Path | None) -> BaseFile | None:
    """The base of the container at `source`; None if it has none.

    given: the base, or a folder with it; None searches for a .wcz in the folder of `source`, as for the bases of bases.
    Raises: RecipeError if a base is missing, or if `given` is another file; ContainerError and its kinds.
    """
    if container.base is None:
        return None
    if given and not given.exists():
        raise ModelFileError(f"{given}: expected the base, found none")
    if given and not (given.is_file() or given.is_dir()):
        raise RecipeError(f"{given}: expected a file as the base, or a folder with it, found something else")
    link = ChainLink(source, b"", container)
    if given and given.is_file():
        first = _link(given)
        if first.digest != container.base:
            raise RecipeError(
                f"{given}: expected the base of SHA-256 {container.base.hex()}, got {first.digest.hex()}"
                f"{_suggest_base(container.base, (given.parent, source.parent))}"
            )
        return _decode_chain([first, *_find_chain(first, given.parent)])
    return _decode_chain(_find_chain(link, given))


def _find_chain(link: ChainLink, given: Path | None) -> list[ChainLink]:
    """The base of a file, the base of that base, and so on."""
    found: list[ChainLink] = []
    seen: set[bytes] = set()
    while link.container and (digest := link.container.base):
        if digest in seen:
            raise CorruptError(f"{link.path}: expected bases that end, got SHA-256 {digest.hex()} twice")
        seen.add(digest)
        folders = dict.fromkeys([link.path.parent, *([given] if given else [])])
        link = _find_by_digest(link, digest, tuple(folders), given)
        found.append(link)
    return found


def _find_by_digest(link: ChainLink, digest: bytes, folders: Sequence[Path], given: Path | None) -> ChainLink:
    """The file with this digest: a .wcz in the folders, or any file in the given folder.

    Raises: RecipeError.
    """
    for folder in folders:
        for path in _list_candidates(folder, folder == given):
            if path != link.path and (one := _link_or_none(path)) and one.digest == digest:
                return one
    places = " and ".join(str(folder) for folder in folders)
    raise RecipeError(f"{link.path}: expected --base with the file of SHA-256 {digest.hex()}, found none in {places}")


def _suggest_base(digest: bytes, folders: Sequence[Path]) -> str:
    """A hint with the name of the base file, if it is in the folders."""
    for folder in dict.fromkeys(folders):
        for path in _list_candidates(folder, False):
            if (one := _link_or_none(path)) and one.digest == digest:
                return f"; that is {one.path}"
    return ""


def _list_candidates(folder: Path, whatever: bool) -> Iterator[Path]:
    """The .wcz files of a folder; with `whatever` followed by all other files."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    yield from (path for path in files if path.suffix == SUFFIX)
    yield from (path for path in files if whatever and path.suffix != SUFFIX)


def _link_or_none(path: Path) -> ChainLink | None:
    """The link of a file; None if the file is damaged or missing."""
    try:
        return _link(path)
    except (ContainerError, ModelFileError, OSError):
        return None


def _link(path: Path) -> ChainLink:
    try:
        facts = path.stat()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    with name_in_errors(path):
        return _find_link(path, facts.st_ino, facts.st_size, facts.st_mtime_ns)


@lru_cache(4096)
def _find_link(path: Path, inode: int, size: int, written: int) -> ChainLink:
    """The link of a file, cached by these facts."""
    with open_file(path) as file:
        is_container = file.read(len(MAGIC)) == MAGIC
        container = parse(file) if is_container else None
    if container and is_lossless(container):
        digest = parse_layout(container.skeleton, container.tensors).digest
        return ChainLink(path, digest or sha256_of(path), container)
    return ChainLink(path, sha256_of(path), container)


def _decode_chain(chain: Sequence[ChainLink]) -> BaseFile:
    """The first file of a chain, decoded with the others, as a temporary file that is removed with the result."""
    base: BaseFile | None = None
    for link in reversed(chain):
        if link.container is None:
            base = replace(open_base(link.path), digest=link.digest)
            continue
        folder = TemporaryDirectory(prefix="wcodec-")
        plain = Path(folder.name) / "base"
        try:
            with name_in_errors(link.path), open_file(link.path) as file:
                write_decoded(OpenContainer(file, link.container, base), link.path, plain, plain, 0, None)
            base = replace(open_base(plain), digest=link.digest)
        except BaseException:
            folder.cleanup()
            raise
        weakref.finalize(base, folder.cleanup)
    assert base is not None
    return base
