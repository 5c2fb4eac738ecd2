"""Models of several files: which they are, and the skeleton of a container that names their parts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from wcodec.container.wire import put_varint, take_varint
from wcodec.errors import CorruptError, ModelFileError, TruncatedError, UnsupportedError
from wcodec.files import is_inside
from wcodec.model import Model
from wcodec.modelfiles import onnx, open_model
from wcodec.modelfiles.detect import detect_kind
from wcodec.modelfiles.extents import OTHER, FileLayout, model_of, tidy
from wcodec.modelfiles.hdf5.variable_names import Json

MAX_FILES = 100_000
MAX_INDEX_BYTES = 1 << 28


@dataclass(frozen=True)
class File:
    """One file of a folder, by its path inside.

    is_model: whether its tensors may be lossy; what is no model, or would come back as another kind, is kept exactly.
    beside:   the ONNX model, by its path inside, that says which values lie in this file.
    """

    name: str
    is_model: bool
    beside: str | None = None


@dataclass(frozen=True)
class Folder:
    """Files that belong together; paths are inside `root`."""

    root: Path
    files: tuple[File, ...]


@dataclass(frozen=True)
class Shard:
    """A part of a sharded container: the file that it holds, and what the part itself must be."""

    name: str
    part_bytes: int
    digest: bytes


def folder_of(source: Path) -> Folder | None:
    """The files of a folder, of an index of shards or of an ONNX model with external data; None for any single file.

    Raises: ModelFileError where what is mentioned is missing or lies outside.
    """
    if source.is_dir():
        return _directory(source)
    if source.name.endswith((".index.json", ".weights.json")):
        mapped = _weight_map(source)
        names = sorted({name for value in mapped.values() for name in _names(source, value)})
        return _folder(source, [source.name, *names])
    try:
        with source.open("rb") as file:
            head = file.read(1)
    except OSError as error:
        raise ModelFileError(f"{source}: cannot be read: {error.strerror or error}") from error
    if head == b"\x08" and onnx.is_onnx(source):
        try:
            outside = sorted({one.location for one in onnx.find_tensors(source).outside})
        except onnx.UnreadableError:  # refused where it is read as a model, kept where it is lossless
            return None
        return _external(source, outside) if outside else None
    return None


def layout_of(source: Path, beside: Path) -> FileLayout:
    """The template of a file in which an ONNX model keeps values.

    Raises: ModelFileError.
    """
    name = source.relative_to(beside.parent).as_posix()
    extents = [one.extent for one in onnx.find_tensors(beside).outside if one.location == name]
    return tidy(OTHER, source.stat().st_size, extents)


def external_model(source: Path, beside: Path) -> Model:
    """The same, as a model whose tensors may be lossy.

    Raises: ModelFileError.
    """
    return model_of(source, layout_of(source, beside))


def opened(source: Path, keep_optimizer: bool, beside: Path | None) -> AbstractContextManager[Model]:
    """`open_model`, or `external_model` where the file lies beside an ONNX model."""
    return nullcontext(external_model(source, beside)) if beside else open_model(source, keep_optimizer)


def pack(shards: Sequence[Shard]) -> bytes:
    """The skeleton of a sharded container. Inverse: `parse`."""
    out = bytearray((0,))
    put_varint(out, len(shards))
    for shard in shards:
        name = shard.name.encode()
        put_varint(out, len(name))
        out += name
        put_varint(out, shard.part_bytes)
        out += shard.digest
    return bytes(out)


def parse(skeleton: bytes) -> tuple[Shard, ...]:
    """Inverse: `pack`.

    Raises: CorruptError, TruncatedError, UnsupportedError.
    """
    if skeleton[:1] != b"\0":
        error = UnsupportedError if skeleton else TruncatedError
        raise error(f"skeleton: expected a list of shards of kind 0, got {skeleton[:1].hex() or 'nothing'}")
    count, at = take_varint(skeleton, 1)
    if count > MAX_FILES:
        raise CorruptError(f"skeleton: expected at most {MAX_FILES} files, got {count}")
    shards = []
    for _ in range(count):
        length, at = take_varint(skeleton, at)
        raw, at = skeleton[at : at + length], at + length
        size, at = take_varint(skeleton, at)
        digest, at = skeleton[at : at + 32], at + 32
        if len(digest) != 32:
            raise TruncatedError("skeleton: ended early inside the list of shards")
        name = raw.decode("utf-8", "replace")
        if name.encode() != raw or not is_inside(name):
            raise CorruptError(f"skeleton: expected the name of a file inside a folder, got {name[:80]!r}")
        shards.append(Shard(name, size, digest))
    _refuse_clashes(names := [shard.name for shard in shards])
    # Sorted with a slash behind, what is inside of a folder, or has its very name, follows it directly.
    paths = sorted(f"{name}/" for name in names)
    if at != len(skeleton) or any(two.startswith(one) for one, two in pairwise(paths)):
        raise CorruptError("skeleton: expected a list of shards with names of their own, got another one")
    return tuple(shards)


def _refuse_clashes(names: Sequence[str]) -> None:
    """Raises: CorruptError for a file whose part would lie where the index, or a folder with parts, does."""
    folders = {name.partition("/")[0] for name in names if "/" in name}
    for name in names:
        if name == "index" or f"{name}.wcz" in folders:
            raise CorruptError(f"the file {name[:200]!r}: expected {name[:200]}.wcz to be free for it")


def _directory(source: Path) -> Folder:
    found = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
    if {"saved_model.pb", "saved_model.pbtxt"} & set(found):
        raise ModelFileError(f"{source}: is a SavedModel directory: load it in Keras and save it as .keras")
    _refuse_incomplete(source, found)
    mains = [name for name in found if name.endswith(".onnx")]
    folder = _folder(source / "x", found)
    external: dict[str, str] = {}
    for main in mains:
        path = source / main
        if onnx.is_onnx(path):
            inside = Path(main).parent
            external |= {(inside / one.location).as_posix(): main for one in onnx.find_tensors(path).outside}
    files = tuple(File(f.name, True, external[f.name]) if f.name in external else f for f in folder.files)
    if not any(file.is_model for file in files):
        raise ModelFileError(f"{source}: is a directory, expected a model file or a folder with one")
    return Folder(source, files)


def _refuse_incomplete(source: Path, found: Sequence[str]) -> None:
    """Raises: ModelFileError where some shards of an index are there and others not; none is of another form."""
    for name in found:
        if name.endswith((".index.json", ".weights.json")):
            index, there = source / name, set(found)
            try:
                values = _weight_map(index).values()
                wanted = {(Path(name).parent / one).as_posix() for value in values for one in _names(index, value)}
            except ModelFileError:
                continue  # some other JSON, which is kept as it is
            if wanted & there and (missing := sorted(wanted - there)):
                raise ModelFileError(f"{index}: expected the file {missing[0][:200]!r} in its folder, found none")


def _external(source: Path, outside: Sequence[str]) -> Folder:
    folder = _folder(source, [source.name, *outside])
    return Folder(folder.root, (File(source.name, True), *(File(name, True, source.name) for name in outside)))


def _folder(main: Path, names: Sequence[str]) -> Folder:
    root = main.parent
    if len(names) > MAX_FILES:
        raise ModelFileError(f"{main}: expected at most {MAX_FILES} files, got {len(names)}")
    for name in names:
        if not is_inside(name) or not (root / name).is_file():
            raise ModelFileError(f"{main}: expected the file {name[:200]!r} in its folder, found none")
    try:
        _refuse_clashes(names)
    except CorruptError as error:
        raise ModelFileError(f"{main.parent}: {error}") from error
    return Folder(root, tuple(File(name, _is_model(root / name)) for name in names))


def _is_model(path: Path) -> bool:
    try:
        return detect_kind(path) != "torch"
    except ModelFileError:
        return False


def _weight_map(source: Path) -> dict[str, Json]:
    try:
        if source.stat().st_size > MAX_INDEX_BYTES:
            raise ModelFileError(f"{source}: expected an index of at most {MAX_INDEX_BYTES} bytes")
        said: Json = json.loads(source.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{source}: not a readable index of shards: {error}") from error
    mapped = said.get("weight_map") if isinstance(said, dict) else None
    if not isinstance(mapped, dict) or not mapped:
        raise ModelFileError(f"{source}: expected an index of shards with a weight_map")
    return mapped


def _names(source: Path, value: Json) -> list[str]:
    """Keras says one file or a list of them."""
    names = value if isinstance(value, list) else [value]
    texts = [name for name in names if isinstance(name, str)]
    if len(texts) != len(names):
        raise ModelFileError(f"{source}: expected names of files in its weight_map, got {value!r:.80}")
    return texts
