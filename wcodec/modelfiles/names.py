"""Tensors by name: the user names of the tensors in a container, and the tensor that a name or its end refers to."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence

from wcodec.container.records import Container
from wcodec.container.wire import REST
from wcodec.errors import ContainerError
from wcodec.model.dataclass import dataclass
from wcodec.modelfiles.hdf5 import skeleton
from wcodec.modelfiles.hdf5.layers import layers_of
from wcodec.modelfiles.hdf5.tree import Group, Slot, string_attribute
from wcodec.modelfiles.hdf5.user_names import user_names

SEPARATORS = ("/", ".")
MOST_NAMED = 4
"""The largest number of names in an error message."""


@dataclass(frozen=True)
class Label:
    """The user name of a tensor ("" if it equals the name in the file), and the name of its layer."""

    user_name: str = ""
    layer: str = ""


def labels_of(container: Container) -> tuple[Label, ...]:
    """The label of each tensor of a container, the same as `open_model` gives for the model file in it.

    If the skeleton cannot be read, tensors have their names in the file only; this is not an error.
    """
    try:
        tree, config = _read_tree(container)
    except (ContainerError, ValueError, LookupError, RecursionError, StopIteration):
        tree, config = None, None
    paths = [tensor.name for tensor in container.tensors]
    if tree is None:
        return tuple(Label(layer=path.rpartition("/")[0]) for path in paths)
    names = user_names(tree, config)
    layers = layers_of(tree, paths, string_attribute(tree, "model_config") or config)
    return tuple(Label(names.get(path, ""), layer) for path, layer in zip(paths, layers, strict=True))


def _read_tree(container: Container) -> tuple[Group | None, str | None]:
    """The HDF5 tree of a Keras file and the configuration in it; None for other kinds of files."""
    names, dtypes = [one.name for one in container.tensors], [one.dtype for one in container.tensors]
    if container.kind == "hdf5":
        return skeleton.parse(container.skeleton[1:], names, dtypes), None
    if container.kind == "keras":
        from wcodec.modelfiles import zip_members

        members = zip_members.parse(container.skeleton)
        content = {member.name: member.content for member in members}
        packed = next(member.content for member in members if member.kind == zip_members.TENSORS)
        return skeleton.parse(packed, names, dtypes), content.get("config.json", b"null").decode("utf-8", "replace")
    if container.kind == "file":
        return _read_tree_of_file(container)
    return None, None


def _read_tree_of_file(container: Container) -> tuple[Group | None, str | None]:
    """The tree of a file that is kept byte for byte: groups come from the paths, without attributes."""
    from wcodec.modelfiles import extents

    kind = extents.suffix(container.skeleton)
    paths = [tensor.name for tensor in container.tensors if tensor.name != REST]
    if kind == ".keras":
        rest = extents.parse(container.skeleton, container.tensors).remainder or b""
        return _build_tree(paths), _read_zip_member(rest, b"config.json")
    return (
        _build_tree(paths) if kind == ".h5" and all(path.startswith("model_weights/") for path in paths) else None
    ), None


def _build_tree(paths: Sequence[str]) -> Group:
    """A tree of groups with these datasets."""
    nested: dict[str, list[str]] = {}
    for path in paths:
        head, slash, rest = path.partition("/")
        nested.setdefault(head, []).extend([rest] if slash else [])
    return Group("", tuple(_build_node(name, below) for name, below in nested.items()))


def _build_node(name: str, below: Sequence[str]) -> Group | Slot:
    return Group(name, _build_tree(below).children) if below else Slot(name, "")


def _read_zip_member(archive: bytes, name: bytes) -> str | None:
    """A member of a zip archive of which parts may be missing, found by its own header."""
    at = archive.find(name) - 30
    if at < 0 or archive[at : at + 4] != b"PK\3\4":
        return None
    method, packed, extra = (*struct.unpack_from("<H8xI", archive, at + 8), *struct.unpack_from("<H", archive, at + 28))
    start = at + 30 + len(name) + extra
    content = archive[start : start + packed]
    try:
        return (zlib.decompress(content, -15) if method else content).decode("utf-8", "replace")
    except zlib.error:
        return None


def find_tensor(asked: str, names: Mapping[str, str]) -> str:
    """The one tensor that `asked` names: by its user name, its name in the file, or the end of either.

    names: user names by name in the file, which is returned; "" if both are equal.

    >>> find_tensor("dense/kernel", {"layers/dense_3/vars/0": "dense/kernel", "layers/dense/vars/0": "head/kernel"})
    'layers/dense_3/vars/0'

    Raises: KeyError with suggestions if there is none, or if there are several.
    """
    for found in _find_matches(asked, names):
        if len(found) == 1:
            return found[0]
        if found:
            several = ", ".join(names[one] or one for one in found[:MOST_NAMED])
            more = ", ..." if len(found) > MOST_NAMED else ""
            raise KeyError(f"expected one tensor {asked!r}, found {several}{more}")
    raise KeyError(f"expected a tensor {asked!r}, {suggest_names(asked, names)}")


def _find_matches(asked: str, names: Mapping[str, str]) -> Iterator[list[str]]:
    if not asked:  # the name of a tensor, but not the end of other names
        yield [asked] if asked in names else []
        return
    yield [name for name, user_name in names.items() if user_name == asked]
    yield [asked] if asked in names else []
    ends = tuple(separator + asked for separator in SEPARATORS)
    yield [name for name, user_name in names.items() if (user_name or name).endswith(ends)]
    yield [name for name in names if name.endswith(ends)]


def suggest_names(asked: str, names: Mapping[str, str]) -> str:
    """A text with similar names, or with all names."""
    from difflib import get_close_matches

    shown = [user_name or name for name, user_name in names.items()]
    if near := get_close_matches(asked, dict.fromkeys([*shown, *names]), MOST_NAMED, 0.5):
        return f"the nearest are {', '.join(near)}"
    return f"found {', '.join(shown[:MOST_NAMED]) or 'none'}" + (", ..." if len(shown) > MOST_NAMED else "")
