"""Groups of weights that share a scale: a whole kernel, the weights of an output, or buckets of an output's weights
(Polino, Pascanu and Alistarh 2018), as the group dequantizer of `formats/wcz.md` has them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from wcodec.codec.layout import VECTOR, from_rows, view_shape
from wcodec.codec.quantization import outputs_as_rows
from wcodec.container.dtypes import round_step
from wcodec.training.flat_adam import Float32

Range = Literal["symmetric", "asymmetric"]
SHARES: Final = np.linspace(0.2, 1.0, 33)
"""Fractions of the largest magnitude that are tried as the end of the range."""


@dataclass(frozen=True, eq=False)
class WeightGroups:
    """The group of each weight. size: weights in a group; places: int32[kernel shape], the index of the group."""

    shape: tuple[int, ...]
    rows: int
    size: int
    places: npt.NDArray[np.int32]

    @property
    def count(self) -> int:
        """The number of groups."""
        return int(self.places.max(initial=0)) + 1

    @property
    def is_whole(self) -> bool:
        """Whether the kernel is one group."""
        return self.rows == 0

    def split(self, values: Float32) -> list[Float32]:
        """The weights of each group."""
        order = np.argsort(self.places.reshape(-1), kind="stable")
        return np.split(values.reshape(-1)[order], np.cumsum(np.bincount(self.places.reshape(-1)))[:-1])

    def by_rows(self, steps: Float32) -> Float32:
        """The steps as float32[outputs, groups of an output], from one step for each weight."""
        return steps.reshape(self.rows, -1)


def make_groups(shape: tuple[int, ...], size: int | None, per_channel: bool) -> WeightGroups:
    """Groups of `size` weights of an output; with `per_channel` all weights of an output; otherwise all weights."""
    layout = outputs_as_rows(shape, "last")
    if layout == VECTOR or not (size or per_channel):
        return WeightGroups(shape, 0, int(np.prod(shape)), np.zeros(shape, np.int32))
    rows, channels, taps = view_shape(shape, layout)
    width = channels * taps
    size = min(size or width, width)
    every = np.arange(rows)[:, None] * -(-width // size) + np.arange(width)[None] // size
    places = from_rows(every.reshape(rows, channels, taps).astype(np.int32), shape, layout)
    return WeightGroups(shape, rows, size, places)


def integer_range(bits: int, how: Range, values: Float32, step: float) -> tuple[int, int]:
    """The lowest and the highest integer: 2^bits in all, 0 among them.

    symmetric:  -2^(bits - 1) to 2^(bits - 1) - 1; with 8 bits or more without the lowest, as in inference runtimes.
    asymmetric: as far to both sides as the values need.
    """
    if how == "symmetric":
        return -(1 << bits - 1) + (bits >= 8), (1 << bits - 1) - 1
    most = (1 << bits) - 1
    lowest = int(np.clip(np.rint(values.min(initial=0.0) / step), -most, 0))
    return lowest, lowest + most


def fit_step(values: Float32, bits: int, how: Range) -> float:
    """The step with the least squared error, with the eight mantissa bits of a file; for zeros the smallest step."""
    values = values[values != 0]
    if not values.size:
        return float(np.finfo(np.float32).tiny)
    spread = float(np.abs(values).max()) if how == "symmetric" else float(max(values.max(), 0) - min(values.min(), 0))
    widest = spread / (((1 << bits - 1) - 1) if how == "symmetric" else (1 << bits) - 1)
    steps = [round_step(max(widest * share, float(np.finfo(np.float32).tiny))) for share in SHARES]
    return min(steps, key=_make_squared_error(values, bits, how))


def _make_squared_error(values: Float32, bits: int, how: Range) -> Callable[[float], float]:
    def error(step: float) -> float:
        low, high = integer_range(bits, how, values, step)
        return float(np.square(np.clip(np.rint(values / step), low, high) * step - values).sum())

    return error
