"""A network whose kernels share values, or vectors of them, by codebooks that lose little of what it computes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.codebook_weights import CodebookRequest, quantize_kernel
from wcodec.calibration.hessian import Hessian, accumulate_hessians
from wcodec.calibration.quality import Quality, measure_quality
from wcodec.calibration.quantizable_weights import initial_steps, read_values
from wcodec.calibration.session import CalibrationSession, choose_batch_norm, record_group, record_originals
from wcodec.errors import BudgetError
from wcodec.model import FloatWeights, TunedTensor

RATE: Final = 0.1
"""Squared error, in steps, that a bit is worth."""
START: Final = 1.5
SIZES: Final = 8
CLOSE: Final = 1.08
"""Sizes this near to one another are not told apart."""


@dataclass(frozen=True)
class CodebookResult:
    """One way to share; see `attempt.Calibration`.

    kernels:    what is coded, by places in `model.weights`; statistics: other weights that change.
    bytes:      estimated: codes, codebooks, and two bytes for every other weight.
    """

    size: float
    kernels: Mapping[int, TunedTensor]
    statistics: Mapping[int, TunedTensor]
    quality: Quality
    bytes: int

    @property
    def kl(self) -> float:
        """From the original, in nats."""
        return self.quality.kl

    @property
    def drop(self) -> float:
        """Points of accuracy predicted."""
        return self.quality.drop


def search_codebooks(
    session: CalibrationSession,
    sharing: CodebookRequest,
    budget: AccuracyBudget,
    *,
    seconds: float = float("inf"),
    progress: Callable[[CodebookResult], None] = lambda _: None,
) -> CodebookResult:
    """The smallest sharing that the budget allows; where `clusters` are given, that one.

    An interrupt ends the search with what it found.
    Raises: BudgetError where none is within the budget.
    """
    deadline = time.monotonic() + seconds
    tried: list[CodebookResult] = []
    size, inside, outside = START, 0.0, 0.0
    with suppress(KeyboardInterrupt):
        for _ in range(1 if sharing.clusters else SIZES):
            tried.append(run_codebook_trial(session, sharing, size))
            progress(tried[-1])
            inside, outside = (size, outside) if budget.allows(tried[-1]) else (inside, size)
            if time.monotonic() >= deadline or (inside and outside and outside / inside < CLOSE):
                break
            size = (inside * outside) ** 0.5 if inside and outside else size * 1.5 if inside else size / 2
    best = budget.best(tried)
    if best is None:
        raise BudgetError(f"{session.model.name}: {budget.refusal(tried)}")
    return best


def run_codebook_trial(session: CalibrationSession, sharing: CodebookRequest, size: float) -> CodebookResult:
    """Share values in all kernels, one stage after another, measure the answers, and put the weights back.

    size: of the steps (`kernels.steps_of`) whose squared error a bit is worth a part of.
    """
    model = session.model
    before = model.get_weights()
    steps = dict(zip((kernel.index for kernel in session.kernels), initial_steps(session.kernels, size), strict=True))
    found: dict[int, TunedTensor] = {}
    total = 0
    try:
        for number, group in enumerate(session.groups):
            seen = _accumulate(session, number)
            for kernel, parts in zip(group.kernels, seen or [()] * len(group.kernels), strict=True):
                rate = 0.0 if sharing.clusters else RATE * steps[kernel.index] ** 2
                found[kernel.index], count = quantize_kernel(kernel, parts, sharing, rate)
                total += count
            for kernel in group.kernels:
                kernel.variable.assign(found[kernel.index].values)
        choose_batch_norm(session, session.normalizing)
        quality = measure_quality(session)
        changing = {id(w) for layer in session.batch_norms for w in (layer.moving_mean, layer.moving_variance)}
        statistics = {i: FloatWeights(read_values(w)) for i, w in enumerate(model.weights) if id(w) in changing}
    finally:
        model.set_weights(before)
    others = sum(weight.size for weight in before) - sum(one.values.size for one in found.values())
    return CodebookResult(size, found, statistics, quality, total + 2 * others)


def codebook_tensors(net: CodebookResult, names: Mapping[int, tuple[str, ...]]) -> dict[str, TunedTensor]:
    """What to code, by tensor name; weights without a name are left out. names: of `tensor_names`."""
    every = {**net.kernels, **net.statistics}
    return {name: tuned for index, tuned in every.items() for name in names.get(index, ())}


def _accumulate(session: CalibrationSession, number: int) -> list[tuple[Hessian, ...]]:
    """Of the rows that meet a stage's kernels; none where no layer multiplies by them."""
    group = session.groups[number]
    if group.layer is None:
        return []
    originals = record_originals(session, number)
    # Nothing is rounded before the first stage: the rows are the original's.
    return (
        accumulate_hessians(group.ops, record_group(session, group), originals)
        if number
        else accumulate_hessians(group.ops, originals, None)
    )
