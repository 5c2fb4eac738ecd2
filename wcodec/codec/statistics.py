"""One pass over all tensors before coding: statistics for planning, and the detection of equal tensors."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.codec.magnitude_pruning import BLOCK, iterate_blocks, magnitude_of_rank
from wcodec.codec.parallel import map_tensors
from wcodec.codec.tensor_header import NO_POSITIONS
from wcodec.container.dtypes import Float32, to_float32
from wcodec.kernels import statistics as kernel
from wcodec.model import FLOATS, AnyArray, Tensor
from wcodec.model.dataclass import dataclass, replace

_TALL, _FEW = 16.0, 4096
_OUTLIER = 4096.0
_LARGEST = float(np.finfo(np.float32).max)
_LARGEST_OF = {"float16": 65504.0}
LEAST_NORMAL: Final = 2.0**-126
"""A tensor whose weights are all below this is denormal in float32, too imprecise for steps."""


@dataclass(frozen=True)
class TensorStatistics:
    """Statistics of a tensor's regular weights: those that are finite and within `limit`.

    energy:    sum of squares.
    low, high: extremes.
    regular:   their number.
    zeros:     the number of zeros among them.
    """

    in_range: int
    energy: float
    low: float
    high: float
    limit: float
    zeros: int = 0

    @property
    def rms(self) -> float:
        """Root mean square."""
        return (self.energy / self.in_range) ** 0.5 if self.in_range else 0.0


def is_weight(tensor: Tensor) -> bool:
    """Whether the tensor counts for errors and targets: float values of two or more dimensions."""
    return tensor.dtype in FLOATS and len(tensor.shape) >= 2 and tensor.count > 0


def measure_tensor(tensor: Tensor, values: AnyArray) -> TensorStatistics:
    """The statistics of the regular weights among the tensor's values.

    A few magnitudes over 4096 times the median of the non-zero ones would cost all others their precision. They are not
    regular, unless there are so many that they belong to the distribution.
    """
    weights = np.ascontiguousarray(to_float32(values, tensor.dtype)).reshape(-1)
    # Rounding may increase a magnitude: half of the largest number leaves room for it.
    highest = _LARGEST_OF.get(tensor.dtype, _LARGEST) / 2
    result, zeros = _measure(weights, highest), int(kernel.count_within(weights, 0.0))
    top = max(-result.low, result.high)
    # A single outlier is at most sqrt(n) times the rms: in small tensors only the median detects it.
    if result.rms and (top > _TALL * result.rms or result.in_range < _FEW):
        # If more than half exceed top / 4096, so does their median: most tensors need no search for it.
        half = (weights.size - zeros + 1) // 2
        if result.in_range == weights.size and weights.size - kernel.count_within(weights, top / _OUTLIER) >= half:
            return replace(result, zeros=zeros)
        finite = kernel.count_within(weights, highest)
        median = magnitude_of_rank(weights, zeros + (finite - zeros) // 2)
        bound = min(_OUTLIER * median, result.limit)
        if finite - kernel.count_within(weights, bound) <= max(1, finite // 1024):
            result = _measure(weights, bound)
    return replace(result, zeros=zeros)


def find_outliers(weights: Float32, limit: float) -> npt.NDArray[np.int64]:
    """Positions, in C order, of the weights that are not finite or larger in magnitude than `limit`."""
    flat = weights.reshape(-1)
    if kernel.count_within(flat, limit) == flat.size:
        return NO_POSITIONS
    found = [np.flatnonzero(~(np.abs(block) <= limit)) for block in iterate_blocks(flat)]
    return np.concatenate([number * BLOCK + positions for number, positions in enumerate(found)])


def sum_of_squares(weights: Float32) -> float:
    """The sum of the squares of the finite weights."""
    return _measure(np.ascontiguousarray(weights).reshape(-1), _LARGEST).energy


def _measure(weights: Float32, limit: float) -> TensorStatistics:
    found = np.empty(4)
    kernel.describe(weights, limit, found)
    regular, low, high, energy = found.tolist()
    return TensorStatistics(int(regular), energy, low, high, limit)


_PIECES, _PIECE = 128, 512


@dataclass(frozen=True)
class TensorScan:
    """A tensor's statistics (None if it must stay exact) and a fingerprint of its bytes, from one pass."""

    statistics: TensorStatistics | None
    fingerprint: bytes


def scan_tensor(tensor: Tensor) -> TensorScan:
    """Read the tensor once. The fingerprint of a large tensor is of evenly spread pieces."""
    values = tensor.read()
    lossy = tensor.dtype in FLOATS and not tensor.exact
    found = measure_tensor(tensor, values) if lossy else None
    if found and tensor.dtype == "float64" and _underflows(values, found):
        found = None
    return TensorScan(found, _compute_digest(values, sampled=True))


def _underflows(values: AnyArray, found: TensorStatistics) -> bool:
    """Whether float32 has only zeros or denormal numbers for the regular weights of a float64 tensor."""
    if max(-found.low, found.high) >= LEAST_NORMAL:
        return False
    return bool(np.any((values != 0) & (np.abs(values) < LEAST_NORMAL)))


def scan_tensors(tensors: Iterable[Tensor], threads: int) -> list[TensorScan]:
    """The scan of each tensor; if fingerprints of samples agree, all bytes are hashed."""
    every = list(tensors)
    looks = list(map_tensors(lambda i, _: scan_tensor(every[i]), every, threads, kept=0))
    keys = [(tensor.dtype, tensor.shape, found.fingerprint) for tensor, found in zip(every, looks, strict=True)]
    times = Counter(keys)
    return [
        replace(found, fingerprint=_compute_digest(tensor.read(), sampled=False)) if times[key] > 1 else found
        for tensor, found, key in zip(every, looks, keys, strict=True)
    ]


def _compute_digest(values: AnyArray, sampled: bool) -> bytes:
    raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    if sampled and raw.size > 2 * _PIECES * _PIECE:
        every = raw.size // _PIECES
        raw = np.ascontiguousarray(raw[: every * _PIECES].reshape(_PIECES, every)[:, :_PIECE])
    return hashlib.blake2b(raw.data, digest_size=16, usedforsecurity=False).digest()
