"""The bytes of the file that weights make, told while a search goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from wcodec.model import TunedTensor

Measure = Callable[[Mapping[str, TunedTensor]], int]
"""Bytes of the file that weights make, by tensor name."""
NEAR: Final = 0.08
"""Part by which an estimate may differ from one that was measured to be told from that."""


@dataclass
class FileSize:
    """From estimated bytes of weights to bytes of the file: measured by encoding, or told from a like one measured.

    rest:      bytes of the file beside the weights: skeleton, header, index, tensors that are not rounded.
    measure:   None: estimates and the rest are all that is told.
    estimated, measured: bytes of the last weights that were encoded, and of their file; 0 before the first.
    """

    rest: int = 0
    measure: Measure | None = None
    estimated: int = 0
    measured: int = 0

    def of(self, estimated: int, tuned: Callable[[], Mapping[str, TunedTensor]], near: float = NEAR) -> int:
        """Bytes of the file with these weights. near: see `NEAR`; 0.0: measure in any case."""
        if self.measure and (not self.measured or abs(estimated - self.estimated) > near * self.estimated or not near):
            self.measured, self.estimated = self.measure(tuned()), estimated
        return self.like(estimated)

    def like(self, estimated: int) -> int:
        """The same without encoding: the weights take as many bytes for an estimated one as those last measured."""
        if not self.estimated:
            return self.rest + estimated
        return self.rest + round((self.measured - self.rest) * estimated / self.estimated)
