"""Biases, gains and statistics as coarse as the budget allows: in a small file they are a third."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.gptq import Float32
from wcodec.calibration.layerwise import RoundedWeight
from wcodec.calibration.quality import measure_quality
from wcodec.calibration.quantizable_weights import estimate_bytes, find_trainable, read_values
from wcodec.calibration.session import CalibrationSession
from wcodec.calibration.trial import CalibrationResult
from wcodec.codec.dequantization import round_step

PARTS: Final = (2, 3, 4, 6, 9, 12, 24, 48, 96)
"""Steps tried, as parts of the rms of a vector."""
WORTH: Final = 0.35
"""Bytes of kernels go about with this power of one over the divergence: what vectors add to it must be worth it."""
MOST: Final = 1 / 8
"""Of the divergence allowed, left to vectors."""
WRITTEN: Final = 2
"""Bytes of a number that has no step."""


def quantize_vectors(
    session: CalibrationSession, found: CalibrationResult, budget: AccuracyBudget
) -> CalibrationResult:
    """`found` with its vectors in steps too: those tried with which the answers are the best for the bytes.

    The network must have its original weights, and has them again.
    """
    model, before = session.model, session.model.get_weights()
    tried = [found]
    try:
        for one in found.latents:
            model.weights[one.index].assign(one.weights)
        for index, values in found.statistics:
            model.weights[index].assign(values)
        vectors = _list_vectors(session, found)
        for parts in PARTS if vectors else ():
            stepped = [_round_vector(*vector, parts) for vector in vectors]
            for one in stepped:
                model.weights[one.index].assign(one.weights)
            places = {one.index for one in stepped}
            saved = sum(WRITTEN * one.values.size - estimate_bytes(one.levels) for one in stepped)
            smaller = replace(
                found,
                latents=(*found.latents, *stepped),
                statistics=tuple(pair for pair in found.statistics if pair[0] not in places),
                quality=measure_quality(session),
                bytes=found.bytes - saved,
            )
            if budget.allows(smaller):
                tried.append(smaller)
    finally:
        model.set_weights(before)
    return min(tried, key=lambda one: one.bytes * max(one.kl, 1e-9) ** WORTH)


def reserve_for_vectors(session: CalibrationSession) -> float:
    """The part of a divergence that kernels should leave to vectors: their part of the numbers, an eighth at most."""
    kernels = sum(kernel.original.size for kernel in session.kernels)
    numbers = sum(int(np.prod(weight.shape)) for weight in session.model.weights)
    return min(MOST, 1 - kernels / numbers)


def _list_vectors(session: CalibrationSession, found: CalibrationResult) -> list[tuple[int, str, Float32]]:
    """Place, path and values, as they are in the network now, of what has no step yet and can have one.

    Not variances: those near 0 need to be near 0.
    """
    model, rounded = session.model, {one.index for one in found.latents}
    means = {id(layer.moving_mean) for layer in session.batch_norms}
    places = {
        *find_trainable(model, session.exact),
        *(i for i, weight in enumerate(model.weights) if id(weight) in means),
    }
    vectors = [(i, model.weights[i].path, read_values(model.weights[i])) for i in sorted(places - rounded)]
    return [vector for vector in vectors if vector[2].any()]


def _round_vector(index: int, path: str, values: Float32, parts: int) -> RoundedWeight:
    step = round_step(float(np.sqrt(np.square(values, dtype=np.float64).mean())) / parts)
    return RoundedWeight(index, path, step, values / np.float32(step))
