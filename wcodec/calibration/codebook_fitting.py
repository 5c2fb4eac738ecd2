"""Fitting of codebooks, of values or of vectors, to the inputs of a layer, so that its outputs change little.

"And the bit goes down" (Stock et al. 2020) chooses centroids by |x (c - v)|^2. Here there is also error feedback as in
`gptq`: for a Hessian H = M M', M upper triangular, block b of the inputs costs |M_bb' (v_b - c)|^2, where v_b is the
target of block b after error feedback from the blocks before it. Once the codes are chosen, the centroids are trained
on the output of the whole layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.gptq import ROWS, Float32, Float64
from wcodec.codec.quantizers.product import assign_nearest, run_kmeans, split_largest, spread_of

Codes = npt.NDArray[np.int32]

ROUNDS: Final = 8
"""Rounds of assignment and update, for each pass of feedback."""
PASSES: Final = 2
"""Passes of feedback before the last one. The codebook is fitted again to the targets of each pass."""
LLOYD: Final = 20
"""Rounds of k-means for the first codebook, by the power of each vector's inputs."""
STEPS: Final = 12
"""Steps of the training of centroids on the layer's output."""


@dataclass(frozen=True)
class TargetVectors:
    """Vectors that share a codebook, and the cost of their errors.

    vectors: float64[blocks, units, block].
    roots:   float64[blocks, block, block]; an error e costs |e M|^2.
    """

    vectors: Float64
    roots: Float64


@dataclass(frozen=True)
class PricedCodebook:
    """A codebook of vectors and the prices of its codes.

    centroids: float64[size, block]; the first is 0.
    prices:    float64[size], the cost of a code, added to its error.
    """

    centroids: Float64
    prices: Float64


def fit_codebook(target: Float32, power: Float64, block: int, size: int, rate: float) -> tuple[PricedCodebook, Codes]:
    """A codebook for `target[inputs, units]`, and codes int32[blocks, units] after feedback.

    power: float64[inputs, inputs], damped moments of the inputs.
    block: the length of a vector; it divides the number of inputs.
    size:  the largest number of vectors.
    rate:  the squared weight that a bit is worth, for inputs of mean power.
    """
    upper = np.linalg.cholesky(power[::-1, ::-1])[::-1, ::-1].astype(np.float64, copy=False)
    count = len(target) // block
    wanted = target.astype(np.float64).reshape(count, block, -1).transpose(0, 2, 1)
    roots = np.stack([upper[i * block : (i + 1) * block, i * block : (i + 1) * block] for i in range(count)])
    scale = float(np.square(roots).sum() / (count * block))
    flat = np.ascontiguousarray(wanted.reshape(-1, block), np.float32)
    centroids, prices, _ = run_kmeans(flat, size, rate * block, 0.0)
    powers = np.repeat(np.square(roots).sum(axis=(1, 2)), wanted.shape[1])
    if len(flat) > len(centroids):
        centroids = _run_weighted_kmeans(flat, powers, centroids)
    book = _refine(
        TargetVectors(wanted, roots), PricedCodebook(centroids, prices * scale), rate * block * scale, ROUNDS
    )
    for _ in range(PASSES):
        moved, _ = assign_with_feedback(target, upper, book)
        book = _refine(TargetVectors(moved, roots), book, rate * block * scale, ROUNDS)
    codes = assign_with_feedback(target, upper, book)[1]
    return _without_idle(train_centroids(target, power, book, codes), codes)


def _run_weighted_kmeans(vectors: Float32, weights: Float64, centroids: Float64) -> Float64:
    """The centroids for vectors that count by weights; the first one stays 0.

    On one thread, since the sums of several depend on their number.
    """
    from sklearn.cluster import KMeans  # noqa: PLC0415 - a second, for codebooks alone
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    with threadpool_limits(1):
        kmeans = KMeans(len(centroids), init=centroids, n_init=1, max_iter=LLOYD, random_state=0)
        found: Float64 = kmeans.fit(vectors.astype(np.float64), sample_weight=weights).cluster_centers_
    found[0] = 0.0
    return found


