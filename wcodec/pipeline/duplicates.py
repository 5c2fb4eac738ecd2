"""Duplicate extents of a file, found with little reading; and how long decoded values are kept for duplicates."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.container.records import Container

if TYPE_CHECKING:
    from wcodec.modelfiles.extents import Extent

PROBE = 1 << 12
"""Bytes at the beginning and at the end that are compared before all others."""
BLOCK = 1 << 20
KEPT = 1 << 28
"""The most bytes of decoded values that are kept for their duplicates."""


def find_duplicates(source: Path, extents: Sequence[Extent]) -> dict[int, int]:
    """By number of an extent: the number of the first one with the same type, shape and bytes."""
    with source.open("rb") as file:

        def digest(*ranges: tuple[int, int]) -> bytes:
            import hashlib

            hasher = hashlib.blake2b(digest_size=16, usedforsecurity=False)
            for begin, end in ranges:
                file.seek(begin)
                for at in range(begin, end, BLOCK):
                    hasher.update(file.read(min(BLOCK, end - at)))
            return hasher.digest()

        keys: tuple[Callable[[Extent], Hashable], ...] = (
            lambda one: (one.facts.dtype, one.facts.shape, one.flags),
            lambda one: digest(
                (one.begin, min(one.end, one.begin + PROBE)), (max(one.begin, one.end - PROBE), one.end)
            ),
            lambda one: digest((one.begin, one.end)),
        )
        groups = [[number for number, extent in enumerate(extents) if extent.facts.count]]
        for key in keys:
            groups = [same for group in groups for same in _split(group, extents, key)]
    return {number: same[0] for same in groups for number in same[1:]}


def _split(numbers: Sequence[int], extents: Sequence[Extent], key: Callable[[Extent], Hashable]) -> Iterator[list[int]]:
    """The groups of several numbers with the same key."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for number in numbers:
        groups[key(extents[number])].append(number)
    return (group for group in groups.values() if len(group) > 1)


def last_uses(container: Container) -> dict[int, int]:
    """By number of a tensor: the last tensor that duplicates it.

    If more than `KEPT` bytes would have to be kept at once, some tensors are left out, and their duplicates are decoded
    again.
    """
    last = {
        record.duplicate_of: number
        for number, record in enumerate(container.records)
        if record.duplicate_of is not None
    }
    kept: list[tuple[int, int]] = []
    held = 0
    for first in sorted(last):
        while kept and kept[0][0] < first:
            held -= heapq.heappop(kept)[1]
        nbytes = container.tensors[first].nbytes
        if held + nbytes > KEPT:
            del last[first]
            continue
        heapq.heappush(kept, (last[first], nbytes))
        held += nbytes
    return last
