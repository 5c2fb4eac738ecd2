"""Weight sharing by one-dimensional k-means (Han, Mao and Dally 2016), exact and the same on every machine.

In sorted weights a cluster is an interval, so a round costs a few binary searches for any number of weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

import numpy as np
import numpy.typing as npt

from wcodec.errors import CorruptError, RecipeError
from wcodec.kernels import kmeans as kernel
from wcodec.model.dataclass import dataclass, field

if TYPE_CHECKING:
    from wcodec.codec.plan import Start

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Levels = npt.NDArray[np.int32]

BLOCK: Final = 64
ROUNDS: Final = 1000
SPREAD: Final = 1 << 14
"""The number of weights, evenly spread over the sorted ones, from which kmeans++ draws."""
MOST_CLUSTERS: Final = 1 << 16


@dataclass(frozen=True, eq=False)
class Codebook:
    """Weights by level: level k stands for values[k + negatives].

    negatives: the number of levels below 0.
    values:    float32[size], ascending, values[negatives] == 0.0.
    prices:    float64[size], the cost of each level in squared weight; empty without prices. Never stored.
    """

    negatives: int
    values: Floats
    prices: Doubles = field(default_factory=lambda: np.empty(0))


def cluster(
    weights: Floats,
    clusters: int,
    start: Start = "linear",
    seed: int = 0,
    rounds: int = ROUNDS,
    rate: float = 0.0,
    half: bool = False,
) -> Codebook:
    """At most `clusters` shared weights for the survivors (non-zero weights), and level 0 for 0.0.

    start: "linear" spreads the first centroids evenly over [min, max] or, if outliers would leave most of them empty,
           over all but the outermost weights; "density" gives each the same number of weights; "kmeans++" draws by
           `seed`.
    rate:  the squared weight that one bit is worth. Above 0, clusters are chosen by (w - c)^2 + rate * bits (ECVQ:
           Chou, Lookabaugh and Gray 1989), survivors may get level 0, and clusters that do not pay for their bits are
           removed.
    half:  round centroids to float16.
    Raises: RecipeError for an impossible request or weights that are not finite.
    """
    from wcodec.codec.plan import Start

    if not 1 <= clusters <= MOST_CLUSTERS or start not in get_args(Start) or rounds < 1 or not 0 <= rate < np.inf:
        raise RecipeError(
            f"k-means: expected 1 to {MOST_CLUSTERS} clusters, a start of {get_args(Start)}, 1 or more rounds and a "
            f"rate of 0 or more, got {clusters}, {start!r}, {rounds}, {rate}"
        )
    flat = np.ascontiguousarray(weights, np.float32).reshape(-1)
    if not np.isfinite(flat).all():
        raise RecipeError("k-means: expected finite weights, got infinity or not-a-number")
    ordered = flat[flat != 0]
    ordered.sort()
    if not len(ordered):
        return Codebook(0, np.zeros(1, np.float32), np.zeros(1 if rate else 0))
    lloyd = _Lloyd.over(ordered)
    centroids = _START[start](ordered, min(clusters, len(ordered)), seed)
    centroids = lloyd.settle(np.unique(centroids), rounds)
    prices = np.zeros(len(centroids))
    if rate:
        centroids, prices = lloyd.settle_priced(centroids, rounds, rate, len(flat) - len(ordered))
    return _make_codebook(centroids, prices if rate else None, half)


def share_one(weights: Floats) -> Codebook:
    """One shared weight besides 0.0, with the least squared error if each weight takes the nearer of the two.

    The weights that take it are the k largest, or the k smallest, for some k: their mean m saves k m^2.
    Raises: RecipeError for weights that are not finite.
    """
    flat = np.sort(np.ascontiguousarray(weights, np.float32).reshape(-1))
    if not np.isfinite(flat).all():
        raise RecipeError("k-means: expected finite weights, got infinity or not-a-number")
    counts = np.arange(1, len(flat) + 1)
    means = np.concatenate([np.cumsum(side, dtype=np.float64) / counts for side in (flat, flat[::-1])])
    best = means[np.argmax(means**2 * np.tile(counts, 2))] if len(flat) else 0.0
    book = make_codebook(np.array([best], np.float32))
    return Codebook(book.negatives, book.values, np.zeros(len(book.values)))


def make_codebook(values: Floats) -> Codebook:
    """The codebook of exactly these values, few and finite."""
    kept = np.unique(values[values != 0])
    negatives = int(np.searchsorted(kept, 0))
    return Codebook(negatives, np.insert(kept, negatives, np.float32(0)).astype(np.float32))


def assign(weights: Floats, codebook: Codebook, allow_zero: bool = False) -> Levels:
    """int32[...]: the cheapest level of each weight; the lower of equals.

    Weights of 0 get level 0; others get it only if the codebook has prices or no other level, or with `allow_zero`.
    Inverse, up to the quantisation error: `lookup`. Raises: RecipeError for NaN.
    """
    flat = np.ascontiguousarray(weights, np.float32).reshape(-1)
    choices = np.arange(len(codebook.values), dtype=np.int32) - np.int32(codebook.negatives)
    priced = len(codebook.prices) > 0
    if not (priced or allow_zero or len(choices) == 1):
        choices = choices[choices != 0]
    values = codebook.values[choices + codebook.negatives].astype(np.float64)
    prices = codebook.prices[choices + codebook.negatives] if priced else np.zeros(len(values))
    choices, bounds = _find_envelope(choices, values, prices)
    levels = np.empty(len(flat), np.int32)
    if not kernel.assign(flat, bounds, choices, 0, levels):
        raise RecipeError("k-means: expected numbers, got not-a-number")
    return levels.reshape(np.shape(weights))


def lookup(levels: Levels, codebook: Codebook) -> Floats:
    """float32[...]: the weight of each level. Inverse: `assign`.

    Raises: CorruptError for a level outside the codebook.
    """
    flat = np.ascontiguousarray(levels, np.int32).reshape(-1)
    weights = np.empty(len(flat), np.float32)
    bad = kernel.lookup(flat, codebook.values, codebook.negatives, weights)
    if bad >= 0:
        low, high = -codebook.negatives, len(codebook.values) - 1 - codebook.negatives
        raise CorruptError(f"codebook: expected levels from {low} to {high}, got {flat[bad]} at weight {bad}")
    return weights.reshape(np.shape(levels))


@dataclass(frozen=True, eq=False)
class _Lloyd:
    """Sorted weights and their cumulative sums."""

    ordered: Floats
    middle: int
    sums: Doubles

    @staticmethod
    def over(ordered: Floats) -> _Lloyd:
        middle = int(np.searchsorted(ordered, 0))
        sums = np.zeros(-(-len(ordered) // BLOCK) + 1)
        kernel.anchor(ordered, middle, sums)
        return _Lloyd(ordered, middle, sums)

    def settle(self, centroids: Doubles, rounds: int) -> Doubles:
        """Centroids after Lloyd's rounds; an empty cluster moves into the widest, heaviest one."""
        wanted = len(centroids)
        for _ in range(4):
            starts = np.zeros(len(centroids) + 1, np.int64)
            kernel.lloyd(
                self.ordered, self.middle, self.sums, centroids, starts, np.zeros(len(centroids)), -1, 0, 0.0, rounds
            )
            members = np.diff(starts)
            missing = wanted - np.count_nonzero(members)
            first = self.ordered[starts[:-1][members > 0]].astype(np.float64)
            last = self.ordered[starts[1:][members > 0] - 1].astype(np.float64)
            centroids = centroids[members > 0]
            weight = members[members > 0] * (last - first) ** 2
            heaviest = np.argsort(-weight, kind="stable")[:missing]
            heaviest = heaviest[weight[heaviest] > 0]
            if not len(heaviest):
                break
            split = 0.5 * centroids[heaviest] + 0.5 * last[heaviest]
            centroids[heaviest] = 0.5 * centroids[heaviest] + 0.5 * first[heaviest]
            centroids = np.unique(np.concatenate([centroids, split]))
        return centroids

    def settle_priced(self, centroids: Doubles, rounds: int, rate: float, zeros: int) -> tuple[Doubles, Doubles]:
        """Centroids and prices, with 0.0, after the rounds of entropy-constrained k-means."""
        centroids = centroids[centroids != 0]
        fixed = int(np.searchsorted(centroids, 0.0))
        centroids = np.insert(centroids, fixed, 0.0)
        prices = np.zeros(len(centroids))
        left = kernel.lloyd(
            self.ordered,
            self.middle,
            self.sums,
            centroids,
            np.zeros(len(centroids) + 1, np.int64),
            prices,
            fixed,
            zeros,
            rate,
            rounds,
        )
        return centroids[:left], prices[:left]


