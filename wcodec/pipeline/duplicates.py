"""Extents of a file that hold the same bytes, found without reading more of it than is likely to pay."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path

from wcodec.modelfiles.extents import Extent

PROBE = 1 << 12
"""Bytes at the beginning and the end that must agree before all are compared."""
BLOCK = 1 << 20


def find_duplicates(source: Path, extents: Sequence[Extent]) -> dict[int, int]:
    """By number of an extent: the number of the first one with the same type, shape and bytes."""
    with source.open("rb") as file:

        def digest(*ranges: tuple[int, int]) -> bytes:
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
