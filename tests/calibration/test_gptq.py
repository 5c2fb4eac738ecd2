"""Error feedback, patches and divergence: the arithmetic of calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from wcodec.calibration.gptq import correct_for_drift, feedback_matrix, gptq_round
from wcodec.calibration.hessian import damp
from wcodec.calibration.linear_ops import extract_patches
from wcodec.evaluation.keras_backend import keras
from wcodec.evaluation.metrics import Outputs
from wcodec.evaluation.output_kinds import measure_divergence, output_kinds

if TYPE_CHECKING:
    pass

RNG = np.random.default_rng(3)
Float32 = npt.NDArray[np.float32]


def plain_latents(weights: Float32, moments_: npt.NDArray[np.float64], damping: float) -> Float32:
    """GPTQ as in the paper: with the Cholesky factor of the inverse, row by row."""
    damp = moments_ + damping * np.diagonal(moments_).mean() * np.eye(len(moments_))
    factor = np.linalg.cholesky(np.linalg.inv(damp)).T
    moved = weights.astype(np.float64)
    for i in range(len(moved)):
        error = (moved[i] - np.rint(moved[i])) / factor[i, i]
        moved[i + 1 :] -= np.outer(factor[i, i + 1 :], error)
    return moved.astype(np.float32)


def draw_correlated(rows: int, inputs: int) -> Float32:
    return (RNG.normal(size=(rows, 4)) @ RNG.normal(size=(4, inputs)) + RNG.normal(size=(rows, inputs)) / 4).astype(
        np.float32
    )


@pytest.mark.parametrize("inputs", [1, 5, 64, 150])
def test_feedback_equals_the_formula_of_the_paper(inputs: int) -> None:
    x = draw_correlated(1000, inputs).astype(np.float64)
    weights = RNG.normal(size=(inputs, 7)).astype(np.float32) * 3
    found = gptq_round(weights, feedback_matrix(damp(x.T @ x / 1000, 0.01)))
    assert np.allclose(found, plain_latents(weights, x.T @ x / 1000, 0.01), atol=1e-3)


def test_feedback_reduces_the_error_of_the_outputs() -> None:
    x = draw_correlated(1000, 100)
    weights = RNG.normal(size=(100, 20)).astype(np.float32)
    moved = gptq_round(weights, feedback_matrix(damp((x.T @ x).astype(np.float64), 0.01)))
    fed, plain = (np.square(x @ (np.rint(w) - weights)).sum() for w in (moved, weights))
    assert fed < 0.5 * plain


def test_weights_approximate_the_outputs_of_the_original() -> None:
    x0 = draw_correlated(1000, 20).astype(np.float64)
    x = x0 @ (np.eye(20) + RNG.normal(size=(20, 20)) / 10)
    weights = RNG.normal(size=(20, 3)).astype(np.float32)
    best = np.linalg.lstsq(x, x0 @ weights, rcond=None)[0]
    assert np.allclose(correct_for_drift(weights, damp(x.T @ x, 0), x.T @ (x0 - x)), best, atol=1e-4)


def test_inputs_that_are_always_zero_get_no_feedback() -> None:
    x = draw_correlated(100, 10)
    x[:, 3] = 0
    feedback = feedback_matrix(damp((x.T @ x).astype(np.float64), 0.01))
    assert not feedback[3].any()
    assert not feedback[:, 3].any()
    assert np.isfinite(feedback_matrix(damp(np.zeros((4, 4)), 0.1))).all()


def diverge(outputs: tuple[Outputs, ...], originals: tuple[Outputs, ...]) -> float:
    return measure_divergence(outputs, originals, output_kinds(originals, (), len(originals[0]), tasks=["classes"]))


@pytest.mark.parametrize(
    ("shape", "kernel", "strides", "dilations", "padding"),
    [
        ((9, 2), (3,), (2,), (1,), "valid"),
        ((9, 2), (3,), (1,), (2,), "causal"),
        ((8, 7, 3), (3, 2), (1, 2), (1, 1), "same"),
        ((8, 7, 3), (2, 3), (1, 1), (2, 2), "valid"),
        ((6, 5, 4, 2), (2, 3, 2), (2, 1, 1), (1, 1, 1), "same"),
    ],
)
def test_patches_times_the_kernel_equal_the_convolution(
    shape: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...], padding: str
) -> None:
    kind = {1: keras().layers.Conv1D, 2: keras().layers.Conv2D, 3: keras().layers.Conv3D}[len(kernel)]
    layer = kind(5, kernel, strides=strides, dilation_rate=dilations, padding=padding, use_bias=False)
    images = RNG.normal(size=(2, *shape)).astype(np.float32)
    outputs = np.asarray(layer(images))
    rows = extract_patches(images, kernel, strides, dilations, padding, 10**6, RNG)
    assert np.allclose(rows @ np.asarray(layer.kernel).reshape(-1, 5), outputs.reshape(-1, 5), atol=1e-5)
    assert extract_patches(images, kernel, strides, dilations, padding, 3, RNG).shape == (3, rows.shape[1])


def test_the_divergence_is_defined_for_probabilities_logits_and_values() -> None:
    logits, moved = RNG.normal(size=(50, 4)), RNG.normal(size=(50, 4))
    p, q = (np.exp(y) / np.exp(y).sum(axis=1, keepdims=True) for y in (logits, moved))
    expected = (p * np.log(p / q)).sum(axis=1).mean()
    assert diverge((moved,), (logits,)) == pytest.approx(expected)
    assert diverge((q,), (p,)) == pytest.approx(expected)
    assert diverge((logits, moved), (logits, logits)) == pytest.approx(expected)
    assert diverge((q[:, :1],), (p[:, :1],)) > 0
    assert diverge((3 * logits[:, :1],), (logits[:, :1],)) == pytest.approx(
        4 * np.square(logits[:, 0]).mean() / logits[:, 0].var()
    )
    assert diverge((logits * np.nan,), (logits,)) == np.inf
