"""Large tensors get static scales if these take about as few bytes as contexts in a sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wcodec.codec.coder_choice import choose_coder
from wcodec.codec.plan import Prune, UniformPlan
from wcodec.codec.quantization import choose_dequantizer

PLAN = UniformPlan(step=0.05, lambda_=0.25, states=128)
RANDOM = np.random.default_rng(0)
PLAIN = (RANDOM.standard_normal((300, 300)) * RANDOM.uniform(0.05, 0.2, (300, 1))).astype(np.float32)
SMOOTH = np.cumsum(RANDOM.standard_normal((300, 300)) * 0.05, axis=1).astype(np.float32)
"""Weights that a linear prediction from the left explains almost completely."""
SPARSE = np.where(RANDOM.random((300, 300)) < 0.1, PLAIN, np.float32(0))
SMALL = PLAIN[:50]


def coder_of(weights: np.ndarray, plan: UniformPlan) -> str:
    layout, dequantizer = choose_dequantizer(weights, plan)
    return choose_coder(weights, layout, dequantizer, plan).coder


@pytest.mark.parametrize(
    ("weights", "coder"),
    [(PLAIN, "static"), (SMOOTH, "auto"), (SPARSE, "auto"), (SMALL, "auto")],
    ids=["plain", "smooth", "sparse", "small"],
)
def test_the_context_coder_is_chosen_for_correlated_sparse_or_few_levels(weights: np.ndarray, coder: str) -> None:
    assert coder_of(weights, PLAN) == coder


@pytest.mark.parametrize(
    "plan",
    [
        replace(PLAN, effort="best"),
        replace(PLAN, coder="context"),
        UniformPlan(step=0.05, transform=False),
        UniformPlan(Prune("sparsity", 0.5), step=0.05),
    ],
    ids=["best", "asked", "tuned", "pruned"],
)
def test_plans_of_best_effort_a_requested_coder_or_tuned_levels_keep_their_coder(plan: UniformPlan) -> None:
    assert coder_of(PLAIN, plan) == plan.coder
