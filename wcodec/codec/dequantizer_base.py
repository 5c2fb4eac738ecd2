"""Shared parts of all dequantizers: the type of levels, facts from the tensor's header, and the usual shape of
levels.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt

from wcodec.codec.layout import Shape3
from wcodec.codec.quantizers.states import States
from wcodec.model.dataclass import dataclass

Levels = npt.NDArray[np.int32]


@dataclass(frozen=True)
class TensorContext:
    """Facts from the tensor's header that a dequantizer needs.

    states: of the trellis.
    rows:   of the layout.
    taps:   of the kernels, or channels of a matrix: the size of a basis.
    width:  weights of a row.
    """

    states: States
    taps: int
    rows: int
    width: int


class OneLevelAWeight:
    """The usual case: each weight has one level, and all rows share the parameters."""

    def level_shape(self, shape: Shape3) -> Shape3:
        """The shape of the levels of weights[rows, channels, taps]."""
        return shape

    def for_rows(self, start: int, count: int) -> Self:
        """The dequantizer of the `count` rows from `start` on."""
        return self
