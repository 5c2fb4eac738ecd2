"""The side information of the static coder: scales and tables (`formats/wcz.md`, section static levels)."""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.kernels.static import tables as kernel
from wcodec.kernels.static.tables import MAX_CLASSES
from wcodec.model.dataclass import dataclass

__all__ = ["MAX_CLASSES", "MAX_CODE", "Scales", "Tables"]

MAX_CODE: Final = 255
"""The largest code of a row, a channel or a tap."""

Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Scales:
    """Logarithms of expected magnitudes. The scale of a level is the sum of those of its row, channel and tap.

    rows, channels, taps: uint8, one each; `taps` is zero if there is one tap.
    """

    rows: Codes
    channels: Codes
    taps: Codes

    @cached_property
    def columns(self) -> npt.NDArray[np.uint16]:
        """uint16[channels * taps]: the sums for channel and tap."""
        return (self.channels[:, None].astype(np.uint16) + self.taps[None]).reshape(-1)

    @property
    def largest(self) -> int:
        return int(self.rows.max()) + int(self.columns.max())


@dataclass(frozen=True)
class Tables:
    """Distributions of magnitudes, one for each class and quantiser (two quantisers if there is a trellis).

    A scale has the class clip(scale - first, 0, classes - 1). Table `class * quantisers + odd` has groups[table] groups
    of magnitudes with one hazard each; `hazards` are those of all tables, one after the other.
    """

    classes: int
    first: int
    groups: Codes
    hazards: Codes

    @property
    def quantisers(self) -> int:
        return len(self.groups) // self.classes

    def class_of_scale(self, count: int) -> Codes:
        """uint8[count]: the classes of scales 0, 1, ..."""
        return np.clip(np.arange(count) - self.first, 0, self.classes - 1).astype(np.uint8)

    @cached_property
    def frequencies(self) -> npt.NDArray[np.uint16]:
        """uint16[tables, 256]: the slots, of 4096, of every symbol."""
        frequencies = np.empty((len(self.groups), 256), np.uint16)
        kernel.fill_frequencies(self.groups, self.hazards, frequencies)
        return frequencies

    @cached_property
    def lookups(self) -> npt.NDArray[np.uint32]:
        """uint32[1280 * tables]: the kernel's look-up tables of symbols and frequencies."""
        lookups = np.empty(1280 * len(self.groups), np.uint32)
        kernel.fill_lookups(self.frequencies, lookups)
        return lookups
