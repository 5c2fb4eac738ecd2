"""Families: a tree over similar files, in which each file is coded against its parent."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from wcodec.container.dtypes import Float64, to_float32
from wcodec.errors import ModelFileError
from wcodec.model import FLOATS
from wcodec.modelfiles.extent_finder import find_extents
from wcodec.modelfiles.extents import Extent, read_part

SAMPLED: Final = 1024
"""The number of values of each tensor that are compared."""
BLOCK: Final = 256
DEEPEST: Final = 8
"""The largest number of bases in a chain; decoding a file decodes all of them."""
GAIN: Final = 1.0
"""The smallest estimated saving of a base in bits a weight; smaller estimates may be wrong."""
STARTS: Final = 32
"""The number of files from which trees are grown (those that resemble most others); the best tree is used."""
SAME: Final = 2.0**-60
"""The difference of equal tensors, relative to their energy."""

Shapes = tuple[tuple[str, str, tuple[int, ...]], ...]


def find_parents(paths: Sequence[Path], depths: Mapping[int, int]) -> list[int | None]:
    """For each file the number of its parent, against which it is coded; None: it is coded by itself.

    Files are compared if they are in one folder and have the same tensors by name, type and shape. A base saves 1/2
    log2(E / D) bits a weight, where E is the energy of a tensor and D that of the difference, both of samples. The
    parents form the minimum spanning tree (Prim 1957), with at most DEEPEST bases in a chain.

    depths: of the files that are coded already, by number: the length of the chain below them. They get no parent.
    """
    groups: dict[tuple[Path, Shapes], list[int]] = defaultdict(list)
    samples: list[list[tuple[int, Float64]]] = []
    for number, path in enumerate(paths):
        shapes, sample = _sample_tensors(path)
        samples.append(sample)
        if sample:
            groups[path.parent, shapes].append(number)
    parents: list[int | None] = [None] * len(paths)
    for group in groups.values():
        if len(group) > 1:
            known = {at: depths[number] for at, number in enumerate(group) if number in depths}
            for at, parent in enumerate(
                _choose_parents(*_estimate_costs([samples[number] for number in group]), known)
            ):
                parents[group[at]] = None if parent is None else group[parent]
    return parents


def waves(parents: Sequence[int | None]) -> list[list[int]]:
    """The numbers of the files: those without a parent, then those whose parents these are, and so on."""
    depth: dict[int | None, int] = {None: -1}

    def deep(number: int | None) -> int:
        if number not in depth and number is not None:
            depth[number] = deep(parents[number]) + 1
        return depth[number]

    made: list[list[int]] = [[] for _ in range(max(map(deep, range(len(parents))), default=-1) + 1)]
    for number in range(len(parents)):
        made[deep(number)].append(number)
    return made


def _sample_tensors(path: Path) -> tuple[Shapes, list[tuple[int, Float64]]]:
    """The float tensors of a file, each with its number of weights and some of them; none if it is not a model."""
    try:
        extents = [one for one in find_extents(path).extents if one.facts.dtype in FLOATS and one.facts.count]
        shapes = tuple((one.facts.name, one.facts.dtype, one.facts.shape) for one in extents)
        return shapes, [(one.facts.count, _read_values(path, one)) for one in extents]
    except ModelFileError:
        return (), []


def _read_values(path: Path, extent: Extent) -> Float64:
    facts = extent.facts
    if facts.count <= SAMPLED:
        found = [read_part(path, extent, 0, facts.count)]
    else:
        starts = np.linspace(0, facts.count - BLOCK, SAMPLED // BLOCK).astype(int).tolist()
        found = [read_part(path, extent, start, BLOCK) for start in starts]
    values = to_float32(np.concatenate([one.reshape(-1) for one in found]), facts.dtype).astype(np.float64)
    return np.where(np.isfinite(values), values, 0.0)


def _estimate_costs(samples: Sequence[Sequence[tuple[int, Float64]]]) -> tuple[Float64, Float64, int]:
    """Bits alone [files] and against another file [files, its base], up to a constant; and the number of weights."""
    alone, against, weights = np.zeros(len(samples)), np.zeros((len(samples), len(samples))), 0
    for tensors in zip(*samples, strict=True):
        count, values = tensors[0][0], np.stack([one for _, one in tensors])
        products = values @ values.T
        energy = np.diag(products).copy()
        floor = np.maximum(energy * SAME, np.finfo(float).tiny)
        difference = np.maximum(energy[:, None] + energy[None, :] - 2 * products, floor[:, None])
        alone += 0.5 * count * np.log2(np.maximum(energy, np.finfo(float).tiny))
        own = np.maximum(energy, np.finfo(float).tiny)[:, None]
        against += 0.5 * count * np.log2(np.minimum(difference, own))
        weights += count
    return alone, against, weights


def _choose_parents(alone: Float64, against: Float64, weights: int, depths: Mapping[int, int]) -> list[int | None]:
    """The parent of each file, None for those without one: the best of several trees.

    The number of files in a chain is bounded, so the result depends on the file from which a tree is grown.
    """
    most = alone - GAIN * weights  # the largest cost with which a base is used
    if depths:
        return _grow(most, against, depths, 0)[1]
    alike = against.sum(0).argsort(kind="stable")[:STARTS].tolist()
    return min((_grow(most, against, depths, start) for start in alike), key=lambda tree: tree[0])[1]


def _grow(most: Float64, against: Float64, depths: Mapping[int, int], start: int) -> tuple[float, list[int | None]]:
    """Bits of all files, and their parents, of the tree grown from the given one; from `start` if it is empty."""
    cost, parents = most.copy(), np.full(len(most), -1)
    depth, left = np.zeros(len(most), np.int64), np.ones(len(most), np.bool_)

    def add(number: int) -> None:
        """Add a file to the tree, and make it the parent of every other file for which it is best."""
        left[number] = False
        if depth[number] < DEEPEST:
            better = left & (against[:, number] < cost)
            cost[better], parents[better] = against[better, number], number

    left[list(depths)] = False
    for number in depths:
        depth[number] = depths[number]
        add(number)
    nearest = start if not depths else -1
    while left.any():
        if nearest < 0:
            rank = np.where(left & (parents >= 0), cost, np.inf)
            nearest = int(rank.argmin())
            if math.isinf(rank[nearest]):
                # No other file resembles one in the tree: the file that resembles most others starts another tree.
                nearest = int(np.where(left, against[left].sum(0), np.inf).argmin())
        if parents[nearest] >= 0:
            depth[nearest] = depth[parents[nearest]] + 1
        add(nearest)
        nearest = -1
    return float(cost.sum()), [None if parent < 0 else int(parent) for parent in parents]
