"""Histograms of a tensor before and after encoding, its distinct values, and a map of its non-zero weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.codec.layout import layout_families, to_rows
from wcodec.container.dtypes import Float32, to_float32
from wcodec.container.reader import is_container
from wcodec.model import FLOATS, AnyArray, TensorSpec
from wcodec.model.dataclass import dataclass
from wcodec.modelfiles import open_model
from wcodec.pipeline.decoder import open_container

Known = dict[str, tuple[TensorSpec, Callable[[], AnyArray]]]
MOST: Final = 8
"""The number of the largest tensors that are drawn."""
LARGEST: Final = 1 << 26
"""The largest number of weights of such a tensor."""
BINS: Final = 80
MOST_VALUES: Final = 256
HEIGHT, WIDTH = 128, 256
TAIL: Final = 5e-4
"""The fraction of the weights at either end that a histogram leaves out."""


@dataclass(frozen=True)
class WeightHistogram:
    """A tensor before and after encoding; counts are None if those weights are unknown.

    low, high:     ends of the histograms, of BINS equal bins.
    before, after: the number of weights in each bin.
    values:        distinct weights after encoding with their counts, ascending; empty if there are more than
                   MOST_VALUES.
    kept:          the fraction of non-zero weights.
    pattern:       uint8[height, width], the fraction of non-zero weights in a cell, 255 for all; rows in file order.
    """

    name: str
    shape: tuple[int, ...]
    low: float
    high: float
    before: tuple[int, ...] | None
    after: tuple[int, ...] | None
    values: tuple[tuple[float, int], ...]
    kept: float
    pattern: npt.NDArray[np.uint8]

    def to_json(self) -> dict[str, object]:
        """Numbers only."""
        return asdict(self) | {"pattern": self.pattern.tolist()}


def make_histograms(model: Path | None, coded: Path | None, base: Path | None = None) -> tuple[WeightHistogram, ...]:
    """Histograms of the largest tensors of a model file, of a .wcz, or of both.

    base: the base file of `coded`, if it has one.
    A tensor that is in one file only, or has another shape in the other, has one histogram.

    Raises: ModelFileError; ContainerError and its kinds.
    """
    with ExitStack() as stack:
        before: Known = {}
        after: Known = {}
        if model:
            opened = stack.enter_context(open_model(model, keep_optimizer=False))
            before = {one.name: (one, one.read) for one in opened.tensors}
        if coded:
            container = stack.enter_context(open_container(coded, base))
            for number, facts in enumerate(container.container.tensors):
                after[facts.name] = facts, partial(container.values, number)
        known = after or before
        drawn = sorted((facts for facts, _ in known.values() if _can_be_drawn(facts)), key=lambda one: -one.count)
        return tuple(_make_histogram(facts, _read(before, facts), _read(after, facts)) for facts in drawn[:MOST])


def make_file_histograms(source: Path) -> tuple[WeightHistogram, ...]:
    """Histograms of one file of either kind."""
    return make_histograms(None, source) if is_container(source) else make_histograms(source, None)


def _can_be_drawn(facts: TensorSpec) -> bool:
    return facts.dtype in FLOATS and len(facts.shape) >= 2 and 0 < facts.count <= LARGEST


def _read(tensors: Known, facts: TensorSpec) -> Float32 | None:
    if facts.name not in tensors or tensors[facts.name][0].shape != facts.shape:
        return None
    return to_float32(tensors[facts.name][1](), facts.dtype)


def _make_histogram(facts: TensorSpec, before: Float32 | None, after: Float32 | None) -> WeightHistogram:
    shown = before if before is not None else after
    last = after if after is not None else before
    assert shown is not None
    assert last is not None
    low, high = _find_range(shown)
    values, counts = np.unique(last[np.isfinite(last)], return_counts=True) if after is not None else ((), ())
    marks = () if len(values) > MOST_VALUES else tuple(zip(map(float, values), map(int, counts), strict=True))
    return WeightHistogram(
        facts.name,
        facts.shape,
        low,
        high,
        None if before is None else _count_weights(before, low, high),
        None if after is None else _count_weights(after, low, high),
        marks,
        float(np.count_nonzero(last) / last.size),
        _make_pattern(last),
    )


def _find_range(weights: Float32) -> tuple[float, float]:
    finite = np.sort(weights[np.isfinite(weights)].reshape(-1))
    if not finite.size:
        return -1.0, 1.0
    cut = int(TAIL * finite.size)
    low, high = float(finite[cut]), float(finite[-1 - cut])
    return (low, high) if low < high else (low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0))


def _count_weights(weights: Float32, low: float, high: float) -> tuple[int, ...]:
    finite = weights[np.isfinite(weights)].astype(np.float64)
    return tuple(int(count) for count in np.histogram(finite, BINS, (low, high))[0])


def _make_pattern(weights: Float32) -> npt.NDArray[np.uint8]:
    """A map of the non-zero weights, rows in file order; large tensors are averaged."""
    view = to_rows(weights != 0, layout_families(weights.shape)[0][0])
    flat: npt.NDArray[np.floating] = view.reshape(len(view), -1).astype(np.float64)
    for axis, most in ((0, HEIGHT), (1, WIDTH)):
        starts = _list_starts(flat.shape[axis], most)
        sizes = np.diff(np.append(starts, flat.shape[axis]))
        summed = np.add.reduceat(flat, starts, axis=axis)
        flat = summed / (sizes[:, None] if axis == 0 else sizes)
    pattern: npt.NDArray[np.uint8] = np.rint(255 * flat).astype(np.uint8)
    return pattern


def _list_starts(length: int, most: int) -> Sequence[int]:
    cells = min(length, most)
    return [length * i // cells for i in range(cells)]
