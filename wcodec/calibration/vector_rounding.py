"""Biases, gains and statistics, rounded as coarsely as the budget allows: in a small file they are a third."""

from __future__ import annotations

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
from wcodec.evaluation.keras_backend import keep_weights, read_values


def quantize_vectors(
    session: CalibrationSession, found: CalibrationResult, budget: AccuracyBudget
) -> CalibrationResult:
    """`found` with its vectors rounded, too, by those of the tried steps that are best in bytes and quality.

    The network must have its original weights, and has them again.
    """
    model, tried = session.model, [found]
    with keep_weights(model):
        for index, tuned in found.tuned().items():
            model.weights[index].assign(tuned.values)
        vectors = _list_vectors(session, found)
        for parts in session.config.vector_steps if vectors else ():
            rounded = [_round_vector(*vector, parts) for vector in vectors]
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
    return min(tried, key=lambda one: one.bytes * max(one.kl, 1e-9) ** session.config.bytes_exponent)


def reserve_for_vectors(session: CalibrationSession) -> float:
    """The part of the allowed KL divergence that kernels leave to vectors: their part of the numbers, up to a bound."""
    kernels = sum(kernel.original.size for kernel in session.kernels)
    numbers = sum(int(np.prod(weight.shape)) for weight in session.model.weights)
    return min(session.config.max_vector_share, 1 - kernels / numbers)


def _list_vectors(session: CalibrationSession, found: CalibrationResult) -> list[tuple[Weight, Float32]]:
    """The weights without a step that can have one, with their values in the network now.

    Variances cannot: those near 0 need to be near 0.
    """
    rounded = {one.index for one in found.rounded}
    means = {id(layer.moving_mean) for layer in session.table.batch_norms}
    vectors = [
        (one, read_values(one.variable))
        for one in session.table.weights
        if one.index not in rounded and (one.trainable or id(one.variable) in means)
    ]
    return [(one, values) for one, values in vectors if values.any()]


def _round_vector(weight: Weight, values: Float32, parts: int) -> RoundedWeight:
    step = round_step(float(np.sqrt(np.square(values, dtype=np.float64).mean())) / parts)
    return RoundedWeight(weight.index, weight.path, step, values / np.float32(step))
