"""One trial: the whole network is rounded once, and the quality of its outputs is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wcodec.calibration.gptq import Float32
from wcodec.calibration.kept_parts import KeptParts
from wcodec.calibration.layerwise import RoundedWeight, round_all, round_group
from wcodec.calibration.quality import Quality, measure_quality
from wcodec.calibration.quantizable_weights import estimate_bytes, initial_steps
from wcodec.calibration.session import CalibrationSession, choose_batch_norm
from wcodec.calibration.time_limit import never
from wcodec.evaluation.keras_backend import keep_weights, read_values
from wcodec.model import FloatWeights, StepWeights, TunedTensor

FLOAT_BYTES = 2
"""Bytes of a number that is not rounded, in estimates."""


@dataclass(frozen=True)
class CalibrationResult:
    """A rounded network.

    step_scale: see `initial_steps`; 0.0 if steps were trained.
    rounded:    weights in the order in which they are rounded.
    statistics: other weights that change, by index in `model.weights`, in the precision of the file.
    quality:    of the outputs for held-out inputs.
    bytes:      estimated: the coded levels, and FLOAT_BYTES for every other weight.
    """

    step_scale: float
    damping: float
    rounded: tuple[RoundedWeight, ...]
    statistics: tuple[tuple[int, Float32], ...]
    quality: Quality
    bytes: int

    @property
    def kl(self) -> float:
        """The KL divergence from the original, in nats."""
        return self.quality.kl

    def tuned(self) -> dict[int, TunedTensor]:
        """The tensors to encode, by index in `model.weights`."""
        found = {one.index: StepWeights(one.weights, one.step) for one in self.rounded if one.step}
        return found | {index: FloatWeights(values) for index, values in self.statistics}


def run_trial(
    session: CalibrationSession,
    step_scale: float,
    damping: float,
    factors: Sequence[float] | None = None,
    is_late: Callable[[], bool] = never,
    kept: Mapping[int, KeptParts] | None = None,
) -> CalibrationResult:
    """Round all kernels, measure the outputs, and restore the weights.

    factors: on the step of each kernel; see `balance_steps`.
    kept:    of each kernel, by index in `model.weights`; all of those that are missing.
    Raises: OutOfTimeError, see `round_all`.
    """
    steps = initial_steps(session.kernels, step_scale, factors, session.config.size_exponent)
    with keep_weights(session.model) as before:
        found = round_all(session, steps, damping, is_late, kept)
        statistics, quality = finish_trial(session)
    others = sum(weight.size for weight in before) - sum(one.values.size for one in found)
    size = sum(estimate_bytes(one.levels) for one in found) + FLOAT_BYTES * others
    return CalibrationResult(step_scale, damping, tuple(found), statistics, quality, size)


def finish_trial(session: CalibrationSession) -> tuple[tuple[tuple[int, Float32], ...], Quality]:
    """Choose the BatchNormalization statistics, and round weights without a step to the precision of the file.

    Returns these weights, and the quality.
    """
    choose_batch_norm(session)
    found = []
    for one in session.table.weights:
        if one.kind == "statistic" or (one.kind == "vector" and one.index in session.table.mantissas):
            values = session.table.as_in_file(one, read_values(one.variable))
            one.variable.assign(values)
            found.append((one.index, values))
    return tuple(found), measure_quality(session)


def step_factors(session: CalibrationSession, one: CalibrationResult) -> tuple[float, ...]:
    """The factors on the steps with which a trial was made."""
    plain = initial_steps(session.kernels, one.step_scale, exponent=session.config.size_exponent)
    steps = {each.index: each.step for each in one.rounded}
    return tuple(steps[index] / step if step else 1.0 for index, step in plain.items())


def balance_steps(
    session: CalibrationSession, step_scale: float, damping: float, is_late: Callable[[], bool] = never
) -> tuple[float, ...]:
    """Factors on the steps, from the KL divergence that the rounding of each layer group alone causes.

    Divergences add up over kernels and are proportional to the squared step, c_t s_t^2; bytes depend on the number of
    weights, -n_t log s_t. The best steps have s_t^2 proportional to n_t / c_t. Half of the way (in logarithms) from
    `initial_steps` to these was best on the networks tried. If the time limit passes, all factors are 1.
    """
    steps = initial_steps(session.kernels, step_scale, exponent=session.config.size_exponent)
    wanted: dict[int, float] = {}
    for number, group in enumerate(session.groups):
        if is_late():
            return (1.0,) * len(session.kernels)
        with keep_weights(session.model):
            round_group(session, number, steps, damping)
            cost = session.divergence_of_few()
        weights = sum(kernel.original.size for kernel in group.kernels)
        known = np.isfinite(cost) and cost > 0  # otherwise the initial step is kept
        wanted |= dict.fromkeys((one.index for one in group.kernels), (weights / cost) ** 0.5 if known else np.nan)
    ratios = np.array([wanted[kernel.index] for kernel in session.kernels])
    largest = int(np.argmax([kernel.original.size for kernel in session.kernels]))
    ratios = np.sqrt(ratios / (ratios[largest] if np.isfinite(ratios[largest]) else np.nanmedian(ratios)))
    most = session.config.max_factor
    return tuple(float(ratio) for ratio in np.clip(np.nan_to_num(ratios, nan=1.0), 1 / most, most))


def factors_by_costs(session: CalibrationSession, costs: Mapping[int, float]) -> tuple[float, ...]:
    """Factors on the steps with which a bit reduces the predicted loss equally in each kernel: c s^2 is equal.

    costs: nats for a unit of squared error, by index. A kernel without one keeps its step, and so does the largest.
    """
    steps = initial_steps(session.kernels, 1.0, exponent=session.config.size_exponent)
    known = [kernel for kernel in session.kernels if steps[kernel.index] and costs.get(kernel.index, 0.0) > 0.0]
    wanted = {kernel.index: costs[kernel.index] ** -0.5 / steps[kernel.index] for kernel in known}
    unit = wanted[max(known, key=lambda kernel: kernel.original.size).index] if known else 1.0
    most = session.config.max_factor
    ratios = (wanted.get(kernel.index, unit) / unit for kernel in session.kernels)
    return tuple(min(most, max(1 / most, ratio)) for ratio in ratios)
