"""Magnitude pruning by threshold, by deviations and to an exact sparsity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wcodec.codec.magnitude_pruning import (
    BLOCK,
    count_pruned,
    find_threshold,
    global_threshold,
    magnitude_of_rank,
    prune_below,
    prune_weights,
)
from wcodec.codec.plan import Prune
from wcodec.errors import RecipeError

Weights = arrays(np.float32, st.integers(1, 60), elements=st.floats(-4, 4, width=32).map(lambda x: round(x * 4) / 4))


def test_an_absolute_threshold_removes_weights_up_to_it() -> None:
    weights = np.array([0.5, -0.5, 0.50001, 0, -3], np.float32)
    assert find_threshold(weights, Prune("absolute", 0.5)) == 0.5
    np.testing.assert_array_equal(prune_below(weights, 0.5), np.array([0, 0, 0.50001, 0, -3], np.float32))
    assert weights[0] == 0.5


def test_deviations_are_computed_from_the_finite_weights() -> None:
    weights = np.random.default_rng(0).normal(3, 2, 1000).astype(np.float32)
    expected = 0.7 * weights.astype(np.float64).std()
    assert find_threshold(weights, Prune("deviations", 0.7)) == pytest.approx(expected)
    outliers = np.append(weights, np.array([np.inf, np.nan], np.float32))
    assert find_threshold(outliers, Prune("deviations", 0.7)) == pytest.approx(expected)


@given(Weights, st.floats(0, 1))
def test_sparsity_removes_the_exact_number_of_the_smallest_weights(weights: np.ndarray, sparsity: float) -> None:
    nonzero = np.where(weights == 0, np.float32(5), weights)
    kept = prune_weights(nonzero, Prune("sparsity", sparsity))
    gone = np.flatnonzero(kept == 0)
    assert len(gone) == count_pruned(len(weights), sparsity)
    np.testing.assert_array_equal(gone, np.sort(np.argsort(np.abs(nonzero), kind="stable")[: len(gone)]))


@given(st.lists(Weights, min_size=1, max_size=4), st.floats(0, 1))
def test_the_global_threshold_equals_that_of_all_weights_together(tensors: list[np.ndarray], sparsity: float) -> None:
    whole = np.concatenate(tensors)
    assert global_threshold(lambda: iter(tensors), sparsity) == find_threshold(whole, Prune("sparsity", sparsity))


def test_nan_is_never_pruned_and_infinity_is_pruned_last() -> None:
    weights = np.array([[np.nan, np.inf], [1, 2]], np.float32)
    np.testing.assert_array_equal(prune_weights(weights, Prune("sparsity", 0.5)), np.array([[np.nan, np.inf], [0, 0]]))
    assert np.isnan(prune_weights(weights, Prune("sparsity", 1))[0, 0])


def test_sparsity_outside_0_to_1_is_refused() -> None:
    for sparsity in (-0.1, 1.1, float("nan")):
        with pytest.raises(RecipeError):
            global_threshold(lambda: iter(()), sparsity)


def test_an_empty_tensor_can_be_pruned() -> None:
    empty = np.zeros((0, 3), np.float32)
    for rule in ("absolute", "deviations", "sparsity"):
        assert prune_weights(empty, Prune(rule, 0.5)).shape == (0, 3)


@pytest.mark.parametrize("sparsity", [0.3, 0.9])
def test_large_tensors_are_pruned_like_small_ones(sparsity: float) -> None:
    weights = np.round(np.random.default_rng(0).normal(0, 40, BLOCK + 1000)).astype(np.float32)
    weights[5] = np.nan
    order = np.argsort(np.where(np.isnan(weights), np.inf, np.abs(weights)), kind="stable")
    expected = weights.copy()
    expected[order[: count_pruned(weights.size, sparsity)]] = 0.0
    np.testing.assert_array_equal(prune_weights(weights, Prune("sparsity", sparsity)), expected)
    assert magnitude_of_rank(weights, 100) == abs(weights[order[100]])
