"""One-shot quantisation of a network by unlabelled inputs: the largest steps that keep its answers.

The kernels are rounded one after another with error feedback (GPTQ, Frantar et al. 2022), each for the inputs that it
meets once all before it are rounded, and aimed at what the original computed (as GPTAQ, Li et al. 2025); the statistics
of BatchNormalization are taken anew; the divergence of the answers for inputs kept apart tells what accuracy it costs.
The sizes of the steps and the damping are searched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.errors import BudgetError
from wcodec.learning.divergence import POINTS, divergence, outputs_of
from wcodec.learning.examples import Examples
from wcodec.learning.feedback import Float32, aimed, damped, feedback_matrix, latents
from wcodec.learning.kernels import entropy_bytes, steps_of, values_of
from wcodec.learning.moments import Moments, moments, parts_of
from wcodec.learning.normalization import reestimate
from wcodec.learning.subject import Subject, original_rows, prepare, rows_of

if TYPE_CHECKING:
    from keras import Model

DAMPINGS: Final = (0.1, 0.01)
SIZES: Final = 8
"""Attempts for one damping."""
CLOSE: Final = 1.1
"""Sizes this near to one another are not told apart."""
START: Final = (2.4, 8.0)
"""First steps tried, in rms of the largest kernel: at most the first number, and the second over the kernels."""


@dataclass(frozen=True)
class Latents:
    """A kernel in steps, moved by feedback, not rounded yet.

    index: place in `model.weights`; path: the variable's.
    values: float32[shape of the kernel].
    """

    index: int
    path: str
    step: float
    values: Float32

    @property
    def levels(self) -> npt.NDArray[np.int32]:
        """weight = step * level."""
        return np.rint(self.values).astype(np.int32)

    @property
    def weights(self) -> Float32:
        """What the kernel becomes."""
        return self.levels * np.float32(self.step)


@dataclass(frozen=True)
class Calibration:
    """One way to round a network.

    size:       of the steps, see `kernels.steps_of`.
    latents:    of the kernels, in the order in which they are rounded.
    statistics: other weights that change, by their place in `model.weights`.
    divergence: from the original, in nats, of the answers for inputs kept apart.
    bytes:      estimated: entropies of the levels, and two bytes for every other weight.
    """

    size: float
    damping: float
    latents: tuple[Latents, ...]
    statistics: tuple[tuple[int, Float32], ...]
    divergence: float
    bytes: int

    @property
    def drop(self) -> float:
        """Points of accuracy that the divergence predicts."""
        return 100 * POINTS * self.divergence


def calibrate(
    model: Model,
    examples: Examples,
    budget: float,
    *,
    most: int = 2000,
    seed: int = 0,
    seconds: float = float("inf"),
    progress: Callable[[Calibration], None] | None = None,
) -> Calibration:
    """The smallest way to round `model` that is predicted to cost at most `budget` points of accuracy.

    examples: unlabelled; some are kept apart to measure on, at most `most` are fitted to.
    seconds:  no attempt is begun after this time.
    progress: told of every attempt.

    Raises: RecipeError, see `prepare`; BudgetError where no attempt is within the budget.
    """
    deadline = time.monotonic() + seconds
    subject = prepare(model, examples, most=most, seed=seed)
    tried: list[Calibration] = []

    def fits(damping: float, size: float) -> bool:
        tried.append(attempt(subject, size, damping))
        if progress:
            progress(tried[-1])
        return tried[-1].drop <= budget

    cap, slope = START
    start = min(cap, slope / len(subject.kernels))
    for damping in DAMPINGS:
        if not tried or time.monotonic() < deadline:
            start = _largest(partial(fits, damping), start, lambda: time.monotonic() < deadline)
    within = [one for one in tried if one.drop <= budget]
    if not within:
        least = min(one.drop for one in tried)
        raise BudgetError(f"{model.name}: expected a drop of at most {budget:g} points, {least:.2g} predicted at best")
    return min(within, key=lambda one: one.bytes)


def attempt(subject: Subject, size: float, damping: float) -> Calibration:
    """Round all kernels by steps of `size`, measure the answers, and put the weights back."""
    model = subject.model
    before = model.get_weights()
    steps = dict(zip((kernel.index for kernel in subject.kernels), steps_of(subject.kernels, size), strict=True))
    found: list[Latents] = []
    try:
        for number, stage in enumerate(subject.stages):
            for kernel, values in zip(stage.kernels, _moved(subject, number, steps, damping), strict=True):
                found.append(Latents(kernel.index, kernel.variable.path, steps[kernel.index], values))
            for kernel, one in zip(stage.kernels, found[-len(stage.kernels) :], strict=True):
                kernel.variable.assign(one.weights)
        if subject.normalizations:
            reestimate(model, subject.normalizations, subject.normalizing)
        distance = divergence(outputs_of(model, subject.held_out), subject.outputs)
        statistics = {id(w) for layer in subject.normalizations for w in (layer.moving_mean, layer.moving_variance)}
        changed = tuple((i, values_of(w)) for i, w in enumerate(model.weights) if id(w) in statistics)
    finally:
        model.set_weights(before)
    others = sum(weight.size for weight in before) - sum(one.values.size for one in found)
    size_bytes = sum(entropy_bytes(one.levels) for one in found) + 2 * others
    return Calibration(size, damping, tuple(found), changed, distance, round(size_bytes))


def _moved(subject: Subject, number: int, steps: Mapping[int, float], damping: float) -> list[Float32]:
    """The latents of a stage's kernels, in their own shapes, now that all before them are rounded."""
    stage = subject.stages[number]
    if stage.layer is None:
        return [_in_steps(kernel.original, steps[kernel.index]) for kernel in stage.kernels]
    # Nothing is rounded before the first stage: the rows are the original's.
    originals = original_rows(subject, number)
    seen = moments(stage.sites, rows_of(subject, stage), originals) if number else moments(stage.sites, originals, None)
    found = []
    for kernel, site, parts in zip(stage.kernels, stage.sites, seen, strict=True):
        matrix = site.matrix(kernel.original)
        moved = [
            _fed_back(matrix[rows], part, steps[kernel.index], damping)
            for rows, part in zip(parts_of(site), parts, strict=True)
        ]
        found.append(site.kernel(np.concatenate(moved)))
    return found


def _fed_back(weights: Float32, seen: Moments, step: float, damping: float) -> Float32:
    power = damped(seen.power, damping)
    target = weights if seen.drift is None else aimed(weights, power, seen.drift)
    return latents(_in_steps(target, step), feedback_matrix(power))


def _in_steps(weights: Float32, step: float) -> Float32:
    return weights / np.float32(step) if step else np.zeros_like(weights)


def _largest(fits: Callable[[float], bool], start: float, in_time: Callable[[], bool]) -> float:
    """About the largest size that fits: up or down in growing strides, then between the nearest two."""
    size, factor = start, 2.0**0.5
    inside = outside = 0.0
    for _ in range(SIZES):
        if fits(size):
            inside = size
        else:
            outside = size
        if not in_time() or (inside and outside and outside / inside < CLOSE):
            break
        if inside and outside:
            size = (inside * outside) ** 0.5
        else:
            size = size * factor if inside else size / factor
            factor = min(factor * factor, 4.0) if outside else factor
    return inside or size
