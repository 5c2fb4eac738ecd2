"""All datasets of an HDF5 file of any content, in linear time."""

from __future__ import annotations

from collections.abc import Iterator

from wcodec.modelfiles.hdf5.library import h5, h5d, h5g, h5l, h5o
from wcodec.modelfiles.hdf5.reader import HDF5_ERRORS
from wcodec.modelfiles.hdf5.tree import MAX_DEPTH


def walk_datasets(root: h5g.GroupID) -> Iterator[tuple[str, h5d.DatasetID]]:
    """Every dataset below `root` once, with the first of its paths in the order of names, depth first.

    Soft and external links, and groups nested deeper than MAX_DEPTH, are skipped. Raises: any error of h5py.
    """
    seen = {h5o.get_info(root).addr}
    waiting = [(root, "", _list_names(root))]
    while waiting:
        group, path, names = waiting[-1]
        raw = next(names, None)
        if raw is None:
            waiting.pop()
            continue
        if group.links.get_info(raw).type != h5l.TYPE_HARD:
            continue
        try:
            thing = h5o.open(group, raw)
        except HDF5_ERRORS:  # damaged: its bytes belong to the remainder
            continue
        address = h5o.get_info(thing).addr
        if address in seen:
            continue
        seen.add(address)
        name = path + raw.decode(errors="surrogateescape")
        if isinstance(thing, h5d.DatasetID):
            yield name, thing
        elif isinstance(thing, h5g.GroupID) and len(waiting) <= MAX_DEPTH:
            waiting.append((thing, f"{name}/", _list_names(thing)))


def _list_names(group: h5g.GroupID) -> Iterator[bytes]:
    names: list[bytes] = []
    group.links.iterate(names.append, idx_type=h5.INDEX_NAME)
    return iter(names)
