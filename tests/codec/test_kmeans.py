"""One-dimensional k-means against scikit-learn, a slow twin, and weights at the limits of float32."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from twins import kmeans as twin

from wcodec.codec.plan import Start
from wcodec.codec.quantizers.kmeans import Codebook, assign, cluster, lookup, share_one
from wcodec.errors import CorruptError, RecipeError
from wcodec.kernels import kmeans as kernel

normal = np.random.default_rng(1).normal(0, 0.02, 20_000).astype(np.float32)
Weights = st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=150)


def squared_error(weights: np.ndarray, codebook: Codebook) -> float:
    back = lookup(assign(weights, codebook), codebook)
    return float(((weights.astype(np.float64) - back) ** 2).sum())


@pytest.mark.parametrize("clusters", [4, 16, 64])
def test_the_error_equals_that_of_scikit_learn_from_the_same_start(clusters: int) -> None:
    start = np.linspace(normal.min(), normal.max(), clusters)[:, None]
    with threadpool_limits(1):
        oracle = KMeans(clusters, init=start, n_init=1, max_iter=2000, tol=0).fit(normal[:, None].astype(np.float64))
    assert squared_error(normal, cluster(normal, clusters)) <= 1.003 * oracle.inertia_


@given(Weights)
def test_one_value_besides_zero_has_the_least_error(values: list[float]) -> None:
    weights = np.array(values, np.float32)
    ordered = np.sort(weights.astype(np.float64))
    every = [ordered[:k].mean() for k in range(1, len(ordered) + 1)] + [ordered[k:].mean() for k in range(len(ordered))]
    errors = [np.minimum(weights.astype(np.float64) ** 2, (weights - value) ** 2).sum() for value in every]
    assert len(share_one(weights).values) <= 2
    assert squared_error(weights, share_one(weights)) <= min(errors) * (1 + 1e-6) + 1e-12


@given(Weights, st.integers(1, 6), st.integers(1, 4))
def test_iterations_equal_those_of_the_twin(values: list[float], clusters: int, rounds: int) -> None:
    ordered = np.sort(np.array(values, np.float32))
    middle = int(np.searchsorted(ordered, 0))
    sums = np.zeros(-(-len(ordered) // 64) + 1)
    kernel.anchor(ordered, middle, sums)
    centroids = np.linspace(-1.75, 2.1, clusters)
    expected = twin.lloyd(ordered.tolist(), centroids.tolist(), rounds)
    starts = np.zeros(clusters + 1, np.int64)
    kernel.lloyd(ordered, middle, sums, centroids, starts, np.zeros(clusters), -1, 0, 0.0, rounds)
    np.testing.assert_allclose(centroids, expected, rtol=1e-9, atol=1e-12)


@given(Weights, st.integers(1, 20), st.sampled_from(["linear", "density", "kmeans++"]), st.booleans())
def test_codebooks_ascend_around_zero_and_no_survivor_becomes_zero(
    values: list[float], clusters: int, start: Start, half: bool
) -> None:
    weights = np.array(values, np.float32)
    codebook = cluster(weights, clusters, start, half=half)
    assert codebook.values[codebook.negatives] == 0
    assert (np.diff(codebook.values) > 0).all()
    assert len(codebook.values) <= clusters + 1
    levels = assign(weights, codebook)
    if len(codebook.values) > 1:
        np.testing.assert_array_equal(levels == 0, weights == 0)
    np.testing.assert_array_equal(lookup(levels, codebook), codebook.values[levels + codebook.negatives])


@given(Weights, st.floats(0, 0.1), st.integers(1, 12))
def test_every_weight_has_the_level_with_the_least_cost(values: list[float], rate: float, clusters: int) -> None:
    weights = np.array([*values, 0, 0], np.float32)
    codebook = cluster(weights, clusters, rate=rate)
    levels = assign(weights, codebook, allow_zero=True)
    centres = codebook.values.astype(np.float64).tolist()
    prices = codebook.prices.tolist() or [0.0] * len(centres)
    for weight, level in zip(weights.tolist(), levels.tolist(), strict=True):
        if weight:
            at = level + codebook.negatives
            cost = (weight - centres[at]) ** 2 + prices[at]
            assert cost <= twin.cheapest(weight, centres, prices) * (1 + 1e-9) + 1e-12


def entropy(levels: np.ndarray) -> float:
    share = np.unique(levels, return_counts=True)[1] / levels.size
    return float(-(share * np.log2(share)).sum())


def test_a_rate_saves_bits_with_less_error_than_fewer_clusters() -> None:
    weights = np.random.default_rng(2).laplace(0, 0.02, 50_000).astype(np.float32)
    priced = cluster(weights, 64, rate=4e-5)
    plain = cluster(weights, 9, "density")
    assert entropy(assign(weights, priced)) < entropy(assign(weights, plain))
    assert squared_error(weights, priced) < squared_error(weights, plain)


def test_a_very_large_rate_leaves_one_level() -> None:
    assert len(np.unique(assign(normal, cluster(normal, 32, rate=1e6)))) == 1


@pytest.mark.parametrize("outliers", [[1e30], [-1e30], [1e30, -1e30], [3e38, -3e38]])
def test_an_outlier_does_not_change_the_codebook_of_the_others(outliers: list[float]) -> None:
    weights = np.concatenate([normal, np.array(outliers, np.float32)])
    codebook = cluster(weights, 16)
    error = squared_error(normal, codebook)
    assert error < 1.3 * squared_error(normal, cluster(normal, 14))
    np.testing.assert_allclose(lookup(assign(weights, codebook), codebook)[len(normal) :], outliers, rtol=1e-6)


def test_the_same_seed_gives_the_same_codebook_and_another_another() -> None:
    first, again, other = (cluster(normal, 16, "kmeans++", seed=s, rounds=2) for s in (3, 3, 4))
    np.testing.assert_array_equal(first.values, again.values)
    assert first.values.tolist() != other.values.tolist()


def test_half_precision_centroids_are_float16_values() -> None:
    values = cluster(normal, 16, half=True).values
    np.testing.assert_array_equal(values, values.astype(np.float16).astype(np.float32))


def test_the_codebook_of_zeros_is_zero() -> None:
    codebook = cluster(np.zeros(5, np.float32), 8)
    assert codebook.values.tolist() == [0]
    assert assign(np.zeros(5, np.float32), codebook).tolist() == [0] * 5


def test_few_distinct_weights_are_exact() -> None:
    weights = np.tile(np.array([-0.5, 0, 0.25, 1], np.float32), 50)
    codebook = cluster(weights, 16)
    np.testing.assert_array_equal(lookup(assign(weights, codebook), codebook), weights)


@given(st.integers(-100, 100))
def test_levels_outside_the_codebook_are_corrupt(level: int) -> None:
    codebook = Codebook(1, np.array([-1, 0, 2], np.float32))
    if -1 <= level <= 1:
        assert lookup(np.array([level], np.int32), codebook)[0] == codebook.values[level + 1]
    else:
        with pytest.raises(CorruptError, match="expected levels from -1 to 1"):
            lookup(np.array([level], np.int32), codebook)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(RecipeError, match="finite"):
        cluster(np.array([1, bad], np.float32), 4)


@pytest.mark.parametrize("request_", [{"clusters": 0}, {"clusters": 4, "rounds": 0}, {"clusters": 4, "rate": -1.0}])
def test_impossible_requests_are_refused(request_: dict[str, int]) -> None:
    with pytest.raises(RecipeError):
        cluster(normal, **request_)


def test_a_weight_half_way_between_two_levels_has_the_lower() -> None:
    codebook = Codebook(1, np.array([-1, 0, 1, 2], np.float32))
    assert assign(np.array([1.5, 0.5, -0.5], np.float32), codebook, allow_zero=True).tolist() == [1, 0, -1]
