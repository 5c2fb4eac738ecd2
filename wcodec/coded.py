"""A tensor after coding, by itself or as its difference from a base: the smaller is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wcodec.container.write import Coded
from wcodec.versions import DIFFERENCE


@dataclass(frozen=True)
class EncodedTensor:
    """A tensor's bytes, with its squared error and energy (sums over its elements)."""

    coded: Coded
    squared_error: float = 0.0
    energy: float = 0.0


def smaller(own: EncodedTensor, less: EncodedTensor) -> EncodedTensor:
    """The difference from a base where it takes fewer bytes, its error told against the tensor's own energy."""
    if less.coded.error is None or sum(map(len, less.coded.sections)) >= sum(map(len, own.coded.sections)):
        return own
    error = less.squared_error / own.energy if own.energy else 0.0
    return EncodedTensor(replace(less.coded, error=error, way=DIFFERENCE), less.squared_error, own.energy)
