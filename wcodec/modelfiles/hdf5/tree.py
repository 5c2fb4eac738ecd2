"""The objects of an HDF5 file without the values of its tensors, as a skeleton contains them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wcodec.model import AnyArray, TensorSpec
from wcodec.model.dataclass import dataclass

MAX_DEPTH = 64
"""Groups nested deeper than this are refused, in files and in skeletons."""


@dataclass(frozen=True)
class Values:
    """An array that is not a tensor: the value of an attribute or of a dataset of strings.

    type:  the text of its element type, see `types`.
    shape: None for HDF5's null dataspace, () for a scalar.
    items: one string for each element if the type is a variable-length string; otherwise one item with all raw bytes.
    """

    type: str
    shape: tuple[int, ...] | None
    items: tuple[bytes, ...]


@dataclass(frozen=True)
class Attribute:
    """An attribute of a group or dataset, with its exact type."""

    name: str
    values: Values


@dataclass(frozen=True)
class Slot:
    """A dataset that is a tensor. Its number is its position among all slots of the tree, in preorder."""

    name: str
    type: str
    attributes: tuple[Attribute, ...] = ()
    attributes_ordered: bool = False


@dataclass(frozen=True)
class Stored:
    """A dataset of strings, which is stored in the skeleton."""

    name: str
    values: Values
    attributes: tuple[Attribute, ...] = ()
    attributes_ordered: bool = False


@dataclass(frozen=True)
class Link:
    """A further name of an object. `target` numbers groups and datasets in preorder; the root is 0."""

    name: str
    target: int


@dataclass(frozen=True)
class Group:
    """A group; the root's name is "". Children are in creation order if `links_ordered`, otherwise in any order."""

    name: str
    children: tuple[Group | Slot | Stored | Link, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    links_ordered: bool = False
    attributes_ordered: bool = False


Node = Group | Slot | Stored | Link


@dataclass(frozen=True)
class Found:
    """A tensor of a file; `read` returns its values, little-endian `AnyArray[shape]`."""

    facts: TensorSpec
    read: Callable[[], AnyArray]


def slot_paths(group: Group, path: str = "") -> Iterator[str]:
    """The paths of all slots below, relative to `group`, in preorder."""
    for child in group.children:
        if isinstance(child, Group):
            yield from slot_paths(child, f"{path}{child.name}/")
        elif isinstance(child, Slot):
            yield path + child.name


def string_attribute(node: Group | Slot | Stored, name: str) -> str | None:
    """The text of a scalar string attribute; None if there is none."""
    for attribute in node.attributes:
        if attribute.name == name and attribute.values.shape == () and attribute.values.type.startswith("s"):
            return attribute.values.items[0].rstrip(b"\0").decode("utf-8", "replace")
    return None
