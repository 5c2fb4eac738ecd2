"""Writing of a tree and its tensors to a new HDF5 file. Inverse: `reader`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import IO

import numpy as np

from wcodec.errors import CorruptError
from wcodec.model import AnyArray, TensorSpec
from wcodec.modelfiles.hdf5.library import h5a, h5d, h5f, h5fd, h5g, h5p, h5py, h5s, h5t
from wcodec.modelfiles.hdf5.skeleton import item_bytes
from wcodec.modelfiles.hdf5.tree import Attribute, Group, Link, Node, Slot, Stored, Values
from wcodec.modelfiles.hdf5.types import hdf5_type, memory_type

ATTRIBUTE_BYTES = 64_000
"""Larger attributes need the object headers of HDF5 1.8."""

SMALL = 1 << 20
"""Bytes of the largest write of HDF5's own metadata, which it may read again."""

Objects = list[bytes]
"""The path of each group and dataset, in preorder: the targets of links."""


class SteadyFile:
    """A file for HDF5, which crashes if a write fails. The first error is recorded, and later writes stay in memory.

    `check` raises that error; little more is written after it.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._number, self._at = file.fileno(), 0
        self._error: OSError | None = None
        self._later: dict[int, bytes] = {}

    def check(self) -> None:
        """Raises: OSError if the disk refused a write."""
        if self._error:
            raise self._error

    def seek(self, at: int, whence: int = os.SEEK_SET) -> int:
        """Set the position; HDF5 seeks to the end once."""
        self._at = at if whence == os.SEEK_SET else os.fstat(self._number).st_size + at
        return self._at

    def tell(self) -> int:
        """The current position."""
        return self._at

    def readinto(self, out: bytearray | memoryview) -> int:
        """Fill `out`; with zeros after the end of the file."""
        view = memoryview(out).cast("B")
        found = self._later.get(self._at) or os.pread(self._number, len(view), self._at)
        view[:] = found[: len(view)].ljust(len(view), b"\0")
        return len(view)

    def write(self, data: bytes | memoryview) -> int:
        """Write all of `data`."""
        left, at = memoryview(data).cast("B"), self._at
        try:
            while left and not self._error:
                count = os.pwrite(self._number, left, at)
                left, at = left[count:], at + count
        except OSError as error:
            self._error = error
        if self._error and len(data) <= SMALL:
            self._later[self._at] = bytes(data)
        return len(data)

    def truncate(self, size: int) -> int:
        """Set the length of the file."""
        try:
            if not self._error:
                os.ftruncate(self._number, size)
        except OSError as error:
            self._error = error
        return size

    def flush(self) -> None:
        """Do nothing: no bytes are buffered."""


def write(target: IO[bytes], tree: Group, tensors: Sequence[TensorSpec], values: Iterator[AnyArray]) -> None:
    """Write a new file at `target`, with one tensor in memory at a time; datasets become contiguous.

    Raises: CorruptError if tree, tensors and values contradict each other; OSError if the disk refuses a write.
    """
    facts, steady = iter(tensors), SteadyFile(target)

    def take() -> AnyArray:
        steady.check()
        expected = next(facts)
        tensor = next(values, None)
        if tensor is None or tensor.shape != expected.shape:
            got = "nothing" if tensor is None else tensor.shape
            raise CorruptError(f"{expected.name}: expected values of shape {expected.shape}, got {got}")
        return tensor

    try:
        with _create_file(steady, tree) as file:
            root = h5g.open(file.id, b"/")
            _write_attributes(root, tree.attributes)
            _write_children(root, tree, b"/", take, [b"/"])
        steady.check()
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise CorruptError(f"skeleton: HDF5 cannot hold it: {error}") from error


def _create_file(target: SteadyFile, tree: Group) -> h5py.File:
    """A new file. `h5py.File(target, "w")` would stamp a root with ordered links with the time."""
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_libver_bounds(h5f.LIBVER_V18 if _has_large(tree) else h5f.LIBVER_EARLIEST, h5f.LIBVER_LATEST)
    access.set_fileobj_driver(h5fd.fileobj_driver, target)
    creation = _set_creation_properties(h5p.create(h5p.FILE_CREATE), tree)
    return h5py.File(h5f.create(b"weights", h5f.ACC_TRUNC, fcpl=creation, fapl=access))


def _write_children(
    parent: h5g.GroupID, group: Group, path: bytes, take: Callable[[], AnyArray], objects: Objects
) -> None:
    for child in group.children:
        name = child.name.encode()
        whole = path + name
        if isinstance(child, Link):
            parent.links.create_hard(name, parent, objects[child.target])
            continue
        objects.append(whole)
        if isinstance(child, Group):
            properties = _set_creation_properties(h5p.create(h5p.GROUP_CREATE), child)
            made = h5g.create(parent, name, lcpl=_link_properties(name), gcpl=properties)
            _write_attributes(made, child.attributes)
            _write_children(made, child, whole + b"/", take, objects)
        elif isinstance(child, Slot):
            _write_tensor(parent, child, take())
        else:
            properties = _set_creation_properties(h5p.create(h5p.DATASET_CREATE), child)
            on_disk, space = hdf5_type(child.values.type), _make_space(child.values.shape)
            dataset = h5d.create(parent, name, on_disk, space, properties, _link_properties(name))
            if (array := _arrange_values(child.values)) is not None:
                dataset.write(h5s.ALL, h5s.ALL, array, mtype=memory_type(child.values.type)[1])
            _write_attributes(dataset, child.attributes)


def _write_tensor(parent: h5g.GroupID, slot: Slot, values: AnyArray) -> None:
    """Write the bytes as they are on disk, so that HDF5 converts nothing."""
    name, size = slot.name.encode(), item_bytes(slot.type)
    if values.dtype.itemsize != size:
        raise CorruptError(f"{slot.name}: expected values of {size} bytes each, got {values.dtype}")
    properties = _set_creation_properties(h5p.create(h5p.DATASET_CREATE), slot)
    dataset = h5d.create(
        parent, name, hdf5_type(slot.type), _make_space(values.shape), properties, _link_properties(name)
    )
    if values.size:
        stored = np.require(values.byteswap() if slot.type[0] == ">" else values, requirements="C")
        dataset.write(h5s.ALL, h5s.ALL, stored.view(f"V{size}"), mtype=hdf5_type(slot.type))
    _write_attributes(dataset, slot.attributes)


def _write_attributes(thing: h5g.GroupID | h5d.DatasetID, attributes: Sequence[Attribute]) -> None:
    for attribute in attributes:
        on_disk, space = hdf5_type(attribute.values.type), _make_space(attribute.values.shape)
        made = h5a.create(thing, attribute.name.encode(), on_disk, space)
        if (array := _arrange_values(attribute.values)) is not None:
            made.write(array, mtype=memory_type(attribute.values.type)[1])


def _arrange_values(values: Values) -> AnyArray | None:
    """The values as an array in the layout of the file; None if there is nothing to write."""
    if values.shape is None or 0 in values.shape:
        return None
    dtype, _ = memory_type(values.type)
    if item_bytes(values.type):
        return np.frombuffer(values.items[0], dtype).reshape(values.shape)
    array = np.empty(len(values.items), dtype)
    array[:] = values.items
    return array.reshape(values.shape)


def _make_space(shape: tuple[int, ...] | None) -> h5s.SpaceID:
    return h5s.create(h5s.NULL) if shape is None else h5s.create_simple(shape) if shape else h5s.create(h5s.SCALAR)


def _set_creation_properties(properties: h5p.PropOCID, node: Group | Slot | Stored) -> h5p.PropOCID:
    """Creation properties with the orders of the node and without a time stamp, for reproducible bytes."""
    properties.set_obj_track_times(False)
    if node.attributes_ordered:
        properties.set_attr_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)
    if isinstance(node, Group) and node.links_ordered:
        properties.set_link_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)
    return properties


def _link_properties(name: bytes) -> h5p.PropLCID:
    properties = h5p.create(h5p.LINK_CREATE)
    properties.set_char_encoding(h5t.CSET_ASCII if name.isascii() else h5t.CSET_UTF8)
    return properties


def _has_large(node: Node) -> bool:
    if isinstance(node, Link):
        return False
    large = any((sum(map(len, attribute.values.items)) > ATTRIBUTE_BYTES and item_bytes(attribute.values.type))
                or 16 * len(attribute.values.items) > ATTRIBUTE_BYTES for attribute in node.attributes)  # fmt: skip
    return large or (isinstance(node, Group) and any(map(_has_large, node.children)))
