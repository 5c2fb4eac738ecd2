"""A network whose kernels share values, or vectors of them, by codebooks that lose little of what it computes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from wcodec.calibration.budget import Budget
from wcodec.calibration.codebook_weights import Sharing, shared_kernel
from wcodec.calibration.hessian import Moments, moments
from wcodec.calibration.quality import Verdict, judged
from wcodec.calibration.quantizable_weights import steps_of, values_of
from wcodec.calibration.session import Subject, original_rows, rows_of, settle
from wcodec.errors import BudgetError
from wcodec.model import Tuned

RATE: Final = 0.1
"""Squared error, in steps, that a bit is worth."""
START: Final = 1.5
SIZES: Final = 8
CLOSE: Final = 1.08
"""Sizes this near to one another are not told apart."""


@dataclass(frozen=True)
class SharedNet:
    """One way to share; see `attempt.Calibration`.

    kernels:    what is coded, by places in `model.weights`; statistics: other weights that change.
    bytes:      estimated: codes, codebooks, and two bytes for every other weight.
    """

    size: float
    kernels: Mapping[int, Tuned]
    statistics: Mapping[int, Tuned]
    verdict: Verdict
    bytes: int

    @property
    def divergence(self) -> float:
        """From the original, in nats."""
        return self.verdict.divergence

    @property
    def drop(self) -> float:
        """Points of accuracy predicted."""
        return self.verdict.drop


def share_within(
    subject: Subject,
    sharing: Sharing,
    budget: Budget,
    *,
    seconds: float = float("inf"),
    progress: Callable[[SharedNet], None] = lambda _: None,
) -> SharedNet:
    """The smallest sharing that the budget allows; where `clusters` are given, that one.

    An interrupt ends the search with what it found.
    Raises: BudgetError where none is within the budget.
    """
    deadline = time.monotonic() + seconds
    tried: list[SharedNet] = []
    size, inside, outside = START, 0.0, 0.0
    with suppress(KeyboardInterrupt):
        for _ in range(1 if sharing.clusters else SIZES):
            tried.append(share(subject, sharing, size))
            progress(tried[-1])
            inside, outside = (size, outside) if budget.allows(tried[-1]) else (inside, size)
            if time.monotonic() >= deadline or (inside and outside and outside / inside < CLOSE):
                break
            size = (inside * outside) ** 0.5 if inside and outside else size * 1.5 if inside else size / 2
    best = budget.best(tried)
    if best is None:
        raise BudgetError(f"{subject.model.name}: {budget.refusal(tried)}")
    return best


def share(subject: Subject, sharing: Sharing, size: float) -> SharedNet:
    """Share values in all kernels, one stage after another, measure the answers, and put the weights back.

    size: of the steps (`kernels.steps_of`) whose squared error a bit is worth a part of.
    """
    model = subject.model
    before = model.get_weights()
    steps = dict(zip((kernel.index for kernel in subject.kernels), steps_of(subject.kernels, size), strict=True))
    found: dict[int, Tuned] = {}
    total = 0
    try:
        for number, stage in enumerate(subject.stages):
            seen = _moments(subject, number)
            for kernel, parts in zip(stage.kernels, seen or [()] * len(stage.kernels), strict=True):
                rate = 0.0 if sharing.clusters else RATE * steps[kernel.index] ** 2
                found[kernel.index], count = shared_kernel(kernel, parts, sharing, rate)
                total += count
            for kernel in stage.kernels:
                kernel.variable.assign(found[kernel.index].values)
        settle(subject, subject.normalizing)
        verdict = judged(subject)
        changing = {id(w) for layer in subject.normalizations for w in (layer.moving_mean, layer.moving_variance)}
        statistics = {i: Tuned(values_of(w)) for i, w in enumerate(model.weights) if id(w) in changing}
    finally:
        model.set_weights(before)
    others = sum(weight.size for weight in before) - sum(one.values.size for one in found.values())
    return SharedNet(size, found, statistics, verdict, total + 2 * others)


def shared_tensors(net: SharedNet, names: Mapping[int, tuple[str, ...]]) -> dict[str, Tuned]:
    """What to code, by tensor name; weights without a name are left out. names: of `tensor_names`."""
    every = {**net.kernels, **net.statistics}
    return {name: tuned for index, tuned in every.items() for name in names.get(index, ())}


def _moments(subject: Subject, number: int) -> list[tuple[Moments, ...]]:
    """Of the rows that meet a stage's kernels; none where no layer multiplies by them."""
    stage = subject.stages[number]
    if stage.layer is None:
        return []
    originals = original_rows(subject, number)
    # Nothing is rounded before the first stage: the rows are the original's.
    return moments(stage.sites, rows_of(subject, stage), originals) if number else moments(stage.sites, originals, None)