def train_centroids(
    target: Float32, power: Float64, book: PricedCodebook, codes: Codes, steps: int = STEPS
) -> PricedCodebook:
    """The centroids with the least squared error of the layer's output, for fixed codes.

    The loss is quadratic and is minimised by conjugate gradients. The gradient of a centroid is the mean over its
    members (Stock et al. 2020). target, power, codes: as in `fit_codebook`.
    """
    size, block = book.centroids.shape
    places = codes.reshape(-1)
    mean = 1.0 / np.maximum(np.bincount(places, minlength=size), 1)[:, None]
    mean[0] = 0.0  # the first centroid is 0 and stays so

    def weights(centroids: Float64) -> Float64:
        return centroids[codes].transpose(0, 2, 1).reshape(target.shape)

    def sums(changes: Float64) -> Float64:
        vectors = changes.reshape(len(codes), block, -1).transpose(1, 0, 2).reshape(block, -1)
        return np.stack([np.bincount(places, one, size) for one in vectors], axis=1)

    centroids = book.centroids.copy()
    left = sums(power @ (target - weights(centroids)))
    way = mean * left
    slope = first = float((left * way).sum())
    for _ in range(steps):
        if slope <= 1e-12 * first:
            break
        turned = sums(power @ weights(way))
        length = slope / float((way * turned).sum())
        centroids += length * way
        left -= length * turned
        downhill = mean * left
        before, slope = slope, float((left * downhill).sum())
        way = downhill + slope / before * way
    return PricedCodebook(centroids, book.prices)


def _without_idle(book: PricedCodebook, codes: Codes) -> tuple[PricedCodebook, Codes]:
    """Remove centroids without members, except the first one."""
    members = np.bincount(codes.reshape(-1), minlength=len(book.centroids))
    kept = np.flatnonzero((members > 0) | (np.arange(len(members)) == 0))
    renamed = np.zeros(len(members), np.int32)
    renamed[kept] = np.arange(len(kept))
    return PricedCodebook(book.centroids[kept], book.prices[kept]), renamed[codes]


def assign_with_feedback(target: Float32, upper: Float64, book: PricedCodebook) -> tuple[Float64, Codes]:
    """The targets of the blocks, float64[blocks, units, block], and the nearest codes, int32[blocks, units].

    upper: M of the moments.
    """
    block = book.centroids.shape[1]
    count, units = len(target) // block, target.shape[1]
    moved, codes = np.empty((count, units, block)), np.empty((count, units), np.int32)
    errors = np.zeros(target.shape)
    together = max(1, ROWS // block)
    for first in range(0, count, together):
        start, stop = first * block, min(first + together, count) * block
        before = upper[:start, start:stop].T @ errors[:start]
        for i in range(first, stop // block):
            rows = slice(i * block, (i + 1) * block)
            root = upper[rows, rows]
            owed = before[rows.start - start : rows.stop - start]
            owed = owed + upper[start : rows.start, rows].T @ errors[start : rows.start]
            moved[i] = (target[rows] + np.linalg.solve(root.T, owed)).T
            codes[i] = _assign(moved[i], root, book)
            errors[rows] = target[rows] - book.centroids[codes[i]].T
    return moved, codes


def _refine(pool: TargetVectors, book: PricedCodebook, rate: float, rounds: int) -> PricedCodebook:
    """Alternate between codes for vectors and centroids for codes.

    If bits have no price, a centroid without members takes over half of the cluster with the largest cost; otherwise it
    is removed.
    """
    count, _, block = pool.vectors.shape
    metric = pool.roots @ pool.roots.transpose(0, 2, 1)
    for _ in range(rounds):
        size = len(book.centroids)
        codes = np.stack([_assign(vectors, root, book) for vectors, root in zip(pool.vectors, pool.roots, strict=True)])
        places = (np.arange(count)[:, None] * size + codes).reshape(-1)
        members = np.bincount(places, minlength=count * size).reshape(count, size).astype(np.float64)
        flat = pool.vectors.reshape(-1, block)
        sums = np.stack([np.bincount(places, flat[:, j], count * size) for j in range(block)], axis=1)
        weight = np.einsum("bk,bij->kij", members, metric)
        moment = np.einsum("bij,bkj->ki", metric, sums.reshape(count, size, block))
        used = members.sum(axis=0)
        kept = np.flatnonzero((used > 0) | (np.arange(size) == 0) | (rate == 0))
        ridge = 1e-9 * np.einsum("kii->k", weight)[kept, None, None] * np.eye(block) + 1e-30 * np.eye(block)
        centroids = np.linalg.solve(weight[kept] + ridge, moment[kept][:, :, None])[:, :, 0]
        centroids[0] = 0.0
        if rate == 0:
            split_largest(centroids, used, spread_of(flat, codes.reshape(-1), centroids))
        total = float(used.sum())
        prices = np.array([rate * -math.log2(max(float(n), 0.5) / total) for n in used[kept]])
        book = PricedCodebook(centroids, prices)
    return book


def _assign(vectors: Float64, root: Float64, book: PricedCodebook) -> Codes:
    """The codes of the least |(v - c) M|^2 + price."""
    return assign_nearest(vectors @ root, book.centroids @ root, book.prices)
