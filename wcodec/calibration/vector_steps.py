"""Biases, gains and statistics as coarse as the budget allows: in a small file they are a third."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from wcodec.calibration.budget import Budget
from wcodec.calibration.gptq import Float32
from wcodec.calibration.layerwise import Latents
from wcodec.calibration.quality import judged
from wcodec.calibration.quantizable_weights import coded_bytes, learned_by, values_of
from wcodec.calibration.session import Subject
from wcodec.calibration.trial import Calibration
from wcodec.codec.dequantization import round_step

PARTS: Final = (2, 3, 4, 6, 9, 12, 24, 48, 96)
"""Steps tried, as parts of the rms of a vector."""
WORTH: Final = 0.35
"""Bytes of kernels go about with this power of one over the divergence: what vectors add to it must be worth it."""
MOST: Final = 1 / 8
"""Of the divergence allowed, left to vectors."""
WRITTEN: Final = 2
"""Bytes of a number that has no step."""


def with_vectors(subject: Subject, found: Calibration, budget: Budget) -> Calibration:
    """`found` with its vectors in steps too: those tried with which the answers are the best for the bytes.

    The network must have its original weights, and has them again.
    """
    model, before = subject.model, subject.model.get_weights()
    tried = [found]
    try:
        for one in found.latents:
            model.weights[one.index].assign(one.weights)
        for index, values in found.statistics:
            model.weights[index].assign(values)
        vectors = _vectors(subject, found)
        for parts in PARTS if vectors else ():
            stepped = [_stepped(*vector, parts) for vector in vectors]
            for one in stepped:
                model.weights[one.index].assign(one.weights)
            places = {one.index for one in stepped}
            saved = sum(WRITTEN * one.values.size - coded_bytes(one.levels) for one in stepped)
            smaller = replace(
                found,
                latents=(*found.latents, *stepped),
                statistics=tuple(pair for pair in found.statistics if pair[0] not in places),
                verdict=judged(subject),
                bytes=found.bytes - saved,
            )
            if budget.allows(smaller):
                tried.append(smaller)
    finally:
        model.set_weights(before)
    return min(tried, key=lambda one: one.bytes * max(one.divergence, 1e-9) ** WORTH)


def room_for_vectors(subject: Subject) -> float:
    """The part of a divergence that kernels should leave to vectors: their part of the numbers, an eighth at most."""
    kernels = sum(kernel.original.size for kernel in subject.kernels)
    numbers = sum(int(np.prod(weight.shape)) for weight in subject.model.weights)
    return min(MOST, 1 - kernels / numbers)


def _vectors(subject: Subject, found: Calibration) -> list[tuple[int, str, Float32]]:
    """Place, path and values, as they are in the network now, of what has no step yet and can have one.

    Not variances: those near 0 need to be near 0.
    """
    model, rounded = subject.model, {one.index for one in found.latents}
    means = {id(layer.moving_mean) for layer in subject.normalizations}
    places = {*learned_by(model, subject.exact), *(i for i, weight in enumerate(model.weights) if id(weight) in means)}
    vectors = [(i, model.weights[i].path, values_of(model.weights[i])) for i in sorted(places - rounded)]
    return [vector for vector in vectors if vector[2].any()]


def _stepped(index: int, path: str, values: Float32, parts: int) -> Latents:
    step = round_step(float(np.sqrt(np.square(values, dtype=np.float64).mean())) / parts)
    return Latents(index, path, step, values / np.float32(step))
