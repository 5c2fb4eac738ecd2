"""A whole network rounded once, and what its answers then are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from wcodec.calibration.gptq import Float32
from wcodec.calibration.layerwise import RoundedWeight, round_all, round_group
from wcodec.calibration.quality import Quality, measure_quality
from wcodec.calibration.quantizable_weights import estimate_bytes, initial_steps, read_values
from wcodec.calibration.session import CalibrationSession, choose_batch_norm
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.metrics import kl_divergence
from wcodec.model import FloatWeights, StepWeights, TunedTensor

MAX_FACTOR: Final = 8.0
"""Most that balancing multiplies or divides a step by."""


@dataclass(frozen=True)
class CalibrationResult:
    """One way to round a network.

    size:       of the steps, see `kernels.steps_of`.
    latents:    of the kernels, in the order in which they are rounded.
    statistics: other weights that change, by their place in `model.weights`.
    verdict:    on the answers for inputs kept apart.
    bytes:      estimated: the levels coded, and two bytes for every other weight.
    """

    size: float
    damping: float
    latents: tuple[RoundedWeight, ...]
    statistics: tuple[tuple[int, Float32], ...]
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


def run_trial(
    session: CalibrationSession, size: float, damping: float, factors: Sequence[float] | None = None
) -> CalibrationResult:
    """Round all kernels by steps of `size`, measure the answers, and put the weights back.

    factors: on the step of each kernel; see `balance`.
    """
    model = session.model
    before = model.get_weights()
    steps = _steps(session, size, factors)
    try:
        found = round_all(session, steps, damping)
        choose_batch_norm(session, session.normalizing)
        quality = measure_quality(session)
        statistics = {id(w) for layer in session.batch_norms for w in (layer.moving_mean, layer.moving_variance)}
        changed = tuple((i, read_values(w)) for i, w in enumerate(model.weights) if id(w) in statistics)
    finally:
        model.set_weights(before)
    others = sum(weight.size for weight in before) - sum(one.values.size for one in found)
    size_bytes = sum(estimate_bytes(one.levels) for one in found) + 2 * others
    return CalibrationResult(size, damping, tuple(found), changed, quality, size_bytes)


def step_factors(session: CalibrationSession, one: CalibrationResult) -> tuple[float, ...]:
    """The factors on the steps that an attempt was made with."""
    steps, plain = {each.index: each.step for each in one.latents}, initial_steps(session.kernels, one.size)
    return tuple(
        steps[kernel.index] / step if step else 1.0 for kernel, step in zip(session.kernels, plain, strict=True)
    )


def balance_steps(session: CalibrationSession, size: float, damping: float) -> tuple[float, ...]:
    """Factors on the steps, from what the rounding of each kernel alone costs at `size`.

    Divergences add up over kernels and go with the square of a step, c_t s_t^2, while bytes go with the number of
    weights, -n_t log s_t: the best steps have s_t^2 in proportion to n_t / c_t. Half of the way (in logarithms) from
    `steps_of` to there did best on the networks tried.
    """
    model, before, steps = session.model, session.model.get_weights(), _steps(session, size, None)
    wanted: dict[int, float] = {}
    for number, group in enumerate(session.groups):
        try:
            round_group(session, number, steps, damping)
            cost = kl_divergence(compute_outputs(model, session.held_out), session.outputs)
        finally:
            model.set_weights(before)
        weights = sum(kernel.original.size for kernel in group.kernels)
        for kernel in group.kernels:
            # The rule's own step where the cost cannot be told.
            told = np.isfinite(cost) and cost > 0
            wanted[kernel.index] = (weights / cost) ** 0.5 if told else float("nan")
    ratios = np.array([wanted[kernel.index] for kernel in session.kernels])
    largest = int(np.argmax([kernel.original.size for kernel in session.kernels]))
    ratios = np.sqrt(ratios / (ratios[largest] if np.isfinite(ratios[largest]) else np.nanmedian(ratios)))
    return tuple(float(ratio) for ratio in np.clip(np.nan_to_num(ratios, nan=1.0), 1 / MAX_FACTOR, MAX_FACTOR))


def _steps(session: CalibrationSession, size: float, factors: Sequence[float] | None) -> dict[int, float]:
    steps = initial_steps(session.kernels, size, factors)
    return dict(zip((kernel.index for kernel in session.kernels), steps, strict=True))


def tuned_tensors(found: CalibrationResult, names: Mapping[int, tuple[str, ...]]) -> dict[str, TunedTensor]:
    """What to code in place of the file's own values, by tensor name; weights without a name are left out.

    names: of `tensor_names`.
    """
    rounded = {
        name: StepWeights(one.weights, one.step)
        for one in found.latents
        if one.step
        for name in names.get(one.index, ())
    }
    taken_anew = {name: FloatWeights(values) for index, values in found.statistics for name in names.get(index, ())}
    return rounded | taken_anew
