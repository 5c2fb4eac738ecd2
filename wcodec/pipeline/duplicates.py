"""Which ranges of a file hold the same bytes, without reading more of it than is likely to pay."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from wcodec.modelfiles.extents import Extent

PROBE = 1 << 12
"""Bytes at the beginning and the end that must agree before all are compared."""
BLOCK = 1 << 20


def find_duplicates(source: Path, extents: Sequence[Extent]) -> dict[int, int]:
    """By number of an extent: the number of the first one with the same type, shape and bytes."""
    alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for number, extent in enumerate(extents):
        if extent.facts.count:
            alike[extent.facts.dtype, extent.facts.shape, extent.flags].append(number)
    with source.open("rb") as file:

        def digest(extent: Extent, probe: bool) -> bytes:
            sha = hashlib.blake2b(digest_size=16, usedforsecurity=False)
            if probe:
                for at in (extent.begin, max(extent.begin, extent.end - PROBE)):
                    file.seek(at)
                    sha.update(file.read(min(PROBE, extent.end - at)))
                return sha.digest()
            file.seek(extent.begin)
            for at in range(extent.begin, extent.end, BLOCK):
                sha.update(file.read(min(BLOCK, extent.end - at)))
            return sha.digest()

        found: dict[int, int] = {}
        for group in alike.values():
            for probed in _groups(group, lambda number: digest(extents[number], True)):
                for same in _groups(probed, lambda number: digest(extents[number], False)):
                    found |= dict.fromkeys(same[1:], same[0])
        return found


def _groups(numbers: Sequence[int], key: Callable[[int], bytes]) -> list[list[int]]:
    """Those of the same key, where there are several."""
    if len(numbers) < 2:
        return []
    groups: dict[bytes, list[int]] = defaultdict(list)
    for number in numbers:
        groups[key(number)].append(number)
    return [group for group in groups.values() if len(group) > 1]
