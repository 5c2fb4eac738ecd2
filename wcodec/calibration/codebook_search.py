"""Codebooks for all kernels of a network: the search for the smallest ones that preserve its outputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.codebook_weights import CodebookRequest, quantize_kernel
from wcodec.calibration.hessian import Hessian, accumulate_hessians
from wcodec.calibration.quality import Quality
from wcodec.calibration.quantizable_weights import initial_steps
from wcodec.calibration.session import CalibrationSession, record_group, record_originals
from wcodec.calibration.step_search import find_largest
from wcodec.calibration.time_limit import OutOfTimeError, TimeLimit, never
from wcodec.calibration.trial import FLOAT_BYTES, finish_trial
from wcodec.errors import BudgetError
from wcodec.evaluation.keras_backend import keep_weights
from wcodec.model import FloatWeights, TunedTensor

GRACE: Final = 5.0
"""Seconds after the time limit for a trial that has begun."""


@dataclass(frozen=True)
class CodebookResult:
    """A network with codebooks; see `CalibrationResult`.

    weights: the tensors to encode, by index in `model.weights`: kernels, and statistics that change.
    bytes:   estimated: codes, codebooks, and FLOAT_BYTES for every other weight.
    """

    scale: float
    weights: Mapping[int, TunedTensor]
    quality: Quality
    bytes: int

    @property
    def kl(self) -> float:
        """The KL divergence from the original, in nats."""
        return self.quality.kl

    def tuned(self) -> Mapping[int, TunedTensor]:
        """The tensors to encode, by index in `model.weights`."""
        return self.weights


def search_codebooks(
    session: CalibrationSession,
    request: CodebookRequest,
    budget: AccuracyBudget,
    seconds: float = float("inf"),
    progress: Callable[[CodebookResult], None] = lambda _: None,
) -> CodebookResult:
    """The smallest result within the budget; or the result with the requested number of clusters.

    An interrupt ends the search with the best result so far, as does the time, GRACE seconds of the clock and of the
    processor after it.
    Raises: BudgetError if no result is within the budget, or if there is none in that time.
    """
    deadline, limit = time.monotonic() + seconds, TimeLimit(seconds + GRACE)
    tried: list[CodebookResult] = []

    def fits(scale: float) -> bool:
        tried.append(run_codebook_trial(session, request, scale, is_late))
        progress(tried[-1])
        return budget.allows(tried[-1])

    def is_late() -> bool:
        return limit.is_over(found=False, required=False)

    def goes_on() -> bool:
        return not request.clusters and time.monotonic() < deadline

    with suppress(KeyboardInterrupt, OutOfTimeError):
        start, factor = session.config.codebook_scale, session.config.codebook_factor
        find_largest(fits, start, goes_on, factor, session.config)
    best = budget.best(tried)
    if not tried and is_late():
        raise BudgetError(f"{session.name}: expected more time for codebooks, found none within the time limit")
    if best is None:
        raise BudgetError(f"{session.name}: {budget.refusal(tried)}")
    return best


def run_codebook_trial(
    session: CalibrationSession, request: CodebookRequest, scale: float, is_late: Callable[[], bool] = never
) -> CodebookResult:
    """Quantise all kernels by codebooks, one layer group after another, measure the outputs, and restore the weights.

    scale: a factor on the steps (`initial_steps`); a bit is worth a fraction of their squared error.
    Raises: OutOfTimeError if `is_late` before a group.
    """
    config = session.config
    steps = initial_steps(session.kernels, scale, exponent=config.size_exponent)
    found: dict[int, TunedTensor] = {}
    size = 0
    with keep_weights(session.model) as before:
        for number, group in enumerate(session.groups):
            if is_late():
                raise OutOfTimeError
            hessians = _accumulate(session, number)
            for kernel, parts in zip(group.kernels, hessians or [()] * len(group.kernels), strict=True):
                bit_price = 0.0 if request.clusters else config.bit_price * steps[kernel.index] ** 2
                found[kernel.index], count = quantize_kernel(kernel, parts, request, bit_price, config.codebook_damping)
                size += count
            for kernel in group.kernels:
                kernel.variable.assign(found[kernel.index].values)
        statistics, quality = finish_trial(session)
    others = sum(weight.size for weight in before) - sum(one.values.size for one in found.values())
    found |= {index: FloatWeights(values) for index, values in statistics}
    return CodebookResult(scale, found, quality, size + FLOAT_BYTES * others)


def _accumulate(session: CalibrationSession, number: int) -> list[tuple[Hessian, ...]]:
    """The Hessians of a group's kernels; none if no layer multiplies by them."""
    recorded, most = session.groups[number].recorded, session.config.max_inputs
    if recorded is None:
        return []
    originals = record_originals(session, number)
    # No weight is rounded before the first group, so the rows are those of the original.
    now, before = (record_group(session, number), originals) if number else (originals, None)
    return accumulate_hessians(recorded.ops, now, before, most)
