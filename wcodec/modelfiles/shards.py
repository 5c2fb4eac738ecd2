"""Models that consist of several files: finding these files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from wcodec.errors import ModelFileError
from wcodec.files import is_inside, is_portable
from wcodec.model import Model
from wcodec.model.dataclass import dataclass, replace
from wcodec.modelfiles import onnx, open_model
from wcodec.modelfiles.detect import SAVED_MODEL, detect_kind
from wcodec.modelfiles.extents import OTHER, FileLayout, make_layout, model_of
from wcodec.modelfiles.folder_tree import MAX_FILES, refuse_leaving, walk
from wcodec.modelfiles.json_text import Json, parse_json
from wcodec.modelfiles.roles import with_exact

MAX_INDEX_BYTES = 1 << 28
_SHARD = re.compile(r"(.*?)[-_.]?[0-9]{5}-of-[0-9]{5}(\.[a-z0-9]+)")
"""The name of a shard: that of the model, two numbers, and the suffix."""


@dataclass(frozen=True)
class File:
    """One file of a folder, by its path inside.

    is_model: whether its tensors may be lossy. A file that is not a model, or that would be decoded to another kind, is
              kept exactly.
    beside:   the ONNX model, by its path inside, that keeps values in this file.
    model:    a name that all files of one model have in common.
    """

    name: str
    is_model: bool
    beside: str | None = None
    model: str = ""


@dataclass(frozen=True)
class Folder:
    """Files that belong together; paths are inside of `root`. empty: folders without files."""

    root: Path
    files: tuple[File, ...]
    empty: tuple[str, ...] = ()


def folder_of(source: Path, whole: bool = False) -> Folder | None:
    """The files of a folder, of an index of shards or of an ONNX model with external data; None for a single file.

    whole: everything is restored byte for byte, so that any folder and any file is accepted.
    Raises: ModelFileError if a listed file is missing or outside of the folder, or if a link leaves the folder.
    """
    if source.is_dir():
        return _list_directory(source, whole)
    if source.name.endswith((".index.json", ".weights.json")):
        return _list_files_of_index(source, whole)
    try:
        with source.open("rb") as file:
            head = file.read(1)
    except OSError as error:
        raise ModelFileError(f"{source}: cannot be read: {error.strerror or error}") from error
    if head == b"\x08" and onnx.is_onnx(source):
        try:
            outside = onnx.find_tensors(source).outside
        except onnx.UnreadableError:  # refused if it is read as a model, kept if it is lossless
            return None
        return _list_external(source, outside, whole)
    return None


def describe_missing_data(source: Path) -> tuple[str, ...]:
    """A sentence about external data of an ONNX model that are missing or outside of its folder; () for other files."""
    try:
        with source.open("rb") as file:
            head = file.read(1)
        outside = onnx.find_tensors(source).outside if head == b"\x08" and onnx.is_onnx(source) else []
    except (OSError, onnx.UnreadableError):
        return ()
    absent = sorted({one.location for one in outside} - _find_outside_files(source, outside))
    named = f"{source.name}: its external data {absent[0][:200]!r}" if absent else ""
    return (f"{named} is not in its folder, and is not stored",) if absent else ()


def layout_of(source: Path, beside: Path) -> FileLayout:
    """The layout of a file in which an ONNX model keeps values.

    Raises: ModelFileError.
    """
    name = source.relative_to(beside.parent).as_posix()
    extents = [one.extent for one in onnx.find_tensors(beside).outside if one.location == name]
    return make_layout(OTHER, source.stat().st_size, extents)


def external_model(source: Path, beside: Path) -> Model:
    """The file as a model whose tensors may be lossy.

    Raises: ModelFileError.
    """
    return model_of(source, layout_of(source, beside))


@contextmanager
def open_source(
    source: Path, keep_optimizer: bool, beside: Path | None, exact: Collection[str] = ()
) -> Iterator[Model]:
    """`open_model`, or `external_model` if the file holds the values of an ONNX model.

    exact: quantised modules, found in other files of the model (`roles.find_quantized_modules`).
    """
    whole = nullcontext(external_model(source, beside)) if beside else open_model(source, keep_optimizer)
    with whole as model:
        yield replace(model, tensors=with_exact(model.tensors, exact)) if exact else model


def _list_files_of_index(source: Path, whole: bool) -> Folder | None:
    try:
        mapped = _read_weight_map(source)
        names = sorted({name for value in mapped.values() for name in _list_names(source, value)})
    except ModelFileError:
        if whole:
            return None
        raise
    if whole and not any((source.parent / name).is_file() for name in names if is_inside(name)):
        return None
    return _make_folder(source, [source.name, *names])


def _list_directory(source: Path, whole: bool) -> Folder:
    tree = walk(source)
    found, here = tree.files, set(tree.files)
    if not whole:
        if {"saved_model.pb", "saved_model.pbtxt"} & here:
            raise ModelFileError(f"{source}: is a SavedModel: {SAVED_MODEL}; --lossless keeps any folder")
        _refuse_incomplete(source, found)
    external: dict[str, str] = {}
    for main in (name for name in found if name.endswith(".onnx") and onnx.is_onnx(source / name)):
        try:
            outside = onnx.find_tensors(source / main).outside
        except onnx.UnreadableError:
            continue
        _refuse_outside(source / main, outside, whole)
        inside = Path(main).parent
        external |= {(inside / name).as_posix(): main for name in _find_outside_files(source / main, outside)}
    models = _find_models(source, found) | {main: main for main in external.values()} | external
    files = tuple(
        File(name, _is_model(source / name) or name in external, external.get(name), models.get(name, name))
        for name in found
    )
    if not whole and not any(file.is_model for file in files):
        raise ModelFileError(
            f"{source}: is a directory, expected a model file or a folder with one; --lossless keeps any folder"
        )
    return Folder(source, files, tree.empty)


def _find_models(source: Path, found: Sequence[str]) -> dict[str, str]:
    """The model of each shard, by an index of shards or by the name of the shard. Single files are left out."""
    models = {name: f"{match[1]}{match[2]}" for name in found if (match := _SHARD.fullmatch(name))}
    for name in found:
        if name.endswith((".index.json", ".weights.json")):
            try:
                values = _read_weight_map(source / name).values()
                shards = {(Path(name).parent / one).as_posix() for v in values for one in _list_names(source / name, v)}
            except ModelFileError:
                continue  # some other JSON
            models |= dict.fromkeys(shards, name)
    return models


def _refuse_incomplete(source: Path, found: Sequence[str]) -> None:
    """Raises: ModelFileError if some shards of an index exist and others are missing; none is of another form."""
    for name in found:
        if name.endswith((".index.json", ".weights.json")):
            index, there = source / name, set(found)
            try:
                values = _read_weight_map(index).values()
                wanted = {(Path(name).parent / one).as_posix() for value in values for one in _list_names(index, value)}
            except ModelFileError:
                continue  # another JSON file, which is kept as it is
            if wanted & there and (missing := sorted(wanted - there)):
                raise ModelFileError(f"{index}: expected the file {missing[0][:200]!r} in its folder, found none")


def _list_external(source: Path, outside: Sequence[onnx.Outside], whole: bool) -> Folder | None:
    """The model and the files of its external data, if there are any."""
    _refuse_outside(source, outside, whole)
    names = sorted(_find_outside_files(source, outside))
    main = source.name
    files = (File(main, True, None, main), *(File(name, True, main, main) for name in names))
    return Folder(source.parent, files) if names else None


def _find_outside_files(source: Path, outside: Sequence[onnx.Outside]) -> set[str]:
    """The existing files of external data, by their paths in the folder of the model `source`."""
    found = set()
    for name in {one.location for one in outside if one.problem is None}:
        path = source.parent / name
        if path.is_file() and not path.samefile(source):
            refuse_leaving(source.parent, name)
            found.add(name)
    return found


def _refuse_outside(source: Path, outside: Sequence[onnx.Outside], whole: bool) -> None:
    """Raises: ModelFileError for external data that are missing or outside, unless the files are stored as they are."""
    there = _find_outside_files(source, outside)
    for one in () if whole else outside:
        if one.problem is not None:
            raise ModelFileError(f"{source}, {one.extent.facts.name}: {one.problem}")
        if one.location not in there:
            raise ModelFileError(f"{source}: expected its external data {one.location[:200]!r} beside it, found none")


def _make_folder(main: Path, names: Sequence[str]) -> Folder:
    """The files `names` in the folder of `main`."""
    root = main.parent
    if len(names) > MAX_FILES:
        raise ModelFileError(f"{main}: expected at most {MAX_FILES} files, got {len(names)}")
    for name in names:
        if not is_portable(name) or not (root / name).is_file():
            raise ModelFileError(f"{main}: expected the file {name[:200]!r} in its folder, found none")
        refuse_leaving(root, name)
    return Folder(root, tuple(File(name, _is_model(root / name), None, main.name) for name in names))


def _is_model(path: Path) -> bool:
    try:
        return detect_kind(path) != "torch"
    except ModelFileError:
        return False


def _read_weight_map(source: Path) -> dict[str, Json]:
    try:
        if source.stat().st_size > MAX_INDEX_BYTES:
            raise ModelFileError(f"{source}: expected an index of at most {MAX_INDEX_BYTES} bytes")
        said = parse_json(source.read_text("utf-8"), str(source))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{source}: not a readable index of shards: {error}") from error
    mapped = said.get("weight_map") if isinstance(said, dict) else None
    if not isinstance(mapped, dict) or not mapped:
        raise ModelFileError(f"{source}: expected an index of shards with a weight_map")
    return mapped


def _list_names(source: Path, value: Json) -> list[str]:
    """Keras gives one file name or a list of them."""
    names = value if isinstance(value, list) else [value]
    texts = [name for name in names if isinstance(name, str)]
    if len(texts) != len(names):
        raise ModelFileError(f"{source}: expected names of files in its weight_map, got {value!r:.80}")
    return texts