def _start_linear(ordered: Floats, clusters: int, seed: int) -> Doubles:
    even = np.linspace(float(ordered[0]), float(ordered[-1]), clusters)
    between = np.searchsorted(ordered, 0.5 * even[1:] + 0.5 * even[:-1], side="right")
    members = np.diff(between, prepend=0, append=len(ordered))
    if np.count_nonzero(members) * 4 >= min(clusters, len(np.unique(ordered[: 4 * clusters]))) or clusters < 4:
        return even
    trim = max(len(ordered) // (4 * clusters), 1)
    inner = np.linspace(float(ordered[trim]), float(ordered[-1 - trim]), clusters - 2)
    return np.concatenate([even[:1], inner, even[-1:]])


def _start_by_density(ordered: Floats, clusters: int, seed: int) -> Doubles:
    at = (2 * np.arange(clusters) + 1) * len(ordered) // (2 * clusters)
    return ordered[at].astype(np.float64)


def _start_plus_plus(ordered: Floats, clusters: int, seed: int) -> Doubles:
    """Each next centroid is drawn by squared distance from those before it (Arthur and Vassilvitskii 2007)."""
    spread = min(SPREAD, len(ordered))
    points = ordered[np.arange(spread) * len(ordered) // spread].astype(np.float64)
    draws = np.random.Generator(np.random.PCG64(seed)).random(clusters)
    chosen = [points[int(draws[0] * spread)]]
    distance = (points - chosen[0]) ** 2
    for draw in draws[1:]:
        along = np.cumsum(distance)
        if along[-1] == 0:
            break
        chosen.append(points[min(int(np.searchsorted(along, draw * along[-1], side="right")), spread - 1)])
        distance = np.minimum(distance, (points - chosen[-1]) ** 2)
    return np.array(chosen)


_START: Final = {"linear": _start_linear, "density": _start_by_density, "kmeans++": _start_plus_plus}


def _make_codebook(centroids: Doubles, prices: Doubles | None, half: bool) -> Codebook:
    """Round centroids, merge equal ones and insert 0.0; prices already include 0.0."""
    limit = 65504.0 if half else float(np.finfo(np.float32).max)
    rounded = np.clip(centroids, -limit, limit).astype(np.float16 if half else np.float32).astype(np.float32)
    if prices is None:
        values = np.unique(rounded[rounded != 0])
        negatives = int(np.searchsorted(values, 0))
        return Codebook(negatives, np.insert(values, negatives, np.float32(0)))
    values, where = np.unique(rounded + np.float32(0), return_index=True)
    cheapest = np.minimum.reduceat(prices, where)
    negatives = int(np.searchsorted(values, 0))
    if negatives == len(values) or values[negatives] != 0:  # no survivor got 0.0
        values, cheapest = np.insert(values, negatives, np.float32(0)), np.insert(cheapest, negatives, np.inf)
    return Codebook(negatives, values, cheapest)


def _find_envelope(choices: Levels, values: Doubles, prices: Doubles) -> tuple[Levels, Doubles]:
    """The levels that are cheapest for some weight, and the bounds between them."""
    kept: list[int] = []
    bounds: list[float] = []
    for j in range(len(choices)):
        while kept:
            gap = values[j] - values[kept[-1]]
            bound = 0.5 * (values[j] + values[kept[-1]]) + (prices[j] - prices[kept[-1]]) / (2 * gap)
            if len(kept) > 1 and bound <= bounds[-1]:
                kept.pop()
                bounds.pop()
            else:
                bounds.append(float(bound))
                break
        kept.append(j)
    return choices[kept], np.array(bounds)
