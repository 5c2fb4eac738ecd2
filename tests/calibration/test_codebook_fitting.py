"""Codebooks that are fitted to a layer's inputs: the error of the outputs, and bounds that hold for any input."""

from __future__ import annotations

import numpy as np
import pytest

from wcodec.calibration import codebook_fitting
from wcodec.calibration.codebook_fitting import PricedCodebook, assign_with_feedback, fit_codebook, train_centroids
from wcodec.calibration.hessian import damp
from wcodec.codec.quantizers.product import assign, fit_vectors, lookup, split_blocks

RNG = np.random.default_rng(11)


def layer(inputs: int, units: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and correlated inputs."""
    mixing = RNG.normal(size=(inputs, inputs)) * 0.9 ** np.arange(inputs)
    return RNG.normal(size=(inputs, units)).astype(np.float32), RNG.normal(size=(3000, inputs)) @ mixing.T


def measure_error(x: np.ndarray, weights: np.ndarray, after: np.ndarray) -> float:
    """Relative squared error of the outputs."""
    return float(np.square(x @ (weights - after)).sum() / np.square(x @ weights).sum())


def decode_codes(book: PricedCodebook, codes: np.ndarray) -> np.ndarray:
    return book.centroids[codes].transpose(0, 2, 1).reshape(-1, codes.shape[1])


@pytest.mark.parametrize(("block", "size", "part"), [(1, 5, 0.35), (1, 16, 0.35), (4, 64, 0.45), (8, 128, 0.65)])
def test_codebooks_fitted_to_inputs_lose_less_of_the_outputs_than_codebooks_of_the_weights(
    block: int, size: int, part: float
) -> None:
    """part: of that loss. Three draws had 0.19-0.25, 0.18-0.22, 0.32-0.34 and 0.53-0.54; long blocks gain less."""
    weights, x = layer(48, 200)
    book, codes = fit_codebook(weights, damp(x.T @ x / len(x), 0.01), block, size, 0.0)
    vectors = split_blocks(np.ascontiguousarray(weights.T), block)
    alone = fit_vectors(vectors, size, 0.0)
    plain = lookup(assign(vectors, alone), alone).reshape(200, 48).T
    assert len(book.centroids) <= size
    assert np.array_equal(book.centroids[0], np.zeros(block))
    assert measure_error(x, weights, decode_codes(book, codes)) < part * measure_error(x, weights, plain)


def test_initial_centroids_weighted_by_the_power_of_the_inputs_lose_less(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = [layer(48, 200) for _ in range(4)]

    def losses() -> float:
        found = [(fit_codebook(weights, damp(x.T @ x / len(x), 0.01), 1, 16, 0.0), weights, x) for weights, x in draws]
        return float(np.mean([measure_error(x, weights, decode_codes(*made)) for made, weights, x in found]))

    weighted = losses()
    monkeypatch.setattr(codebook_fitting, "_run_weighted_kmeans", lambda vectors, weights, start: start)
    assert weighted < 0.95 * losses()


def test_a_price_of_bits_saves_bits_and_increases_the_error() -> None:
    weights, x = layer(40, 150)
    power = damp(x.T @ x / len(x), 0.01)

    def bits(codes: np.ndarray) -> float:
        part = np.unique(codes, return_counts=True)[1] / codes.size
        return float(-(part * np.log2(part)).sum())

    found = [fit_codebook(weights, power, 4, 64, rate) for rate in (0.0, 0.1, 0.5)]
    entropies = [bits(codes) for _, codes in found]
    errors = [measure_error(x, weights, decode_codes(book, codes)) for book, codes in found]
    assert entropies == sorted(entropies, reverse=True)
    assert errors == sorted(errors)


def test_feedback_does_not_change_weights_of_white_inputs() -> None:
    weights = RNG.normal(size=(12, 30)).astype(np.float32)
    book = PricedCodebook(np.array([[0.0], [-1.0], [1.0], [2.0]]), np.zeros(4))
    moved, codes = assign_with_feedback(weights, np.eye(12), book)
    assert np.allclose(moved[:, :, 0], weights)
    assert np.array_equal(codes, np.argmin(np.abs(weights[:, :, None] - book.centroids[:, 0]), axis=2))


def test_feedback_in_groups_equals_feedback_one_by_one() -> None:
    weights, x = layer(130, 7)
    upper = np.linalg.cholesky(damp(x.T @ x / len(x), 0.1)[::-1, ::-1])[::-1, ::-1]
    book = PricedCodebook(np.array([[0.0, 0.0], [-1.0, 1.0], [1.0, 0.5], [0.0, -2.0]]), np.zeros(4))
    moved, codes = assign_with_feedback(weights, upper, book)
    errors = weights - book.centroids[codes].transpose(0, 2, 1).reshape(130, 7)
    for i in range(65):
        rows = slice(2 * i, 2 * i + 2)
        owed = upper[: 2 * i, rows].T @ errors[: 2 * i]
        assert np.allclose(moved[i].T, weights[rows] + np.linalg.solve(upper[rows, rows].T, owed))


def test_few_weights_and_zeros_have_codebooks() -> None:
    for weights in (np.ones((4, 1), np.float32), np.zeros((4, 3), np.float32)):
        book, codes = fit_codebook(weights, np.eye(4), 2, 16, 0.0)
        assert np.allclose(decode_codes(book, codes), weights)


def test_trained_centroids_have_the_least_error_of_the_layer_for_their_codes() -> None:
    weights, x = layer(24, 60)
    power = damp(x.T @ x / len(x), 0.01)
    book = PricedCodebook(np.concatenate([np.zeros((1, 4)), RNG.normal(size=(7, 4))]), np.zeros(8))
    codes = RNG.integers(0, 8, (6, 60)).astype(np.int32)
    trained = train_centroids(weights, power, book, codes, 200).centroids
    # As plain least squares: the output is linear in the centroids.
    root = np.linalg.cholesky(power).T
    columns = []
    for k in range(1, 8):
        for j in range(4):
            unit = np.zeros((8, 4))
            unit[k, j] = 1.0
            columns.append((root @ decode_codes(PricedCodebook(unit, book.prices), codes)).reshape(-1))
    wanted = np.linalg.lstsq(np.array(columns).T, (root @ weights).reshape(-1), rcond=None)[0]
    assert np.allclose(trained[1:].reshape(-1), wanted, atol=1e-6)
    assert not trained[0].any()


def test_without_a_price_of_bits_every_vector_has_members() -> None:
    weights, x = layer(24, 200)
    weights[:, :150] = weights[:, :1]  # many blocks are the same: starts by rank coincide
    book, codes = fit_codebook(weights, damp(x.T @ x / len(x), 0.01), 4, 32, 0.0)
    assert len(np.unique(codes)) >= 31
    assert set(codes.reshape(-1)) | {0} == set(range(len(book.centroids)))
