"""Product quantisation: blocks of weights share a codebook of vectors (Gong et al. 2014, Stock et al. 2020).

Vector k-means with a fixed order of every sum, so that a codebook is the same at any number of threads. With a rate,
clusters are chosen by squared distance + rate * bits (ECVQ: Chou, Lookabaugh and Gray 1989).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.codec.entropy import context
from wcodec.codec.layout import Shape3
from wcodec.container.dtypes import round_step
from wcodec.container.wire import put_varint, take_bytes, take_varint
from wcodec.errors import CorruptError
from wcodec.kernels import nearest as kernel
from wcodec.model.dataclass import dataclass, field

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Levels = npt.NDArray[np.int32]
Integers = npt.NDArray[np.int32]

MOST_VECTORS: Final = 1 << 16
MOST_BLOCK: Final = 1 << 10
SAMPLE: Final = 1 << 16
"""The number of vectors to which a codebook is fitted, evenly spread."""
ROUNDS: Final = 20
GRAIN: Final = 0.1
"""The step of a codebook's entries, divided by the rms of the quantisation error: 0.1 % more error, 7 bits an entry."""


@dataclass(frozen=True, eq=False)
class ProductCodebook:
    """Blocks of weights by code: code k stands for entries[k] * step, and entries[0] is 0.

    entries: int32[size, block].
    step:    a positive float32.
    prices:  float64[size], the cost of each code in squared weight; empty without prices. Never stored.
    """

    entries: Integers
    step: float
    prices: Doubles = field(default_factory=lambda: np.empty(0))

    @property
    def block(self) -> int:
        """The number of weights for a code."""
        return int(self.entries.shape[1])


def split_blocks(rows: Floats, block: int) -> Floats:
    """float32[rows, width] -> vectors float32[rows * ceil(width / block), block], with rows padded by 0.

    Inverse: `join_blocks`.
    """
    missing = -rows.shape[1] % block
    wide = np.pad(rows, ((0, 0), (0, missing))) if missing else rows
    return np.ascontiguousarray(wide, np.float32).reshape(-1, block)


def join_blocks(weights: npt.NDArray[np.floating], shape: Shape3) -> npt.NDArray[np.floating]:
    """Weights [rows, ...] as [rows, channels, taps], without the padding after the end of a row.

    Inverse: `split_blocks`.
    """
    if weights.shape == shape:
        return weights
    rows, channels, taps = shape
    return np.ascontiguousarray(weights.reshape(rows, -1)[:, : channels * taps]).reshape(shape)


