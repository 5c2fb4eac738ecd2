"""Rounding of vectors (biases, gains, statistics) as coarsely as the budget allows.

They are a third of a small file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.gptq import Float32
from wcodec.calibration.layerwise import RoundedWeight
from wcodec.calibration.quality import measure_quality
from wcodec.calibration.quantizable_weights import Weight, estimate_bytes
from wcodec.calibration.session import CalibrationSession
from wcodec.calibration.trial import FLOAT_BYTES, CalibrationResult
from wcodec.container.dtypes import round_step
from wcodec.evaluation.keras_backend import keep_weights, list_layers, read_values
from wcodec.evaluation.runner import is_runner


def quantize_vectors(
    session: CalibrationSession, found: CalibrationResult, budget: AccuracyBudget
) -> CalibrationResult:
    """`found` with rounded vectors: the best of the tried steps in bytes and quality. It is unchanged if none is within
    the budget.

    The network has its original weights, before and after the call.
    """
    model = session.model
    tried: list[CalibrationResult] = []
    with keep_weights(model):
        for index, tuned in found.tuned().items():
            model.weights[index].assign(tuned.values)
        vectors, spreads = _list_vectors(session, found), _measure_spreads(session)
        for parts in session.config.vector_steps if vectors else ():
            rounded = [_round_vector(*vector, parts, spreads) for vector in vectors]
            for one in rounded:
                model.weights[one.index].assign(one.weights)
            indices = {one.index for one in rounded}
            saved = sum(FLOAT_BYTES * one.values.size - estimate_bytes(one.levels) for one in rounded)
            smaller = replace(
                found,
                rounded=(*found.rounded, *rounded),
                statistics=tuple(pair for pair in found.statistics if pair[0] not in indices),
                quality=measure_quality(session),
                bytes=found.bytes - saved,
            )
            if budget.allows(smaller):
                tried.append(smaller)
    return min(tried or [found], key=lambda one: one.bytes * max(one.kl, 1e-9) ** session.config.bytes_exponent)


def reserve_for_vectors(session: CalibrationSession) -> float:
    """The share of the allowed KL divergence reserved for vectors: their share of the numbers, up to a bound."""
    kernels = sum(kernel.original.size for kernel in session.kernels)
    numbers = sum(int(np.prod(weight.shape)) for weight in session.model.weights)
    return min(session.config.max_vector_share, 1 - kernels / numbers)


def _list_vectors(session: CalibrationSession, found: CalibrationResult) -> list[tuple[Weight, Float32]]:
    """The weights without a step that can have one, with their current values in the network.

    Variances cannot have a step, because small ones need a small error.
    """
    rounded = {one.index for one in found.rounded}
    means = {id(layer.moving_mean) for layer in session.table.batch_norms}
    vectors = [
        (one, read_values(one.variable))
        for one in session.table.weights
        if one.index not in rounded and (one.trainable or id(one.variable) in means)
    ]
    return [(one, values) for one, values in vectors if values.any()]


def _measure_spreads(session: CalibrationSession) -> dict[int, float]:
    """The standard deviation of the values that a vector is added to, by the id of its variable, if it is known.

    For a mean it is the square root of the variances; for a bias the norm of the kernel's weights to one output.
    """
    found: dict[int, float] = {}
    if is_runner(session.model):
        return found
    for layer in list_layers(session.model):
        kernel, bias = getattr(layer, "kernel", None), getattr(layer, "bias", None)
        if bias is not None and kernel is not None and len(bias.shape) == 1 and bias.shape[0]:
            found[id(bias)] = _compute_rms(read_values(kernel)) * float(np.prod(kernel.shape) / bias.shape[0]) ** 0.5
    for layer in session.table.batch_norms:
        variance = float(np.median(read_values(layer.moving_variance)))
        found[id(layer.moving_mean)] = (max(variance, 0.0) + float(layer.epsilon)) ** 0.5
    return {key: spread for key, spread in found.items() if np.isfinite(spread) and spread > 0}


def _compute_rms(values: Float32) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))


def _round_vector(weight: Weight, values: Float32, parts: int, spreads: Mapping[int, float]) -> RoundedWeight:
    """Round by a fraction of its root mean square, or of the spread of the values that it is added to, if smaller."""
    size = _compute_rms(values)
    step = round_step(min(size, spreads.get(id(weight.variable), size)) / parts)
    return RoundedWeight(weight.index, weight.path, step, values / np.float32(step))
