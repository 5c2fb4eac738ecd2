"""Reading of an HDF5 file into its tree and tensors, by h5py alone. Inverse: `writer`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from wcodec.container.wire import MAX_DIMS
from wcodec.errors import ModelFileError
from wcodec.model import AnyArray, TensorSpec
from wcodec.model.dataclass import dataclass, field
from wcodec.modelfiles.hdf5.heap_check import check_heaps
from wcodec.modelfiles.hdf5.library import h5, h5a, h5d, h5g, h5l, h5o, h5p, h5py, h5s, h5t, h5z
from wcodec.modelfiles.hdf5.skeleton import DEFAULT_TYPES, item_bytes
from wcodec.modelfiles.hdf5.tree import (
    MAX_DEPTH,
    Attribute,
    Found,
    Group,
    Link,
    Node,
    Slot,
    Stored,
    Values,
    string_attribute,
)
from wcodec.modelfiles.hdf5.types import hdf5_type, memory_type, tensor_dtype, type_text

DEFLATE_RATIO = 1032
"""The largest expansion of a zlib stream. A dataset that declares more is a decompression bomb."""
MOST_TEXT = 1 << 26
"""The largest size of all attributes and strings, as in a skeleton; twice as much for strings of unknown length."""
FILTERS = frozenset({h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32, h5z.FILTER_LZF})
HDF5_ERRORS = (OSError, RuntimeError, ValueError, LookupError, TypeError, MemoryError, ArithmeticError, SystemError)
"""The errors that h5py raises for a damaged file."""

Ranks = dict[str, int]
"""The position of a path among its siblings, if Keras gives one."""


@dataclass
class Walk:
    """The state of a walk: objects by address (None while their group is open), stored bytes, tensors."""

    where: str
    file: h5py.File
    longest_string: int
    file_bytes: int
    objects: dict[int, int | None] = field(default_factory=dict)
    stored_bytes: int = 0
    text_bytes: int = 0
    found: list[Found] = field(default_factory=list)


@contextmanager
def translate_errors(where: str) -> Iterator[None]:
    """A context that turns errors of h5py into a ModelFileError with the name of the file."""
    try:
        yield
    except HDF5_ERRORS as error:
        raise ModelFileError(f"{where}: not a readable HDF5 file: {error or type(error).__name__}") from error


@contextmanager
def open_hdf5(source: Path | IO[bytes], where: str) -> Iterator[tuple[h5py.File, int]]:
    """A context manager of the opened file and the bytes of the longest string in its heaps.

    Only errors of opening and closing are translated.
    """
    with translate_errors(where):
        if isinstance(source, Path):
            with source.open("rb") as raw:
                longest = check_heaps(raw, where)
            file = h5py.File(source, "r", locking=False)
        else:
            longest = check_heaps(source, where)
            file = h5py.File(source, "r")
    try:
        yield file, longest
    finally:
        with translate_errors(where):
            file.close()


def read_tree(
    file: h5py.File, longest: int, where: str, file_bytes: int, keep_optimizer: bool
) -> tuple[Group, list[Found], tuple[str, ...]]:
    """The tree, the tensors in the order of its slots, and the names of the optimizer's tensors that were left out.

    Raises: ModelFileError for links that leave the file, unsupported types, and declared sizes that exceed the file.
    """
    walk, left_out = (Walk(where, file, longest, file_bytes) for _ in range(2))
    with translate_errors(where):
        root = h5g.open(file.id, b"/")
        tree = _read_group(walk, root, "", "", {}, 0, None if keep_optimizer else left_out)
    return tree, walk.found, tuple(found.facts.name for found in left_out.found)


def _read_group(
    walk: Walk, group: h5g.GroupID, name: str, path: str, ranks: Ranks, depth: int, optimizer: Walk | None = None
) -> Group:
    if depth > MAX_DEPTH:
        raise ModelFileError(f"{walk.where}, /{path}: groups are nested more than {MAX_DEPTH} deep")
    address = h5o.get_info(group).addr
    number = len(walk.objects)
    walk.objects[address] = None
    flags = group.get_create_plist()
    ordered = bool(flags.get_link_creation_order() & h5p.CRT_ORDER_TRACKED)
    attributes_ordered = bool(flags.get_attr_creation_order() & h5p.CRT_ORDER_TRACKED)
    attributes = _read_attributes(walk, group, path, attributes_ordered)
    names: list[bytes] = []
    group.links.iterate(names.append, idx_type=h5.INDEX_CRT_ORDER if ordered else h5.INDEX_NAME)
    texts = [_decode_text(walk, raw) for raw in names]
    if not ordered:
        ranks = _rank_paths(path, attributes) or ranks
        texts.sort(key=lambda text: (ranks.get(path + text, len(ranks)), _pad_numbers(text)))
    children: list[Node] = []
    for text in texts:
        if optimizer and _is_optimizer(group, text):
            _read_child(optimizer, group, text, path, ranks, depth)
        else:
            children.append(_read_child(walk, group, text, path, ranks, depth))
    walk.objects[address] = number
    return Group(name, tuple(children), attributes, ordered, attributes_ordered)


def _read_child(walk: Walk, group: h5g.GroupID, name: str, path: str, ranks: Ranks, depth: int) -> Node:
    whole, raw = path + name, name.encode()
    if group.links.get_info(raw).type != h5l.TYPE_HARD:
        raise ModelFileError(f"{walk.where}, /{whole}: soft and external links are not followed")
    thing = h5o.open(group, raw)
    address = h5o.get_info(thing).addr
    if address in walk.objects:
        target = walk.objects[address]
        if target is None:
            raise ModelFileError(f"{walk.where}, /{whole}: links to a group that contains it")
        return Link(name, target)
    if isinstance(thing, h5g.GroupID):
        return _read_group(walk, thing, name, whole + "/", ranks, depth + 1)
    if not isinstance(thing, h5d.DatasetID):
        raise ModelFileError(f"{walk.where}, /{whole}: expected a group or a dataset, got a named datatype")
    walk.objects[address] = len(walk.objects)
    return _read_dataset(walk, thing, name, whole)


def _read_dataset(walk: Walk, dataset: h5d.DatasetID, name: str, path: str) -> Slot | Stored:
    where = f"{walk.where}, /{path}"
    text = type_text(dataset.get_type(), where)
    flags = dataset.get_create_plist()
    ordered = bool(flags.get_attr_creation_order() & h5p.CRT_ORDER_TRACKED)
    attributes = _read_attributes(walk, dataset, path, ordered)
    shape = _read_shape(dataset.get_space(), where)
    _refuse_bombs(walk, dataset, flags, shape, where)
    dtype = tensor_dtype(text)
    if shape is None or text[0] == "s":
        return Stored(name, Values(text, shape, _read_items(walk, dataset, text, shape, where)), attributes, ordered)
    slot = Slot(name, text, attributes, ordered)
    if dtype is None:
        raise ModelFileError(f"{where}: tensors of type {text} are not supported")
    if dtype == "bytes2" and string_attribute(slot, "dtype") == "bfloat16":
        dtype = "bfloat16"
    facts = TensorSpec(path, dtype, shape)
    walk.found.append(Found(facts, partial(_read, walk.file, walk.where, facts, text)))
    return slot


def _read(file: h5py.File, where: str, facts: TensorSpec, text: str) -> AnyArray:
    """The values of one dataset. The type in memory is the type on disk, so HDF5 converts nothing."""
    with translate_errors(f"{where}, /{facts.name}"):
        dataset = h5d.open(file.id, facts.name.encode())
        size = item_bytes(text)
        values = np.empty(facts.shape, dtype=f"V{size}")
        if facts.count:
            dataset.read(h5s.ALL, h5s.ALL, values, mtype=hdf5_type(text))
        default = DEFAULT_TYPES[facts.dtype]
        stored = np.dtype(f"u{size}" if default[1] == "V" else text)
        return values.view(stored).astype(stored.newbyteorder("<"), copy=False)


def _refuse_bombs(
    walk: Walk, dataset: h5d.DatasetID, flags: h5p.PropDCID, shape: tuple[int, ...] | None, where: str
) -> None:
    """Check declared sizes before anything is allocated: the file must contain the bytes that a dataset declares."""
    if flags.get_external_count():
        raise ModelFileError(f"{where}: keeps its values in another file")
    layout = flags.get_layout()
    if layout not in (h5d.CONTIGUOUS, h5d.COMPACT, h5d.CHUNKED):
        raise ModelFileError(f"{where}: is a virtual dataset, values of other files")
    size = dataset.get_type().get_size()
    declared = math.prod(map(int, shape or (0,))) * size
    stored = dataset.get_storage_size()
    most = stored
    if layout == h5d.CHUNKED:
        declared = max(declared, math.prod(map(int, flags.get_chunk())) * size if declared else 0)
        used = {flags.get_filter(i)[0] for i in range(flags.get_nfilters())}
        if used - FILTERS:
            raise ModelFileError(f"{where}: is compressed with filter {min(used - FILTERS)}, which is not supported")
        most *= DEFLATE_RATIO if used else 1
        if used and isinstance(dataset.get_type(), h5t.TypeStringID) and dataset.get_type().is_variable_str():
            # `heap_check` cannot see the lengths that they declare.
            raise ModelFileError(f"{where}: compressed strings of variable length; --lossless takes any file")
    walk.stored_bytes += stored
    if declared > most or walk.stored_bytes > walk.file_bytes:
        raise ModelFileError(f"{where}: declares {declared} bytes, the file of {walk.file_bytes} holds {stored} for it")


def _read_attributes(walk: Walk, thing: h5g.GroupID | h5d.DatasetID, path: str, ordered: bool) -> tuple[Attribute, ...]:
    names: list[bytes] = []
    h5a.iterate(thing, names.append, index_type=h5.INDEX_CRT_ORDER if ordered else h5.INDEX_NAME)
    result = []
    for raw in names:
        name = _decode_text(walk, raw)
        where = f"{walk.where}, /{path.rstrip('/')}, attribute {name}"
        attribute = h5a.open(thing, raw)
        text = type_text(attribute.get_type(), where)
        shape = _read_shape(attribute.get_space(), where)
        if shape is not None and math.prod(map(int, shape)) * attribute.get_type().get_size() > walk.file_bytes:
            raise ModelFileError(f"{where}: declares more bytes than the file has")
        result.append(Attribute(name, Values(text, shape, _read_items(walk, attribute, text, shape, where))))
    return tuple(result)


def _read_items(
    walk: Walk, source: h5a.AttrID | h5d.DatasetID, text: str, shape: tuple[int, ...] | None, where: str
) -> tuple[bytes, ...]:
    if shape is None:
        return ()
    # Many elements may share one string of the heap, and each is a copy in memory.
    most = math.prod(map(int, shape)) * (2 * item_bytes(text) or walk.longest_string)
    if most > 2 * MOST_TEXT - walk.text_bytes:
        raise ModelFileError(f"{where}: may hold over {MOST_TEXT} bytes outside of tensors; --lossless takes any file")
    dtype, in_memory = memory_type(text)
    values = np.empty(shape, dtype)
    if values.size and isinstance(source, h5a.AttrID):
        source.read(values, mtype=in_memory)
    elif values.size:
        source.read(h5s.ALL, h5s.ALL, values, mtype=in_memory)
    if item_bytes(text):
        walk.text_bytes += values.nbytes
        return (values.tobytes(),)
    texts = tuple(item if isinstance(item, bytes) else b"" for item in values.ravel())
    walk.text_bytes += sum(map(len, texts))
    return texts


def _read_shape(space: h5s.SpaceID, where: str) -> tuple[int, ...] | None:
    if space.get_simple_extent_type() == h5s.NULL:
        return None
    shape: tuple[int, ...] = space.get_simple_extent_dims()
    if len(shape) > MAX_DIMS:
        raise ModelFileError(f"{where}: expected at most {MAX_DIMS} dimensions, got {len(shape)}")
    return shape


def _decode_text(walk: Walk, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{walk.where}: the name {raw!r} is not UTF-8") from error


def _rank_paths(path: str, attributes: tuple[Attribute, ...]) -> Ranks:
    """The position of each path in the lists of names that Keras writes, which gives tensors the order of the model."""
    ranks: Ranks = {}
    for attribute in attributes:
        text = attribute.values.type
        if attribute.name in ("layer_names", "weight_names") and text[0] == "s":
            size = item_bytes(text)
            items: Sequence[bytes] = attribute.values.items
            if size and items:
                items = [items[0][i : i + size].rstrip(b"\0") for i in range(0, len(items[0]), size)]
            for item in items:
                whole = path.rstrip("/")
                for component in item.decode("utf-8", "replace").split("/"):
                    whole = f"{whole}/{component}".lstrip("/")
                    ranks.setdefault(whole, len(ranks))
    return ranks


def _pad_numbers(name: str) -> str:
    return re.sub(r"[0-9]+", lambda digits: digits[0].zfill(12), name)


def _is_optimizer(root: h5g.GroupID, name: str) -> bool:
    if name == "optimizer_weights":
        return True
    raw = name.encode()
    return (
        name == "optimizer"
        and root.links.get_info(raw).type == h5l.TYPE_HARD
        and (h5o.get_info(root, raw).type == h5o.TYPE_GROUP and b"vars" in list(h5g.open(root, raw)))
    )