def fit_vectors(vectors: Floats, size: int, rate: float, rounds: int = ROUNDS) -> ProductCodebook:
    """At most `size` shared vectors, 0 among them, for float32[n, block]; zero vectors get code 0.

    rate: the squared weight that one bit is worth.
    """
    alive = vectors[vectors.any(axis=1)]
    chosen = alive[np.arange(min(len(alive), SAMPLE)) * len(alive) // max(1, min(len(alive), SAMPLE))]
    zeros = (len(vectors) - len(alive)) / max(1, len(alive))
    centroids, prices, distortion = run_kmeans(chosen, size, rate, zeros, rounds)
    largest = float(np.abs(vectors).max(initial=0.0))
    return round_centroids(centroids, prices if rate else np.empty(0), distortion, largest)


def round_centroids(centroids: Doubles, prices: Doubles, distortion: float, largest: float) -> ProductCodebook:
    """Centroids as integers, in an order that is short to store.

    distortion: the mean squared distance of a weight.
    largest:    the largest magnitude of an entry.
    """
    finest = float(np.abs(centroids).max(initial=0.0)) / 2**14
    wanted = max(GRAIN * math.sqrt(distortion), finest)
    return as_integers(centroids, prices, round_step(wanted) if wanted > 0 else 1.0, largest)


def as_integers(centroids: Doubles, prices: Doubles, step: float, largest: float) -> ProductCodebook:
    """Centroids in units of `step`, in the order of `round_centroids`."""
    top = math.floor(largest / step)  # an entry above the largest weight could become infinity
    entries = np.clip(np.rint(centroids / step), -top, top).astype(np.int32)
    return _order_entries(entries, step, prices)


def assign(vectors: Floats, codebook: ProductCodebook) -> Levels:
    """int32[n]: the level of each vector float32[n, block]. Inverse, up to the quantisation error: `lookup`."""
    centroids = codebook.entries * np.float64(codebook.step)
    codes = assign_nearest(vectors, centroids, codebook.prices)
    return _convert_to_levels(np.where(vectors.any(axis=1), codes, 0).astype(np.int32))


def lookup(levels: Levels, codebook: ProductCodebook) -> Doubles:
    """float64[..., block]: the weights of each level. Inverse: `assign`.

    Raises: CorruptError for a level outside the codebook.
    """
    codes = _convert_to_codes(levels)
    if codes.size and int(codes.max()) >= len(codebook.entries):
        raise CorruptError(f"codebook: expected codes under {len(codebook.entries)}, got {int(codes.max())}")
    return np.asarray((codebook.entries * np.float64(codebook.step))[codes])


def pack_codebook(out: bytearray, codebook: ProductCodebook) -> None:
    """Append block, size, and the coded entries but the first. Inverse: `parse_codebook`."""
    put_varint(out, codebook.block)
    put_varint(out, len(codebook.entries))
    entries = context.encode(codebook.entries[1:, :, None], effort="normal") if len(codebook.entries) > 1 else b""
    put_varint(out, len(entries))
    out += entries


def parse_codebook(data: memoryview, at: int, step: float) -> tuple[ProductCodebook, int]:
    """The codebook at `data[at:]` and the position after it. Inverse: `pack_codebook`.

    Raises: ContainerError and its kinds.
    """
    block, at = take_varint(data, at)
    size, at = take_varint(data, at)
    length, at = take_varint(data, at)
    if not (0 < block <= MOST_BLOCK and 0 < size <= MOST_VECTORS and block * size <= 1 << 21):
        raise CorruptError(f"codebook: expected {MOST_VECTORS} vectors of {MOST_BLOCK} at most, got {size} of {block}")
    packed, at = take_bytes(data, at, length, "codebook")
    entries = np.zeros((size, block), np.int32)
    entries[1:] = context.decode(bytes(packed), (size - 1, block, 1)).reshape(size - 1, block)
    return ProductCodebook(entries, step), at


def run_kmeans(
    vectors: Floats, size: int, rate: float, zeros: float, rounds: int = ROUNDS
) -> tuple[Doubles, Doubles, float]:
    """Centroids, the first of them 0, their prices, and the mean squared distance of a weight, after Lloyd's rounds.

    zeros: the number of zero vectors that `vectors` leaves out, as a multiple of its length; they belong to cluster 0.
    """
    count, block = vectors.shape
    if not count:
        return np.zeros((1, block)), np.zeros(1), 0.0
    size = min(size, count + 1)
    squares = np.square(vectors, dtype=np.float64)
    by_norm = np.argsort(squares.sum(axis=1), kind="stable")
    first = by_norm[((2 * np.arange(size - 1) + 1) * count // (2 * max(1, size - 1)))]
    centroids = np.concatenate([np.zeros((1, block)), vectors[first].astype(np.float64)])
    prices, last, mean = np.zeros(size), math.inf, 0.0
    energy = float(squares.sum())
    for _ in range(rounds):
        codes = assign_nearest(vectors, centroids, prices)
        members = np.bincount(codes, minlength=len(centroids)).astype(np.float64)
        sums = np.stack([np.bincount(codes, vectors[:, j], len(centroids)) for j in range(block)], axis=1)
        means = sums / np.maximum(members, 1)[:, None]
        means[0] = 0.0
        spent = energy + float((members * np.square(means).sum(axis=1) - 2 * (means * sums).sum(axis=1)).sum())
        mean = max(spent, 0.0) / vectors.size
        cost = spent + float((prices * members).sum())
        centroids, prices = _update_centroids(means, members, rate, zeros * count)
        if rate == 0:
            split_largest(centroids, members, spread_of(vectors, codes, means))
        if cost > last * (1 - 1e-4) and not (rate == 0 and (members[1:] == 0).any()):
            break
        last = cost
    return centroids, prices, mean


def _update_centroids(means: Doubles, members: Doubles, rate: float, zeros: float) -> tuple[Doubles, Doubles]:
    """Centroids and prices; if bits have a price, clusters without members are removed."""
    if not rate:
        return means, np.zeros(len(means))
    used = members + np.where(np.arange(len(members)) == 0, zeros, 0.0)
    kept = np.flatnonzero((used > 0) | (np.arange(len(used)) == 0))
    total = float(used.sum())
    return means[kept], np.array([rate * -math.log2(max(float(n), 0.5) / total) for n in used[kept]])


def spread_of(vectors: Floats | Doubles, codes: Levels, means: Doubles) -> Doubles:
    """The sum of squared distances, float64[size, block], of each cluster."""
    errors = np.square(vectors - means[codes])
    return np.stack([np.bincount(codes, errors[:, j], len(means)) for j in range(vectors.shape[1])], axis=1)


def split_largest(centroids: Doubles, members: Doubles, spread: Doubles) -> None:
    """Empty clusters split those with the largest cost: one standard deviation to either side (Stock et al. 2020)."""
    empty = [int(k) for k in np.flatnonzero(members == 0) if k]
    biggest = np.argsort(-spread.sum(axis=1), kind="stable")
    for k, big in zip(empty, (int(b) for b in biggest if members[b] > 1), strict=False):
        deviation = 0.5 * np.sqrt(spread[big] / members[big])
        centroids[k] = centroids[big] + deviation
        if big:
            centroids[big] = centroids[big] - deviation


def assign_nearest(vectors: Floats | Doubles, centroids: Doubles, prices: Doubles) -> Levels:
    """The code of least |vector - centroid|^2 + price; the lower of equals."""
    largest = max(float(np.abs(vectors).max(initial=0.0)), float(np.abs(centroids).max(initial=0.0)))
    shift = -math.frexp(largest)[1]  # squares must neither overflow nor underflow
    turned = np.ascontiguousarray(np.ldexp(centroids, shift).T, np.float32)
    offsets = np.square(turned, dtype=np.float64).sum(axis=0)
    if prices.size:
        offsets = offsets + np.ldexp(prices, 2 * shift)
    codes = np.empty(len(vectors), np.int32)
    near = np.ascontiguousarray(np.ldexp(vectors, shift), np.float32)
    kernel.nearest(near, turned, (offsets / 2).astype(np.float32), np.empty(len(offsets), np.float32), codes)
    return codes


def _order_entries(entries: Integers, step: float, prices: Doubles) -> ProductCodebook:
    """Frequent vectors first, or short ones if bits have no price, which helps the coders. Copies of 0 are removed."""
    lengths = np.square(entries, dtype=np.float64).sum(axis=1)
    alive = np.flatnonzero(lengths > 0)
    by = prices if prices.size else lengths
    order = np.concatenate([[0], alive[np.argsort(by[alive], kind="stable")]]).astype(np.intp)
    return ProductCodebook(entries[order], step, prices[order] if prices.size else prices)


def _convert_to_levels(codes: Levels) -> Levels:
    """0, 1, 2, 3, ... -> 0, -1, 1, -2, ...: the level whose zigzag symbol is the code. Inverse: `_convert_to_codes`."""
    return np.where(codes & 1, -(codes >> 1) - 1, codes >> 1).astype(np.int32)


def _convert_to_codes(levels: Levels) -> npt.NDArray[np.int64]:
    """Inverse: `_convert_to_levels`."""
    wide = levels.astype(np.int64)
    return np.where(wide < 0, -2 * wide - 1, 2 * wide)
