"""How exactly vectors are kept, judged by where they act (`model.Role`).

A vector that is added to something does harm by its error beside the spread of that: the mean of a normalisation beside
the root of its variance, a bias beside the norm of its kernel's weights, which is the spread of the outputs for inputs
of variance 1. A bias that is far larger belongs to inputs far from zero, and then the kernel must be exact too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.codec.statistics import TensorStatistics
from wcodec.container.dtypes import to_float32
from wcodec.model import Gain, Shift, Tensor
from wcodec.model.lazy import dataclass

Measure = Callable[[npt.NDArray[np.float64]], np.floating]

EXACT_BITS: Final = 20
"""Mantissa bits from which on a vector is kept as it is."""
NEAR: Final = 2.0
"""Largest entry of a shift, beside the spread, up to which the bits of the preset are enough."""
NEAR_BIAS, FAR_BIAS = 4.0, 64.0
"""Root mean square of a bias, beside the spread of its kernel's outputs, up to which the kernel's step is the preset's;
and from which on the kernel is exact."""
VARIANCE_FLOOR: Final = 1e-5
"""Added to variances, as normalisations do."""


@dataclass(frozen=True)
class Vectors:
    """The vectors of a model beside the tensors that tell their spread.

    statistics: of each tensor, None where it is exact.
    """

    tensors: dict[str, Tensor]
    statistics: dict[str, TensorStatistics | None]

    def mantissa_bits(self, tensor: Tensor, enough: int) -> int:
        """Mantissa bits of a vector, `enough` where it is near to what it is added to; EXACT_BITS or more: keep it."""
        if isinstance(tensor.role, Gain) or (isinstance(tensor.role, Shift) and enough >= EXACT_BITS):
            return enough
        if not isinstance(tensor.role, Shift) or tensor.role.beside not in self.tensors:
            return EXACT_BITS
        distance = self._distance(tensor, tensor.role, np.max)
        if not math.isfinite(distance):
            return EXACT_BITS
        return enough + max(0, math.ceil(math.log2(max(distance, 1.0) / NEAR)))

    def step_factors(self) -> dict[str, float]:
        """By the name of a kernel whose bias is far: what its step is multiplied by; 0: it must be exact."""
        factors: dict[str, float] = {}
        for tensor in self.tensors.values():
            if isinstance(tensor.role, Shift) and tensor.role.spread == "norm" and tensor.role.beside in self.tensors:
                distance = self._distance(tensor, tensor.role, _rms)
                if distance > NEAR_BIAS:
                    factors[tensor.role.beside] = NEAR_BIAS / distance if distance < FAR_BIAS else 0.0
        return factors

    def _distance(self, tensor: Tensor, role: Shift, measure: Measure) -> float:
        """The measure of the vector's magnitudes beside the spread; infinite where that is not known."""
        other, found = self.tensors[role.beside], self.statistics[role.beside]
        values = np.abs(_values(tensor))
        if role.spread == "norm":
            if found is None:
                return math.inf
            spread = np.float64(found.rms * math.sqrt(other.count / tensor.count))
        elif role.spread == "root":
            variances = _values(other)
            if variances.shape != values.shape or variances.min() < 0:
                return math.inf
            return float(measure(values / np.sqrt(variances + VARIANCE_FLOOR)))
        else:
            spread = _rms(_values(other))
        size = float(measure(values))
        return size / float(spread) if spread > 0 else math.inf if size else 0.0


def _values(tensor: Tensor) -> npt.NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # of NaNs that signal
        return to_float32(tensor.read(), tensor.dtype).astype(np.float64).reshape(-1)


def _rms(values: npt.NDArray[np.float64]) -> np.float64:
    return np.float64(np.sqrt(np.mean(np.square(values))))
