"""The size of the file during a search, estimated from the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from wcodec.model import TunedTensor

Measure = Callable[[Mapping[str, TunedTensor]], int]
"""measure(weights by tensor name) is the size of their file in bytes."""
NEAR: Final = 0.08
"""An estimate that differs from a measured one by less than this fraction is scaled from it."""


@dataclass
class FileSize:
    """Estimates the bytes of the file from the estimated bytes of its weights: by encoding, or by scaling an earlier
    measurement.

    rest:      bytes of the file besides the weights: skeleton, header, index, tensors that are not rounded.
    measure:   encodes and measures; None: only estimates are given.
    estimated: estimated bytes of the weights that were encoded last; 0 before the first.
    measured:  bytes of their file; 0 before the first.
    """

    rest: int = 0
    measure: Measure | None = None
    estimated: int = 0
    measured: int = 0

    def of(self, estimated: int, tuned: Callable[[], Mapping[str, TunedTensor]], near: float = NEAR) -> int:
        """Bytes of the file with these weights. near: see `NEAR`; 0.0: always measure."""
        if self.measure and (not self.measured or abs(estimated - self.estimated) > near * self.estimated or not near):
            self.measured, self.estimated = self.measure(tuned()), estimated
        return self.like(estimated)

    def like(self, estimated: int) -> int:
        """The same without encoding: the ratio of real to estimated bytes is that of the last measurement."""
        if not self.estimated:
            return self.rest + estimated
        return self.rest + round((self.measured - self.rest) * estimated / self.estimated)
