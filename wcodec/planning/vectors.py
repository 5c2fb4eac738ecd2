"""The precision of vectors, by their role in the network (`model.Role`).

The harm of an error of an added vector depends on the spread of the values that it is added to: for the mean of a
normalisation the root of its variance, for a bias the norm of its kernel's weights, which is the standard deviation of
the outputs for inputs of variance 1. A bias that is far larger belongs to inputs far from zero; then the kernel must be
exact too.
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
from wcodec.model.dataclass import dataclass

Measure = Callable[[npt.NDArray[np.float64]], np.floating]

EXACT_BITS: Final = 20
"""A vector that needs this many mantissa bits or more is kept exactly."""
NEAR: Final = 2.0
"""The bits of the preset are enough if the largest entry of a shift, divided by the spread, is at most this."""
NEAR_BIAS, FAR_BIAS = 4.0, 64.0
"""The rms of a bias, divided by the spread of its kernel's outputs: up to the first the kernel has the preset's step,
from the second on it is exact."""
VARIANCE_FLOOR: Final = 1e-5
"""Added to variances, as in normalisation layers."""


@dataclass(frozen=True)
class Vectors:
    """The vectors of a model, with the tensors that determine their spread.

    statistics: of each tensor, None if it is exact.
    """

    tensors: dict[str, Tensor]
    statistics: dict[str, TensorStatistics | None]

    def mantissa_bits(self, tensor: Tensor, enough: int) -> int:
        """Mantissa bits of a vector, `enough` if it is small relative to the spread; EXACT_BITS or more: exact."""
        if isinstance(tensor.role, Gain) or (isinstance(tensor.role, Shift) and enough >= EXACT_BITS):
            return enough
        if not isinstance(tensor.role, Shift) or tensor.role.beside not in self.tensors:
            return EXACT_BITS
        distance = self._measure_distance(tensor, tensor.role, np.max)
        if not math.isfinite(distance):
            return EXACT_BITS
        return enough + max(0, math.ceil(math.log2(max(distance, 1.0) / NEAR)))

    def step_factors(self) -> dict[str, float]:
        """By the name of a kernel with a large bias: the factor on its step; 0: it must be exact."""
        factors: dict[str, float] = {}
        for tensor in self.tensors.values():
            if isinstance(tensor.role, Shift) and tensor.role.spread == "norm" and tensor.role.beside in self.tensors:
                distance = self._measure_distance(tensor, tensor.role, _compute_rms)
                if distance > NEAR_BIAS:
                    factors[tensor.role.beside] = NEAR_BIAS / distance if distance < FAR_BIAS else 0.0
        return factors

    def _measure_distance(self, tensor: Tensor, role: Shift, measure: Measure) -> float:
        """The measure of the vector's magnitudes divided by the spread; infinite if the spread is unknown."""
        other, found = self.tensors[role.beside], self.statistics[role.beside]
        if not tensor.count or not other.count:
            return math.inf if tensor.count else 0.0
        values = np.abs(_read_values(tensor))
        if role.spread == "norm":
            if found is None:
                return math.inf
            spread = np.float64(found.rms * math.sqrt(other.count / tensor.count))
        elif role.spread == "root":
            variances = _read_values(other)
            if variances.shape != values.shape or variances.min() < 0:
                return math.inf
            return float(measure(values / np.sqrt(variances + VARIANCE_FLOOR)))
        else:
            spread = _compute_rms(_read_values(other))
        size = float(measure(values))
        return size / float(spread) if spread > 0 else math.inf if size else 0.0


def _read_values(tensor: Tensor) -> npt.NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # from signalling NaNs
        return to_float32(tensor.read(), tensor.dtype).astype(np.float64).reshape(-1)


def _compute_rms(values: npt.NDArray[np.float64]) -> np.float64:
    return np.float64(np.sqrt(np.mean(np.square(values))))
